"""Streams for people: they end when the server drains, and with the session that opened them."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
from newsfeed.feed.v1 import feed_service_pb2 as pb
from newsfeed.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from newsfeed.user.v1 import user_service_pb2 as user_pb
from newsfeed.user.v1.user_service_pb2_grpc import GraphServiceStub

from svckit.auth.tokens import Caller, TokenExpired
from svckit.rpc.server import Server
from tests.polling import until
from tests.requests.refusals import refusal_of
from tests.stacks.rpc_server import SOMEBODY, NamedRoles, bearer, dialled, serving

if TYPE_CHECKING:
    from newsfeed.feed.v1.feed_service_pb2_grpc import FeedServiceAsyncStub

    Stream = grpc.aio.UnaryStreamCall[pb.WatchHomeFeedRequest, pb.WatchHomeFeedResponse]

FEED = pb.DESCRIPTOR.services_by_name["FeedService"]
GRAPH = user_pb.DESCRIPTOR.services_by_name["GraphService"]
STREAMS = 50
DRAIN_S_MAX = 2.0


class LiveFeed:
    """One message each time that it is told to go on."""

    def __init__(self, content: str = "") -> None:
        self.content = content
        self.open = 0
        self.go_on = asyncio.Event()

    async def watch(self, _: object) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            while True:
                yield pb.WatchHomeFeedResponse(resume_token=self.content).SerializeToString()
                await self.go_on.wait()
        finally:
            self.open -= 1


def stream(channel: grpc.aio.Channel) -> "Stream":
    stub: FeedServiceAsyncStub = FeedServiceStub(channel)
    return stub.WatchHomeFeed(pb.WatchHomeFeedRequest(), metadata=bearer("user"))


async def end_of(call: "Stream") -> str:
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).says
    return "OK"


async def drained_in_s(server: Server) -> float:
    started_s = time.monotonic()
    await server.drain()
    return time.monotonic() - started_s


async def test_live_streams_end_at_once_when_the_server_drains() -> None:
    feed = LiveFeed()
    async with serving(FEED, {"WatchHomeFeed": feed.watch}) as server, dialled(server) as channel:
        calls = [stream(channel) for _ in range(STREAMS)]
        for call in calls:
            await call.read()
        assert await drained_in_s(server) < DRAIN_S_MAX
        assert {await end_of(call) for call in calls} == {"UNAVAILABLE SHUTTING_DOWN"}
        assert feed.open == 0


async def test_a_reader_that_does_not_read_holds_nothing_up() -> None:
    feed = LiveFeed("x" * 1_000_000)
    feed.go_on.set()
    async with serving(FEED, {"WatchHomeFeed": feed.watch}) as server, dialled(server) as channel:
        call = stream(channel)
        await until(lambda: feed.open == 1)
        assert await drained_in_s(server) < DRAIN_S_MAX
        assert feed.open == 0
        call.cancel()


async def test_a_stream_for_a_service_is_finished_first() -> None:
    go_on = asyncio.Event()

    async def follower_ids(_: object) -> AsyncIterator[user_pb.StreamFollowerIdsResponse]:
        yield user_pb.StreamFollowerIdsResponse(follower_ids=b"first")
        await go_on.wait()
        yield user_pb.StreamFollowerIdsResponse(follower_ids=b"last")

    methods = {"StreamFollowerIds": follower_ids}
    async with serving(GRAPH, methods) as server, dialled(server) as channel:
        request, metadata = user_pb.StreamFollowerIdsRequest(user_id=SOMEBODY), bearer("service")
        call = GraphServiceStub(channel).StreamFollowerIds(request, metadata=metadata)
        await call.read()
        draining = asyncio.create_task(server.drain())
        await asyncio.wait([draining], timeout=0.2)
        go_on.set()
        assert await call.read() == user_pb.StreamFollowerIdsResponse(follower_ids=b"last")
        assert await call.read() is grpc.aio.EOF
        await draining


async def test_a_token_that_has_expired_ends_the_stream_before_the_next_message() -> None:
    class Verifier(NamedRoles):
        have_expired = False

        async def verify(self, token: str) -> Caller:
            if self.have_expired:
                raise TokenExpired
            return await super().verify(token)

    feed, verifier = LiveFeed(), Verifier()
    async with (
        serving(FEED, {"WatchHomeFeed": feed.watch}, verifier=verifier) as server,
        dialled(server) as channel,
    ):
        call = stream(channel)
        await call.read()
        verifier.have_expired = True
        feed.go_on.set()
        assert await end_of(call) == "UNAUTHENTICATED TOKEN_EXPIRED"
        assert feed.open == 0
