"""Live streams: messages of a server stream → Server-Sent Events, one reader each.

A message becomes an event whose `id` is its resume token; a reader that comes back with that token
as `Last-Event-ID` misses nothing. Nothing is buffered here but the event that is being sent. A
stream ends when the service ends it, when the token of its reader is no longer good, when the
reader goes or is too slow, and at once when the gateway stops: the reader comes back to another.
"""

import asyncio
import random
from asyncio import FIRST_COMPLETED
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import cast

from google.protobuf.message import Message

from gateway.admission import overloaded
from gateway.metrics import STREAMS
from gateway.model import AdmissionBounds, StreamBounds
from gateway.problems import to_json
from svckit.errors import ResourceExhausted
from svckit.rpc.table import ShuttingDown

RESUME_FIELD = "resume_token"  # of requests and messages of streams that can be resumed


class TooManyStreams(ResourceExhausted):
    reason = "RATE_LIMITED"
    message = "You have as many live streams open as you may."


class Streams:
    """How many streams each reader has open, and the way to end all of them."""

    def __init__(
        self,
        at_once_max: int,
        per_reader_max: int,
        bounds: StreamBounds,
        admission: AdmissionBounds,
    ) -> None:
        self._at_once_max = at_once_max
        self._per_reader_max = per_reader_max
        self._retry_after_s = bounds.retry_ms / 1000
        self._admission = admission
        self._readers: Counter[str] = Counter()
        self._ends: set[asyncio.Future[None]] = set()
        self._is_draining = False

    @contextmanager
    def slot(self, reader: str, end: asyncio.Future[None]) -> Generator[None]:
        """`end` is done when the reader has gone, and made so when all streams have to end."""
        self._admit(reader)
        self._readers[reader] += 1
        self._ends.add(end)
        STREAMS.set(len(self._ends))
        try:
            yield
        finally:
            self._ends.remove(end)
            STREAMS.set(len(self._ends))
            self._readers[reader] -= 1
            if not self._readers[reader]:
                del self._readers[reader]

    def drain(self) -> None:
        """Ends all streams, and lets none begin."""
        self._is_draining = True
        for end in self._ends:
            if not end.done():
                end.set_result(None)

    def _admit(self, reader: str) -> None:
        if self._is_draining:
            raise ShuttingDown(retry_after_s=self._retry_after_s)
        if len(self._ends) >= self._at_once_max:
            raise overloaded("streams", self._admission)
        if self._readers[reader] >= self._per_reader_max:
            raise TooManyStreams(retry_after_s=self._retry_after_s, limit="streams")


async def events(
    messages: AsyncGenerator[Message],
    encode: Callable[[Message], bytes],
    end: asyncio.Future[None],
    check: Callable[[], Awaitable[object]],
    bounds: StreamBounds,
) -> AsyncGenerator[bytes]:
    """An error before the first event is raised; a later one is told as the last event.

    `check` raises when the reader may not read any more: it is asked before each event.
    """
    waiting = asyncio.create_task(_next(messages))
    has_begun = False
    try:
        await _either(waiting, end, bounds.first_wait_s)
        if waiting.done():
            waiting.result()
        has_begun = True
        yield b"retry: %d\n\n" % round(bounds.retry_ms * random.uniform(0.5, 1.5))  # noqa: S311 jitter
        while True:
            await _either(waiting, end, bounds.heartbeat_s)
            if end.done():
                break
            await check()
            if not waiting.done():
                yield b":\n\n"
                continue
            message = waiting.result()
            if message is None:
                break
            yield _event(message, encode)
            waiting = asyncio.create_task(_next(messages))
    except Exception as error:
        if not has_begun:
            raise
        yield b"event: failure\ndata: %b\n\n" % to_json(error)
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})
        await messages.aclose()


async def _either(
    waiting: asyncio.Task[Message | None], end: asyncio.Future[None], timeout_s: float
) -> None:
    both = cast("set[asyncio.Future[object]]", {waiting, end})
    await asyncio.wait(both, timeout=timeout_s, return_when=FIRST_COMPLETED)


async def _next(messages: AsyncGenerator[Message]) -> Message | None:
    return await anext(messages, None)


def _event(message: Message, encode: Callable[[Message], bytes]) -> bytes:
    data = b"data: %b\n\n" % encode(message)
    token = getattr(message, RESUME_FIELD, "")
    return b"id: %b\n%b" % (token.encode(), data) if token.isprintable() and token else data
