"""The services behind the gateway: any rpc of the contract, called with the caller's own token.

Which service serves an rpc follows from its package: `newsfeed.user.v1` is user_svc's. What a
service answers as an error leaves as it came, without what gRPC says of addresses and sockets.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Self, cast

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from gateway.routes import Route
from svckit import errors
from svckit.context import current_call
from svckit.rpc.client import ServiceChannel
from svckit.rpc.limits import ChannelLimits
from svckit.rpc.status import rich_status, to_rpc_status
from svckit.rpc.table import Internal

logger = logging.getLogger(__name__)

# So that a slow reader costs kilobytes: without, an unread stream buffers megabytes.
_STREAM_OPTIONS = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16 * 1024))


class CallFailed(Exception):
    """A service refused, or could not be reached; `status` is fit to be shown."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.code)
        self.status = status


class Services:
    """Two channels a service, one of them for streams. A service without a target is not offered.

    Every call carries what the current call says: token, request id, trace, deadline.
    """

    def __init__(
        self, targets: Mapping[str, str], timeout_s: float, stream_timeout_s: float
    ) -> None:
        self._unary: dict[str, Callable[..., Awaitable[object]]] = {}
        limits = ChannelLimits(timeout_s, stream_timeout_s)
        self._calls = {
            name: ServiceChannel(
                target, _callers_token, limits, translate=partial(_translate, name)
            )
            for name, target in targets.items()
        }
        self._streams = {
            name: ServiceChannel(
                target,
                _callers_token,
                limits,
                translate=partial(_translate, name),
                options=_STREAM_OPTIONS,
            )
            for name, target in targets.items()
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        async with AsyncExitStack() as stack:
            for channel in (*self._calls.values(), *self._streams.values()):
                stack.push_async_callback(channel.close)

    async def call(self, route: Route, request: Message) -> Message:
        invoke = self._unary.get(route.rpc)
        if invoke is None:
            invoke = self._unary[route.rpc] = self._calls[self._offered(route)].unary_unary(
                route.rpc, route.input_class.SerializeToString, route.output_class.FromString
            )
        return cast("Message", await invoke(request))

    def stream(self, route: Route, request: Message) -> AsyncGenerator[Message]:
        invoke = self._streams[self._offered(route)].unary_stream(
            route.rpc, route.input_class.SerializeToString, route.output_class.FromString
        )
        return cast("AsyncGenerator[Message]", invoke(request))

    def _offered(self, route: Route) -> str:
        service = service_of(route)
        if service not in self._calls:
            raise errors.Unimplemented
        return service


def service_of(route: Route) -> str:
    return f"{route.rpc.split('.', 2)[1]}_svc"


def _callers_token() -> str | None:
    call = current_call.get()
    return call.token if call else None


def _translate(service: str, error: grpc.aio.AioRpcError, _: str) -> CallFailed:
    """The words of our own services are passed on, those of gRPC are put into ours."""
    status = rich_status(error)
    if not status.code:
        status = status_pb2.Status.FromString(to_rpc_status(_in_our_words(service, error)).details)
    return CallFailed(status)


def _in_our_words(service: str, error: grpc.aio.AioRpcError) -> errors.DomainError:
    match error.code():
        case grpc.StatusCode.UNIMPLEMENTED:
            return errors.Unimplemented()
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.DeadlineExceeded()
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return errors.Unavailable(dependency=service)
        case code:
            logger.error("call_failed", extra={"dependency": service, "code": code.name})
            call = current_call.get()
            return Internal(request_id=call.request_id if call else "")
