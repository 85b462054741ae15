"""Calls to other services: one channel a target, and the same manners on every call.

`ServiceChannel` is a `grpc.aio.Channel`, so generated stubs work on it unchanged. Each call gets a
deadline (what is left of the call being served, or the default), the request id and trace of that
call, and a token: this program's own, or that of the caller being served. Servers that say they do
not serve get no calls. A call that the contract marks as idempotent is tried again when its server
was unavailable, within a budget. Errors leave as domain errors, or as what `translate` makes of
them.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from opentelemetry.trace import SpanKind

from svckit import errors, telemetry
from svckit.backoff import backoff_s
from svckit.context import current_call
from svckit.rpc.limits import MESSAGE_BYTES_MAX, ChannelLimits
from svckit.rpc.status import to_domain_error

# The servers that serve, by their own health, take turns.
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": ""},
}
# A server that stops may cancel what has arrived and was not begun.
_TRY_AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}

S = TypeVar("S")
Metadata = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class RetryBudget:
    """Retries may be at most a tenth of the calls, plus a small reserve for quiet times."""

    reserve: float = 10.0
    share: float = 0.1
    tokens: float = 10.0

    def earn(self) -> None:
        self.tokens = min(self.reserve, self.tokens + self.share)

    def spend(self) -> bool:
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class ServiceChannel:
    """A channel for generated stubs; the module's first lines say what it adds to each call."""

    def __init__(
        self,
        target: str,
        token: Callable[[], str | None] | None = None,
        limits: ChannelLimits | None = None,
        *,
        translate: Callable[[grpc.aio.AioRpcError, str], Exception] = to_domain_error,
        options: Sequence[tuple[str, int]] = (),
    ) -> None:
        self._token = token
        self._limits = limits or ChannelLimits()
        self._translate = translate
        self._budget = RetryBudget()
        self._channel = grpc.aio.insecure_channel(
            target,
            options=[
                ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
                ("grpc.enable_retries", 0),  # ours know the contract and the budget
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 5_000),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 2_000),
                *options,
            ],
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close()

    def stub(self, stub_class: Callable[[grpc.aio.Channel], S]) -> S:
        """A generated stub that calls through this channel."""
        return stub_class(cast("grpc.aio.Channel", self))

    def unary_unary(
        self, method: str, *serializers: Any, **options: Any
    ) -> Callable[..., Awaitable[Any]]:
        call = self._channel.unary_unary(method, *serializers, **options)
        limits = self._limits
        attempts_max = limits.attempts_max if _is_idempotent(method) else 1

        async def invoke(request: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 gRPC's own name
            self._budget.earn()
            deadline_s = self._deadline_s(timeout, limits.timeout_s)
            pauses_s = backoff_s(limits.backoff_min_s, limits.backoff_max_s)
            for attempt in range(1, attempts_max + 1):
                try:
                    return await self._once(call, method, request, deadline_s)
                except grpc.aio.AioRpcError as error:
                    pause_s = next(pauses_s)
                    may_retry = (
                        error.code() in _TRY_AGAIN
                        and attempt < attempts_max
                        and time.monotonic() + pause_s < deadline_s
                        and self._budget.spend()
                    )
                    if not may_retry:
                        raise self._translate(error, _service_of(method)) from error
                    await asyncio.sleep(pause_s)
            raise AssertionError("the last attempt returns or raises")

        return invoke

    def unary_stream(
        self, method: str, *serializers: Any, **options: Any
    ) -> Callable[..., AsyncIterator[Any]]:
        call = self._channel.unary_stream(method, *serializers, **options)

        async def invoke(request: Any, timeout: float | None = None) -> AsyncIterator[Any]:  # noqa: ASYNC109
            deadline_s = self._deadline_s(timeout, self._limits.stream_timeout_s)
            remaining_s = deadline_s - time.monotonic()
            responses = call(request, timeout=remaining_s, metadata=self._metadata(None))
            try:
                async for response in responses:
                    yield response
            except grpc.aio.AioRpcError as error:
                raise self._translate(error, _service_of(method)) from error
            finally:
                responses.cancel()

        return invoke

    async def _once(self, call: Any, method: str, request: Any, deadline_s: float) -> Any:
        served = current_call.get()
        parent = served.traceparent if served else None
        remaining_s = deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise errors.DeadlineExceeded
        with telemetry.span(method, parent, SpanKind.CLIENT) as traceparent:
            return await call(request, timeout=remaining_s, metadata=self._metadata(traceparent))

    def _deadline_s(self, timeout_s: float | None, default_s: float) -> float:
        """The time asked for or the default, but never beyond the call that is being served."""
        deadline_s = time.monotonic() + (default_s if timeout_s is None else timeout_s)
        served = current_call.get()
        if served is None:
            return deadline_s
        return min(deadline_s, served.deadline_s - self._limits.deadline_margin_s)

    def _metadata(self, traceparent: str | None) -> Metadata:
        metadata: Metadata = ()
        token = self._token() if self._token is not None else None
        if token is not None:
            metadata += (("authorization", f"Bearer {token}"),)
        served = current_call.get()
        if served is not None:
            metadata += (("x-request-id", served.request_id),)
            traceparent = traceparent or served.traceparent
        if traceparent is not None:
            metadata += (("traceparent", traceparent),)
        return metadata


def _service_of(path: str) -> str:
    """The name of a dependency, which outsiders may know; its address they may not."""
    return path[1:].partition("/")[0]


def _is_idempotent(path: str) -> bool:
    """Does the contract say that calling twice is as good as once?"""
    method = descriptor_pool.Default().FindMethodByName(path[1:].replace("/", "."))
    level = method.GetOptions().idempotency_level
    return level != descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN
