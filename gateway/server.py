"""The HTTP server: uvicorn with what it lacks against clients that are slow or mean harm.

A head must arrive in time and within bounds; a client that does not take what it asked for is cut
off; connections and pipelined requests have a bound. What is no HTTP is answered in the contract's
shape. On its way out the server is first not ready, then ends its streams and finishes what it has
accepted.
"""

import asyncio
import logging
import socket
from asyncio import TimerHandle
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.asgi import Edge
from gateway.exchange import CLOSE, Refused
from gateway.gatekeeper import Gatekeeper
from gateway.metrics import CONNECTIONS, REQUESTS
from gateway.model import ConnectionBounds
from gateway.problems import to_answer, to_wire
from gateway.readiness import Readiness
from gateway.settings import ServerSettings
from gateway.sse import Streams
from svckit.ids import new_id

logger = logging.getLogger(__name__)


class Connection(HttpToolsProtocol):
    """One connection. It ends when it is idle for too long, or gets nowhere in either direction."""

    def __init__(
        self,
        settings: ServerSettings,
        bounds: ConnectionBounds,
        gatekeeper: Gatekeeper,
        *arguments: Any,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._settings = settings
        self._bounds = bounds
        self._gatekeeper = gatekeeper
        self._head_bytes = 0
        self._is_in_body = False
        self._head_timer: TimerHandle | None = None
        self._write_timer: TimerHandle | None = None
        self._answered = 0
        self._refused: Refused | None = None
        self._gone: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        CONNECTIONS.set(len(self.connections))
        if len(self.connections) > self._settings.connections_max:
            retry_after = (b"retry-after", b"1")
            self._refuse(Refused(503, "connection", "too many connections", [retry_after]))
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        super().connection_lost(exc)
        CONNECTIONS.set(len(self.connections))

    def gone(self) -> asyncio.Future[None]:
        """Done when the client has gone."""
        if self._gone is None:
            self._gone = self.loop.create_future()
        return self._gone

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self._is_in_body:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_busy or self.transport.is_closing():
            return
        if self._head_bytes > self._bounds.head_bytes_max:
            self._refuse(_too_large(self._bounds))
        elif self._head_timer is None and self.timeout_keep_alive_task is None:
            self._expect_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"].update(abort=self.transport.abort, gone=self.gone)

    def on_headers_complete(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._head_bytes = 0
        self._is_in_body = True
        bounds = self._bounds
        size_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size_bytes > bounds.head_bytes_max or len(self.headers) > bounds.headers_max:
            self._refused = _too_large(bounds)
        elif len(self.pipeline) >= bounds.pipelined_max:
            self._refused = Refused(400, "connection", "too many requests without waiting")
        if self._refused is not None:
            raise self._refused
        if not self._is_turned_away():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._answered += 1
        super().on_response_complete()
        self._watch_writing()

    def shutdown(self) -> None:
        """Takes the request that may be on its way; its answer closes the connection."""
        if self._is_busy:
            super().shutdown()
        else:
            self.loop.call_later(self._bounds.last_request_wait_s, super().shutdown)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 uvicorn's words, not ours
        self._refuse(self._refused or Refused(400, "request", "this is not HTTP/1.1"))

    def _is_turned_away(self) -> bool:
        """There is no room for the request, and it has been told so."""
        method = self.parser.get_method().decode()
        if self._is_busy or method == "HEAD" or not self.parser.should_keep_alive():
            return False  # whose answer takes more than writing it: as all others
        refusal = self._gatekeeper.refusal(method, self.url)
        if refusal is None:
            return False
        self.cycle = cast("RequestResponseCycle", _Answered)
        self.transport.write(refusal)
        self.on_response_complete()
        return True

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self._settings.head_timeout_s, self._give_up)

    def _give_up(self) -> None:
        if self._head_bytes or not self._answered:
            self._refuse(Refused(408, "request", "the request did not arrive in time"))
        else:  # nobody waits for an answer
            self.transport.close()

    def _refuse(self, refused: Refused) -> None:
        """Answers, if nobody else is answering, and closes."""
        if self._is_busy:
            self.transport.abort()
            return
        answer, request_id = to_answer(refused), new_id().hex
        answer.headers.append(CLOSE)
        self.transport.write(to_wire(answer, request_id.encode()))
        self.transport.close()
        self._watch_writing()
        REQUESTS.labels("-", str(answer.status)).inc()
        told = {"status": answer.status, "why": refused.message, "request_id": request_id}
        logger.info("request_refused", extra=told)

    def _watch_writing(self) -> None:
        """Cuts the connection off if, after the time for it, what was written is still here."""
        if self._write_timer is None and self.transport.get_write_buffer_size():
            self._write_timer = self.loop.call_later(
                self._settings.write_timeout_s, self._check_writing, self._answered
            )

    def _check_writing(self, answered: int) -> None:
        self._write_timer = None
        if answered < self._answered:  # what is left may be of a later answer
            self._watch_writing()
        elif self.transport.get_write_buffer_size():
            self.transport.abort()


class _Answered:
    """Stands for a request that is over before it began: what comes of its body is dropped."""

    response_complete = True
    message_event = asyncio.Event()


class HttpServer:
    """Listens from `async with` on; its end drains."""

    def __init__(
        self,
        settings: ServerSettings,
        bounds: ConnectionBounds,
        edge: Edge,
        gatekeeper: Gatekeeper,
        readiness: Readiness,
        streams: Streams,
    ) -> None:
        self._settings = settings
        self._edge = edge
        self._readiness = readiness
        self._streams = streams
        self._socket = _listen(settings.host, settings.port, bounds.backlog)
        self.port: int = self._socket.getsockname()[1]
        self._uvicorn = _Uvicorn(
            _config(edge, partial(Connection, settings, bounds, gatekeeper), settings)
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        return len(self._uvicorn.server_state.connections)

    async def watch_health(self) -> None:
        await self._readiness.run()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._uvicorn.serve(sockets=[self._socket]))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._readiness.drain()
        self._edge.drain()
        await asyncio.sleep(self._settings.drain_delay_s)
        logger.info("refusing_connections")
        self._streams.drain()
        self._uvicorn.should_exit = True
        await self._task
        logger.info("drained")


class _Uvicorn(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are for the whole program, not for its server alone."""
        yield


def _config(
    edge: Edge, connection: Callable[..., Connection], settings: ServerSettings
) -> uvicorn.Config:
    return uvicorn.Config(
        edge,
        http=connection,  # type: ignore[arg-type]  # it is called, no more
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,  # `Proxies` reads them
        server_header=False,
        timeout_keep_alive=int(settings.keep_alive_s),
        timeout_graceful_shutdown=int(settings.drain_timeout_s),
    )


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=backlog)
    listener.setblocking(False)  # noqa: FBT003 its only argument
    return listener


def _too_large(bounds: ConnectionBounds) -> Refused:
    within = f"{bounds.head_bytes_max} bytes and {bounds.headers_max} headers"
    return Refused(431, "headers", f"a head must be within {within}")
