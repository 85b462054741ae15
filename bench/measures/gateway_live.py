"""A thousand live streams at once, each of another person: their memory, and how soon a post comes.

The readers are in this process, which has nothing else to do. They follow the one who posts.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import grpc
from newsfeed.content.v1.content_service_pb2 import CreatePostRequest
from newsfeed.content.v1.content_service_pb2_grpc import ContentServiceStub

from bench.tools.gateway_stage import Stage, set_up
from bench.tools.http_load import request
from bench.tools.measure import Measure, Site
from devstack.programs import CONTENT_SVC, FEED_SVC, GATEWAY
from devstack.rig import Running, bearer
from devstack.servers import HOST
from svckit.ids import new_id

if TYPE_CHECKING:
    from newsfeed.content.v1.content_service_pb2_grpc import ContentServiceAsyncStub

LIVE = "/v1/feed/live"
STREAMS = 1_000
FIRST_STREAMS = 50  # for these, what all of them share is made
OPENED_AT_ONCE = 50  # fewer than the gateway lets in at once
GIVE_UP_S = 10.0
KIB = 1024


class Stream(asyncio.Protocol):
    """A reader that waits for its stream to begin, and then for one post after the other."""

    def __init__(self, path: str, token: str) -> None:
        self._request = request(path, token)
        self._received = bytearray()
        self.begun = self.expect(b"retry: ")

    def expect(self, text: bytes) -> asyncio.Future[float]:
        """When it will have come."""
        self._text, self._came = text, asyncio.get_running_loop().create_future()
        return self._came

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.startswith(b"HTTP/1.1 ") and self._received[9:12] != b"200":
            self.transport.close()
        elif not self._came.done() and self._text in self._received:
            self._came.set_result(time.perf_counter())
        if self._received.endswith(b"\n\n\r\n"):  # a whole event
            self._received.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._came.done():
            self._came.set_exception(exc or ConnectionError(bytes(self._received[:KIB])))


async def watch(site: Site) -> list[Measure]:
    async with (
        set_up(site, STREAMS) as stage,
        grpc.aio.insecure_channel(stage.programs[CONTENT_SVC].address) as channel,
    ):
        content, programs = (
            ContentServiceStub(channel),
            (stage.programs[GATEWAY], stage.programs[FEED_SVC]),
        )
        streams = await _open(stage, stage.tokens[:FIRST_STREAMS])
        await _delays_s(stage, content, streams)
        before = [_resident_kib(program) for program in programs]
        streams += await _open(stage, stage.tokens[FIRST_STREAMS:])
        rounds = [await _delays_s(stage, content, streams) for _ in range(site.rounds)]
        after = [_resident_kib(program) for program in programs]
        for stream in streams:
            stream.transport.close()
    of_gateway, of_feed_svc = (
        (now - then) / (STREAMS - FIRST_STREAMS) for now, then in zip(after, before, strict=True)
    )
    p99s = [statistics.quantiles(delays_s, n=100)[98] for delays_s in rounds]
    return [
        Measure("gateway.streams_memory", "KiB each", [of_gateway], at_most=50),
        Measure("gateway.streams_feed_memory", "KiB each", [of_feed_svc], at_most=50),
        Measure("gateway.streams_p99", "s", p99s),
        Measure("gateway.streams_last", "s", [max(delays_s) for delays_s in rounds], at_most=1),
    ]


async def _open(stage: Stage, tokens: Sequence[str]) -> list[Stream]:
    loop, port = asyncio.get_running_loop(), int(stage.programs[GATEWAY].address.rpartition(":")[2])
    streams = []
    for start in range(0, len(tokens), OPENED_AT_ONCE):
        opened = [
            await loop.create_connection(partial(Stream, LIVE, token), HOST, port)
            for token in tokens[start : start + OPENED_AT_ONCE]
        ]
        some = [stream for _, stream in opened]
        async with asyncio.timeout(GIVE_UP_S):
            for stream in some:
                await stream.begun
        streams += some
    return streams


async def _delays_s(
    stage: Stage, content: "ContentServiceAsyncStub", streams: Sequence[Stream]
) -> list[float]:
    """From the answer to who posts until each of the streams has it."""
    post_id = str(new_id())
    arrivals = [stream.expect(post_id.encode()) for stream in streams]
    metadata = bearer(stage.site.rig.user_token(stage.cast.star))
    await content.CreatePost(CreatePostRequest(post_id=post_id, content="hello"), metadata=metadata)
    answered_s = time.perf_counter()
    async with asyncio.timeout(GIVE_UP_S):
        return [max(0.0, await arrival - answered_s) for arrival in arrivals]


def _resident_kib(program: Running) -> float:
    return float(program.process.memory_info().rss) / KIB
