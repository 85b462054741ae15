"""Around every call: from bytes on the wire to a servicer's method and back.

A servicer has one method an rpc, from request to response (`async def GetUser(self, request)`);
the rest of the call is in `svckit.context`. The methods are bound once, at start, into a table by
path, each wrapped in the same steps: admission, request id and trace, deadline, the caller and its
permission, decode within bounds, the method itself, encode, and for every exception a status with
details. The access rule of a method comes from the contract; a method without one can't be bound.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from newsfeed.options.v1 import options_pb2
from opentelemetry.trace import SpanKind

from svckit import errors, telemetry
from svckit.auth.tokens import Caller, Role
from svckit.bounds import check, look_of
from svckit.context import Call, current_call
from svckit.ids import new_id
from svckit.rpc.limits import CallLimits
from svckit.rpc.status import RpcStatus, code_of, to_rpc_status

logger = logging.getLogger(__name__)

if TYPE_CHECKING:  # a generic to type checkers only
    Handler = grpc.RpcMethodHandler[bytes, bytes]

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
# A drained server lets go of callers once they have been quiet for a moment, or after this long.
# The moment is longer than a caller's process stands still, as for its garbage collection.
QUIET_S = 0.25
QUIET_WAIT_S_MAX = 1.0
DRAIN_POLL_S = 0.01
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_BEARER = "Bearer "

ROLES_BY_ACCESS: Mapping[int, frozenset[Role]] = {
    options_pb2.ACCESS_USER: frozenset({Role.USER, Role.MODERATOR, Role.ADMIN}),
    options_pb2.ACCESS_MODERATOR: frozenset({Role.MODERATOR, Role.ADMIN}),
    options_pb2.ACCESS_ADMIN: frozenset({Role.ADMIN}),
    options_pb2.ACCESS_SERVICE: frozenset({Role.SERVICE}),
}


class Verifier(Protocol):
    """Turns an access token into its caller, or raises Unauthenticated."""

    async def verify(self, token: str) -> Caller: ...


class InvalidMessage(errors.InvalidArgument):
    """The bytes are not a message of the type that the rpc takes."""

    reason = "INVALID_MESSAGE"


class ShuttingDown(errors.Unavailable):
    """This process takes no new calls; another one will."""

    reason = "SHUTTING_DOWN"
    message = "This server is stopping. Try again."


class Internal(errors.DomainError):
    """A fault of ours: its caller learns no more than the request id to ask us about."""


@dataclass(frozen=True, slots=True)
class _Method:
    path: str
    access: int
    request_class: type[Message]
    is_stream: bool

    @property
    def is_live(self) -> bool:
        """A stream for people: it has no end of its own."""
        return self.is_stream and self.access != options_pb2.ACCESS_SERVICE


class RpcTable(grpc.GenericRpcHandler):
    """All rpcs of one server, by path. The dispatch is one dictionary look-up."""

    def __init__(self, verifier: Verifier, limits: CallLimits) -> None:
        self._verifier = verifier
        self._limits = limits
        self._handlers: dict[str, Handler] = {}
        self._in_progress = {"call": 0, "stream": 0}
        self._refused_at_s: float | None = None  # None until the server drains
        self._live: set[asyncio.Timeout] = set()  # one for each live stream, to end it

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        return self._handlers.get(handler_call_details.method)

    def bind(self, service: ServiceDescriptor, servicer: object) -> None:
        """Adds every rpc of `service`; raises when one is not implemented or has no access rule."""
        for descriptor in service.methods:
            method = _describe(descriptor)
            behaviour = getattr(servicer, descriptor.name)
            handler: Handler
            if method.is_stream:
                handler = grpc.unary_stream_rpc_method_handler(self._streaming(method, behaviour))
            else:
                handler = grpc.unary_unary_rpc_method_handler(self._unary(method, behaviour))
            self._handlers[method.path] = handler

    async def drain(self, timeout_s: float) -> int:
        """Refuses new calls, ends live streams, waits for the other calls that were accepted.

        Returns how many did not end in time.

        It goes on refusing until callers have noticed: a call that arrives while gRPC stops is
        cancelled, and its caller can't know that it was never begun.
        """
        started_at_s = self._refused_at_s = time.monotonic()
        while True:
            while self._live:
                self._live.pop().reschedule(0)
            now_s = time.monotonic()
            unfinished = sum(self._in_progress.values())
            quiet_at_s = min(self._refused_at_s + QUIET_S, started_at_s + QUIET_WAIT_S_MAX)
            if now_s >= started_at_s + timeout_s or (not unfinished and now_s >= quiet_at_s):
                return unfinished
            await asyncio.sleep(DRAIN_POLL_S)

    def _unary(
        self, method: _Method, behaviour: Callable[[Message], Awaitable[Message | bytes]]
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def serve(data: bytes, context: Context) -> bytes:
            async def work(call: Call) -> bytes:
                await self._authorize(method, call)
                return _encode(await behaviour(_decode(method, data)))

            return await self._run(method, context, work)

        return serve

    def _streaming(
        self, method: _Method, behaviour: Callable[[Message], AsyncIterator[Message | bytes]]
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        async def serve(data: bytes, context: Context) -> None:
            async def work(call: Call) -> None:
                await self._authorize(method, call)
                responses = behaviour(_decode(method, data))
                try:
                    async with self._ended_by_drain(method):
                        async for response in responses:
                            if method.is_live:
                                await self._authorize(method, call)
                            await context.write(_encode(response))
                finally:
                    if hasattr(responses, "aclose"):
                        await responses.aclose()

            await self._run(method, context, work)

        return serve

    async def _run(
        self, method: _Method, context: Context, work: Callable[[Call], Awaitable[T]]
    ) -> T:
        """Does `work` within the bounds; leaves by its result, or by the abort of the call."""
        started_s = time.monotonic()
        kind = "stream" if method.is_stream else "call"
        call = _open_call(method, context, started_s + self._timeout_s(method, context))
        current_call.set(call)
        code = grpc.StatusCode.CANCELLED
        self._in_progress[kind] += 1
        telemetry.CALLS_IN_PROGRESS.labels(kind).inc()
        try:
            with telemetry.span(method.path, call.traceparent, SpanKind.SERVER) as traceparent:
                call.traceparent = traceparent
                self._admit(kind)
                async with asyncio.timeout(call.remaining_s()):
                    result = await work(call)
            code = grpc.StatusCode.OK
            return result
        except Exception as error:  # noqa: BLE001 the outermost place: whatever it is, it is answered
            status = _status_of(error, call)
            code = status.code
        finally:
            self._in_progress[kind] -= 1
            telemetry.CALLS_IN_PROGRESS.labels(kind).dec()
            telemetry.CALLS.labels(method.path, code.name).inc()
            telemetry.CALL_SECONDS.labels(method.path).observe(time.monotonic() - started_s)
        await context.abort(
            status.code,
            status.message,
            (*status.trailing_metadata, ("x-request-id", call.request_id)),
        )
        raise AssertionError("abort raises")

    @asynccontextmanager
    async def _ended_by_drain(self, method: _Method) -> AsyncGenerator[None]:
        """Ends the block of a live stream with the drain, also where a slow reader holds it up."""
        if not method.is_live:
            yield
            return
        drained = asyncio.timeout(None)
        try:
            async with drained:
                self._live.add(drained)
                yield
        except TimeoutError:
            if drained.expired():
                raise ShuttingDown(retry_after_s=0.1) from None
            raise
        finally:
            self._live.discard(drained)

    def _timeout_s(self, method: _Method, context: Context) -> float:
        limits = self._limits
        own_s = limits.stream_timeout_s if method.is_stream else limits.call_timeout_s
        asked_s = context.time_remaining()
        return own_s if asked_s is None else min(asked_s, own_s)

    def _admit(self, kind: str) -> None:
        if self._refused_at_s is not None:
            self._refused_at_s = time.monotonic()
            raise ShuttingDown(retry_after_s=0.1)
        limits = self._limits
        most = limits.streams_max if kind == "stream" else limits.calls_max
        if self._in_progress[kind] > most:
            raise errors.ResourceExhausted(retry_after_s=0.1)

    async def _authorize(self, method: _Method, call: Call) -> None:
        """Fills in the caller, if it may call. On a PUBLIC rpc a bad token counts as none."""
        if method.access == options_pb2.ACCESS_PUBLIC:
            try:
                call.caller = await self._verifier.verify(call.token) if call.token else None
            except errors.Unauthenticated:
                call.token = None
            return
        if call.token is None:
            raise errors.Unauthenticated
        call.caller = await self._verifier.verify(call.token)
        if call.caller.role not in ROLES_BY_ACCESS[method.access]:
            raise errors.PermissionDenied


def _describe(descriptor: MethodDescriptor) -> _Method:
    access = descriptor.GetOptions().Extensions[options_pb2.access]
    path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
    if access != options_pb2.ACCESS_PUBLIC and access not in ROLES_BY_ACCESS:
        raise ValueError(f"{path} does not say who may call it")
    if descriptor.client_streaming:
        raise ValueError(f"{path}: streams from clients are not served")
    look_of(descriptor.input_type)  # bounds that can't be kept are found at start
    request_class = message_factory.GetMessageClass(descriptor.input_type)
    return _Method(path, access, request_class, is_stream=descriptor.server_streaming)


def _open_call(method: _Method, context: Context, deadline_s: float) -> Call:
    request_id = traceparent = token = None
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            # A second header, or another scheme, can't be verified as a token and is refused there.
            token = value if token is None else ""
        elif key == "x-request-id" and _REQUEST_ID.fullmatch(str(value)):
            request_id = str(value)
        elif key == "traceparent":
            traceparent = telemetry.sane_traceparent(str(value))
    if token is not None:
        token = str(token).removeprefix(_BEARER) if str(token).startswith(_BEARER) else ""
    return Call(
        method=method.path,
        request_id=request_id or new_id().hex,
        deadline_s=deadline_s,
        traceparent=traceparent,
        token=token,
    )


def _decode(method: _Method, data: bytes) -> Message:
    """The request, within the bounds that the contract gives its fields."""
    try:
        request = method.request_class.FromString(data)
    except DecodeError:
        description = f"the bytes are not a {method.request_class.DESCRIPTOR.full_name}"
        raise InvalidMessage.of("", description) from None
    check(request)
    return request


def _encode(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


def _status_of(error: Exception, call: Call) -> RpcStatus:
    if isinstance(error, TimeoutError):
        error = errors.DeadlineExceeded()
    if not isinstance(error, errors.DomainError) or code_of(error) is grpc.StatusCode.INTERNAL:
        logger.error("call_failed", exc_info=error)
        error = Internal(request_id=call.request_id)
    return to_rpc_status(error)
