"""A request for an rpc, on its way to the service and back: each step is one short function.

body → slot → caller → limits → request message → call → answer. The caller's own
token goes with the call: the service verifies it again and decides what the caller may do.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from google.protobuf.message import Message
from newsfeed.options.v1 import options_pb2
from opentelemetry.trace import SpanKind

from gateway.admission import Admission, Budget
from gateway.clients import Services, service_of
from gateway.encoder import Encoders
from gateway.exchange import CLOSE, JSON_TYPE, Answer, Headers, Notes, Refused, Request
from gateway.head import subject_of
from gateway.limits import Limits
from gateway.model import Allowance, Bounds, Limit
from gateway.queries import RequestDecoder
from gateway.representation import NOT_STORED, compressed, kept_by_caches
from gateway.routes import Route
from gateway.sse import RESUME_FIELD, Streams, events
from svckit import telemetry
from svckit.context import Call
from svckit.errors import ResourceExhausted, Unauthenticated
from svckit.rpc.table import Verifier

_EVENT_STREAM = b"text/event-stream"


class RateLimited(ResourceExhausted):
    reason = "RATE_LIMITED"
    message = "Too many requests. Try again later."


@dataclass(frozen=True, slots=True)
class Times:
    """That are set: how long a request and its answer may take, and the answer be kept."""

    body_timeout_s: float
    stream_timeout_s: float
    public_max_age_s: int


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A route, made ready before anybody calls it."""

    decoder: RequestDecoder
    encode: Callable[[Message], bytes]
    takes_password: bool


class Transcoder:
    """Serves every route of the contract."""

    def __init__(
        self,
        routes: Sequence[Route],
        services: Services,
        verifier: Verifier,
        limits: Limits,
        limit_by_name: Mapping[str, Limit],
        admission: Admission,
        bodies: Budget,
        streams: Streams,
        times: Times,
        bounds: Bounds,
    ) -> None:
        encoders = Encoders()
        self._compiled = {
            route: _Compiled(
                RequestDecoder(route, bounds.json),
                encoders.to_bytes(route.descriptor.output_type),
                _takes_password(route),
            )
            for route in routes
        }
        self._services = services
        self._verifier = verifier
        self._limits = limits
        self._limit_by_name = limit_by_name
        self._admission = admission
        self._bodies = bodies
        self._streams = streams
        self._times = times
        self._stream_bounds = bounds.stream

    async def answer(
        self, request: Request, route: Route, values: Sequence[str], call: Call, notes: Notes
    ) -> Answer:
        self._bodies.take(request.content_length)
        try:
            body = await self._body(request)
            with (
                self._admission.slot(service_of(route)),
                telemetry.span(notes.route, call.traceparent, SpanKind.SERVER) as traceparent,
            ):
                call.traceparent = traceparent
                refusal = await self._identify(route, call, notes)
                await self._count(request, route, notes)
                if refusal is not None:
                    raise refusal
                message = self._compiled[route].decoder.decode(values, request.query, body)
                if not route.is_server_streaming:
                    return await self._call(request, route, message)
            return await self._stream(request, route, message, call)
        finally:
            self._bodies.give_back(request.content_length)

    async def _body(self, request: Request) -> bytes:
        if not request.content_length:
            return b""
        kind = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != JSON_TYPE:
            raise Refused(415, "Content-Type", "a body must be application/json")
        try:
            async with asyncio.timeout(self._times.body_timeout_s):
                return await request.read_body()
        except TimeoutError:
            raise Refused(408, "body", "the body did not arrive in time", [CLOSE]) from None

    async def _identify(self, route: Route, call: Call, notes: Notes) -> Unauthenticated | None:
        """Finds the caller, or the reason to refuse. On a PUBLIC rpc a bad token counts as none."""
        refusal = None
        try:
            if call.token is None:
                raise Unauthenticated
            call.caller = await self._verifier.verify(call.token)
        except Unauthenticated as error:
            call.token = None
            refusal = error if route.access != options_pb2.ACCESS_PUBLIC else None
        if call.caller is not None and call.caller.user_id is not None:
            notes.person_id = str(call.caller.user_id)
        return refusal

    async def _count(self, request: Request, route: Route, notes: Notes) -> None:
        subject, names = subject_of(request.address), ["address"]
        if self._compiled[route].takes_password:
            names.append("login")
        elif notes.person_id is not None:
            subject, names = notes.person_id, ["person"]
        limits = [self._limit_by_name[name] for name in names if name in self._limit_by_name]
        allowance = await self._limits.take(subject, limits)
        if allowance is None:
            return
        notes.headers += _limit_headers(allowance)
        if allowance.retry_after_s > 0:
            raise RateLimited(retry_after_s=allowance.retry_after_s, limit=allowance.limit.name)

    async def _call(self, request: Request, route: Route, message: Message) -> Answer:
        response = await self._services.call(route, message)
        answer = Answer(200, self._compiled[route].encode(response), [(b"content-type", JSON_TYPE)])
        if request.method not in {"GET", "HEAD"}:
            answer.headers.append(NOT_STORED)
            return answer
        if route.access == options_pb2.ACCESS_PUBLIC and request.token is None:
            answer = kept_by_caches(request, answer, self._times.public_max_age_s)
        else:
            answer.headers.append(NOT_STORED)
        return compressed(request, answer)

    async def _stream(self, request: Request, route: Route, message: Message, call: Call) -> Answer:
        last_event_id = request.headers.get(b"last-event-id")
        if last_event_id and RESUME_FIELD in route.input_class.DESCRIPTOR.fields_by_name:
            setattr(message, RESUME_FIELD, last_event_id.decode(errors="replace"))
        headers = [(b"content-type", _EVENT_STREAM), NOT_STORED, (b"x-accel-buffering", b"no")]
        if request.method == "HEAD":
            return Answer(200, headers=headers)
        call.deadline_s = time.monotonic() + self._times.stream_timeout_s
        stream = self._events(request, route, message, call)
        return Answer(200, await anext(stream), headers, stream)

    async def _events(
        self, request: Request, route: Route, message: Message, call: Call
    ) -> AsyncGenerator[bytes]:
        async def check() -> None:
            if call.token is not None:
                await self._verifier.verify(call.token)

        person = call.caller.user_id if call.caller else None
        reader = str(person or subject_of(request.address))
        end = request.gone()
        with self._streams.slot(reader, end):
            messages = self._services.stream(route, message)
            encode = self._compiled[route].encode
            async with aclosing(
                events(messages, encode, end, check, self._stream_bounds)
            ) as stream:
                async for event in stream:
                    yield event


def _takes_password(route: Route) -> bool:
    """Calling it often is guessing, and each call is expensive: log-in, sign-up and the like."""
    return any(field.name.endswith("password") for field in route.descriptor.input_type.fields)


def _limit_headers(allowance: Allowance) -> Headers:
    return [
        (b"ratelimit-limit", b"%d" % allowance.limit.count),
        (b"ratelimit-remaining", b"%d" % allowance.remaining),
        (b"ratelimit-reset", b"%d" % math.ceil(allowance.recovery_s)),
    ]
