"""Live streams over HTTP: what a browser's EventSource relies on, and when a stream ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.feed.v1 import feed_service_pb2 as pb
from newsfeed.user.v1 import user_service_pb2 as user_pb

from gateway.model import Bounds, StreamBounds
from svckit import errors
from svckit.context import calling_user_id
from tests.polling import until
from tests.stacks.gateway_stack import Connection, GatewayStack, open_gateway_stack, serving_beside
from tests.stacks.user_stack import Person, UserStack

FEED = pb.DESCRIPTOR.services_by_name["FeedService"]
LIVE = "/v1/feed/live"


class LiveFeed:
    """Streams what the test puts in; an error is raised, None ends the stream."""

    def __init__(self) -> None:
        self.requests: list[pb.WatchHomeFeedRequest] = []
        self.readers: list[str] = []
        self.open = 0
        self.messages: asyncio.Queue[pb.WatchHomeFeedResponse | Exception | None] = asyncio.Queue()

    async def watch(
        self, request: pb.WatchHomeFeedRequest
    ) -> AsyncIterator[pb.WatchHomeFeedResponse]:
        self.requests.append(request)
        self.readers.append(str(calling_user_id()))
        self.open += 1
        try:
            while (message := await self.messages.get()) is not None:
                if isinstance(message, Exception):
                    raise message
                yield message
        finally:
            self.open -= 1

    def put(self, token: str, content: str = "hello") -> None:
        post = content_pb.Post(post_id="p-1", content=content)
        item = pb.FeedItem(post=post)
        self.messages.put_nowait(pb.WatchHomeFeedResponse(resume_token=token, items=[item]))


@pytest.fixture
def feed() -> LiveFeed:
    return LiveFeed()


@pytest.fixture
async def stack(
    user_stack: UserStack, keys_folder: Path, feed: LiveFeed
) -> AsyncIterator[GatewayStack]:
    async with open_live_stack(user_stack, keys_folder, feed) as stack:
        yield stack


@asynccontextmanager
async def open_live_stack(
    user_stack: UserStack,
    keys_folder: Path,
    feed: LiveFeed,
    bounds: Bounds | None = None,
    /,
    **environ: str,
) -> AsyncIterator[GatewayStack]:
    methods = {"WatchHomeFeed": feed.watch}
    async with (
        serving_beside(user_stack, keys_folder, FEED, methods) as feed_target,
        open_gateway_stack(
            keys_folder,
            bounds,
            USER_SVC_TARGET=user_stack.address,
            FEED_SVC_TARGET=feed_target,
            **environ,
        ) as stack,
    ):
        yield stack


@asynccontextmanager
async def live(
    stack: GatewayStack, person: Person, path: str = LIVE, **headers: str
) -> AsyncIterator[Connection]:
    """A stream that has begun."""
    async with stack.connection() as connection:
        await connection.get(path, person.tokens.access_token, **headers)
        status, answered = await connection.head()
        assert status == 200
        assert answered["content-type"] == "text/event-stream"
        assert answered["cache-control"] == "no-store"
        assert (await connection.event()).startswith("retry: ")
        yield connection


async def test_a_message_is_an_event_with_its_resume_token_as_id(
    stack: GatewayStack, user_stack: UserStack, feed: LiveFeed
) -> None:
    ada = await user_stack.sign_up("ada")
    async with live(stack, ada) as connection:
        feed.put("t-1", "two\nlines")
        post = '{"postId":"p-1","authorId":"","content":"two\\nlines","edited":false,"mentions":[]}'
        data = f'{{"resumeToken":"t-1","items":[{{"post":{post}}}],"reset":false}}'
        assert await connection.event() == f"id: t-1\ndata: {data}\n\n"
        feed.put("t-2")
        assert (await connection.event()).startswith("id: t-2\n")
    assert feed.readers == [ada.user_id]


async def test_last_event_id_resumes_and_wins_over_the_stale_query(
    stack: GatewayStack, user_stack: UserStack, feed: LiveFeed
) -> None:
    ada = await user_stack.sign_up("ada")
    async with live(stack, ada, f"{LIVE}?resumeToken=old"):
        pass
    async with live(stack, ada, f"{LIVE}?resumeToken=old", last_event_id="t-7"):
        pass
    assert [request.resume_token for request in feed.requests] == ["old", "t-7"]


async def test_a_head_asks_for_no_stream(
    stack: GatewayStack, user_stack: UserStack, feed: LiveFeed
) -> None:
    ada = await user_stack.sign_up("ada")
    reply = await stack.request("HEAD", LIVE, ada.tokens.access_token)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream")
    assert feed.requests == []


async def test_a_silent_stream_shows_that_it_is_alive(
    user_stack: UserStack, keys_folder: Path, feed: LiveFeed
) -> None:
    ada = await user_stack.sign_up("ada")
    bounds = Bounds(stream=StreamBounds(heartbeat_s=0.02))
    async with (
        open_live_stack(user_stack, keys_folder, feed, bounds) as stack,
        live(stack, ada) as connection,
    ):
        assert await connection.event() == ":\n\n"
        assert await connection.event() == ":\n\n"


async def test_what_is_wrong_from_the_start_is_an_answer_and_no_stream(
    stack: GatewayStack, user_stack: UserStack, feed: LiveFeed
) -> None:
    ada = await user_stack.sign_up("ada")
    assert (await stack.request("GET", LIVE)).status == 401
    feed.messages.put_nowait(errors.InvalidArgument.of("resume_token", "is not one"))
    reply = await stack.request("GET", f"{LIVE}?resumeToken=x", ada.tokens.access_token)
    assert (reply.status, reply.error["status"]) == (400, "INVALID_ARGUMENT")
    assert feed.open == 0


async def test_what_goes_wrong_later_is_the_last_event(
    stack: GatewayStack, user_stack: UserStack, feed: LiveFeed
) -> None:
    ada = await user_stack.sign_up("ada")
    async with live(stack, ada) as connection:
        feed.messages.put_nowait(errors.Unavailable(dependency="redis"))
        event = await connection.event()
        assert event.startswith('event: failure\ndata: {"error":{"code":503')
        assert await connection.ends()


async def test_the_end_of_the_service_s_stream_is_the_end(
    stack: GatewayStack, user_stack: UserStack, feed: LiveFeed
) -> None:
    ada = await user_stack.sign_up("ada")
    async with live(stack, ada) as connection:
        feed.messages.put_nowait(None)
        assert await connection.ends()


async def test_a_reader_that_goes_is_forgotten_by_the_service_too(
    stack: GatewayStack, user_stack: UserStack, feed: LiveFeed
) -> None:
    ada = await user_stack.sign_up("ada")
    async with live(stack, ada):
        assert feed.open == 1
    await until(lambda: feed.open == 0)


async def test_nothing_is_told_to_a_session_that_has_ended(
    stack: GatewayStack, user_stack: UserStack, feed: LiveFeed
) -> None:
    ada = await user_stack.sign_up("ada")
    async with live(stack, ada) as connection:
        await ada.auth.LogOut(user_pb.LogOutRequest())
        await until(lambda: stack.knows_of_ended(ada.tokens.access_token))
        feed.put("t-1")
        assert '"code":401' in await connection.event()
        assert await connection.ends()


async def test_streams_are_bounded_for_one_person_and_in_all(
    user_stack: UserStack, keys_folder: Path, feed: LiveFeed
) -> None:
    ada, bob = await user_stack.sign_up("ada"), await user_stack.sign_up("bob")
    bounds = {"STREAMS_MAX": "3", "STREAMS_PER_PERSON_MAX": "2"}
    async with (
        open_live_stack(user_stack, keys_folder, feed, **bounds) as stack,
        live(stack, ada),
        live(stack, ada),
    ):
        reply = await stack.request("GET", LIVE, ada.tokens.access_token)
        assert (reply.status, reply.reason) == (429, "RATE_LIMITED")
        async with live(stack, bob):
            carl = await user_stack.sign_up("carl")
            reply = await stack.request("GET", LIVE, carl.tokens.access_token)
            assert (reply.status, reply.reason) == (503, "OVERLOADED")
            assert int(reply.headers["retry-after"]) >= 1
        await until(lambda: feed.open == 2)
        async with live(stack, bob):
            pass


async def test_a_stop_ends_all_streams_and_waits_for_none(
    user_stack: UserStack, keys_folder: Path, feed: LiveFeed
) -> None:
    ada = await user_stack.sign_up("ada")
    async with AsyncExitStack() as still_open:
        async with (
            asyncio.timeout(10),  # half of DRAIN_TIMEOUT_S
            open_live_stack(user_stack, keys_folder, feed) as stack,
        ):
            connection = await still_open.enter_async_context(live(stack, ada))
        assert await connection.ends()


async def test_a_reader_that_takes_nothing_is_cut_off(
    user_stack: UserStack, keys_folder: Path, feed: LiveFeed
) -> None:
    ada = await user_stack.sign_up("ada")
    async with (
        open_live_stack(user_stack, keys_folder, feed, WRITE_TIMEOUT_S="0.2") as stack,
        live(stack, ada),
    ):
        for number in range(200):
            feed.put(f"t-{number}", "x" * 100_000)
        await until(lambda: feed.open == 0)
        assert feed.messages.qsize() > 0
