"""The gRPC server of a program, from start to drained end.

Health tells the truth: it serves only while every check passes. The first SIGTERM or SIGINT drains
(health says NOT_SERVING, nothing new is accepted, accepted calls are finished), the second ends at
once.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from svckit.rpc.limits import MESSAGE_BYTES_MAX, METADATA_BYTES_MAX, CallLimits
from svckit.rpc.table import RpcTable, Verifier
from svckit.settings import setting

logger = logging.getLogger(__name__)

CHECK_INTERVAL_S = 1.0
CHECK_TIMEOUT_S = 2.0
STOP_GRACE_S = 1.0
_HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

Check = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(CallLimits):
    """Where and how a program serves. The port is each program's own setting."""

    host: str = setting("BIND_HOST", "address that gRPC listens on", "0.0.0.0")  # noqa: S104 in a container that is the only useful one
    connection_age_s: float = setting(
        "CONNECTION_AGE_S",
        "clients reconnect after this, and so find new replicas",
        60.0,
        at_least=1,
    )
    drain_delay_s: float = setting(
        "DRAIN_DELAY_S", "pause between saying NOT_SERVING and refusing calls", 0.5, at_least=0
    )
    drain_timeout_s: float = setting(
        "DRAIN_TIMEOUT_S", "time that accepted calls have to end", 20.0, at_least=0
    )
    reflection: bool = setting("GRPC_REFLECTION", "serve the reflection service", default=False)


class Server:
    """One listening gRPC server with health, opt-in reflection and the program's services."""

    def __init__(
        self,
        settings: ServerSettings,
        port: int,
        verifier: Verifier,
        services: Mapping[ServiceDescriptor, object],
        checks: Sequence[Check],
    ) -> None:
        self._settings = settings
        self._checks = checks
        self._names = [service.full_name for service in services]
        self._table = RpcTable(verifier, settings)
        for service, servicer in services.items():
            self._table.bind(service, servicer)
        self._grpc = grpc.aio.server(options=_options(settings))
        self._grpc.add_generic_rpc_handlers((self._table,))
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        if settings.reflection:
            names = (*self._names, _HEALTH_SERVICE, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._grpc)
        self.port = self._grpc.add_insecure_port(f"{settings.host}:{port}")

    async def __aenter__(self) -> Self:
        await self._set_health(_NOT_SERVING)
        await self._grpc.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drain()

    async def watch_health(self) -> None:
        """Runs the checks for ever and publishes what they say, for each service and for all."""
        serving: bool | None = None
        while True:
            healthy = await self._passes_checks()
            if healthy is not serving:
                serving = healthy
                logger.info("health_changed", extra={"serving": serving})
                await self._set_health(_SERVING if serving else _NOT_SERVING)
            await asyncio.sleep(CHECK_INTERVAL_S)

    async def drain(self) -> None:
        """Refuses new calls, waits for accepted ones up to the limit, then closes. Idempotent.

        gRPC's own stop would cancel what has arrived and was not begun yet, so it comes last, when
        nothing is under way: its grace is for answers that are still being sent.
        """
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._settings.drain_delay_s)
        logger.info("refusing_calls")
        unfinished = await self._table.drain(self._settings.drain_timeout_s)
        logger.info("drained", extra={"unfinished_calls": unfinished})
        await self._grpc.stop(STOP_GRACE_S)

    async def _passes_checks(self) -> bool:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                for check in self._checks:
                    await check()
        except Exception as error:  # noqa: BLE001 whatever it is: not healthy, and the log says why
            logger.warning("health_check_failed", extra={"error": repr(error)})
            return False
        return True

    async def _set_health(self, status: int) -> None:
        for name in ("", *self._names):
            await self._health.set(name, status)


class Serving(AbstractAsyncContextManager[object], Protocol):
    """A server, of gRPC or not: it listens while its block lasts, and drains at its end."""

    port: int

    async def watch_health(self) -> None: ...


ServerT = TypeVar("ServerT", bound=Serving)


@asynccontextmanager
async def served(
    server: ServerT, background: Sequence[Coroutine[None, None, None]]
) -> AsyncGenerator[ServerT]:
    """Serves while the block lasts, beside `background` tasks; if one of these fails, all end.

    At the end of the block the server drains while the tasks still run (an accepted call may need
    them); then they are cancelled.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in (*background, server.watch_health())]
        try:
            async with server:
                yield server
        except Exception as error:  # noqa: BLE001 the block's: it leaves as it is, not in a group
            failure = error
        for task in tasks:
            task.cancel()
    if failure is not None:
        raise failure


@dataclass(frozen=True, slots=True)
class Duties:
    """The work of a program in its role: services, background tasks, and checks of its health."""

    verifier: Verifier
    services: Mapping[ServiceDescriptor, object]
    background: Sequence[Coroutine[None, None, None]]
    checks: Sequence[Check]

    def served(self, settings: ServerSettings, port: int) -> AbstractAsyncContextManager[Server]:
        """Does them while the block lasts; see `served`."""
        server = Server(settings, port, self.verifier, self.services, self.checks)
        return served(server, self.background)


async def run_until_signal(serving: AbstractAsyncContextManager[Serving]) -> None:
    """Serves until SIGTERM or SIGINT, then drains. A second signal ends the process as it is."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        logger.info("stopping", extra={"signal": number.name})
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    async with serving as server:
        logger.info("serving", extra={"port": server.port})
        await stop.wait()
    logger.info("stopped")


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # a second server on the same port is an error, not a lottery
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.max_connection_age_ms", int(settings.connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", int(settings.drain_timeout_s * 1000)),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
