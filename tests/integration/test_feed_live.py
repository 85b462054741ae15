"""Live feeds: what is new comes by itself, once, and nothing is lost however a stream breaks."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import grpc
import jwt
import pytest
from newsfeed.feed.v1 import feed_service_pb2 as pb

from devstack import valkey
from feed_svc.live import LiveLimits, News
from feed_svc.model import UserId
from tests.polling import until
from tests.requests.live_streams import WITHIN_S, ids, watching
from tests.requests.refusals import refusal
from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_events import post_id
from tests.stacks.feed_redis import reply_to
from tests.stacks.feed_stack import FeedStack, Reader, circle, open_feed_stack
from tests.stores import throwaway

if TYPE_CHECKING:
    from newsfeed.content.v1 import content_service_pb2 as content_pb

PULLED_FROM = 3  # followers
ITEMS_MAX = LiveLimits().items_max
ONLY_IF_POKED: Mapping[str, Any] = {
    "LIVE_LOOK_EVERY_S": "600",
    "PUSH_FOLLOWERS_MAX": str(PULLED_FROM),
}
NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="module")
async def feeds_url() -> AsyncIterator[str]:
    async with throwaway(valkey.STORE) as url:
        yield url


@pytest.fixture(scope="module")
async def stack(
    feeds_url: str, redis_url: str, content_stack: ContentStack, keys_folder: Path
) -> AsyncIterator[FeedStack]:
    """In which nothing comes to who is not told."""
    opened = open_feed_stack(feeds_url, redis_url, content_stack, keys_folder, **ONLY_IF_POKED)
    async with opened as feed_stack:
        yield feed_stack


@pytest.fixture(scope="module")
async def other_process(
    stack: FeedStack, feeds_url: str, content_stack: ContentStack, keys_folder: Path
) -> AsyncIterator[FeedStack]:
    """It serves the same feeds and does no fan-out."""
    assert stack.traffic
    opened = open_feed_stack(
        feeds_url, feeds_url, content_stack, keys_folder, has_traffic=False, **ONLY_IF_POKED
    )
    async with opened as feed_stack:
        yield feed_stack


@pytest.fixture(scope="module")
async def impatient(content_stack: ContentStack, keys_folder: Path) -> AsyncIterator[FeedStack]:
    """It looks often, and has no Redis."""
    opened = open_feed_stack(
        NOBODY, NOBODY, content_stack, keys_folder, has_traffic=False, LIVE_LOOK_EVERY_S="0.1"
    )
    async with opened as feed_stack:
        yield feed_stack


async def pulled_author(stack: FeedStack) -> Reader:
    author = await stack.sign_up("star")
    for _ in range(PULLED_FROM):
        await (await stack.sign_up("fan")).act("Follow", author)
    await stack.settle()
    return author


async def next_of(stream: AsyncGenerator[News]) -> News:
    async with asyncio.timeout(WITHIN_S):
        return await anext(stream)


async def test_what_is_new_comes_and_what_was_there_does_not(stack: FeedStack) -> None:
    viewer, author = await circle(stack, "viewer", "author")
    stranger = await stack.sign_up("stranger")
    await author.publish("before")
    await stack.settle()
    async with watching(viewer) as watch:
        assert not watch.messages[0].items
        pushed = await author.publish("pushed")
        await watch.has(pushed)
        await stranger.publish("not for you")
        own = await viewer.publish("from another device")
        share = await author.share(own)
        await watch.has(pushed, own, share)
        shown = {item.post.post_id: item for message in watch.messages for item in message.items}
    assert [*(await viewer.page(3)).items] == [shown[each.post_id] for each in (share, own, pushed)]


async def test_posts_of_pulled_authors_come_to_readers_and_author(stack: FeedStack) -> None:
    viewer, star = await stack.sign_up("viewer"), await pulled_author(stack)
    await viewer.act("Follow", star)
    await stack.settle()
    await viewer.page()
    await stack.has_window(viewer)
    assert (await stack.info(viewer)).pull_author_count == 1
    async with watching(viewer) as watch, watching(star) as own:
        posts = []
        for number in range(5):  # the reader's look for each makes the next one find old recents
            posts.append(await star.publish(str(number)))
            await watch.has(*posts)
            await own.has(*posts)


async def test_who_has_no_window_yet_is_told_of_pulled_authors_too(stack: FeedStack) -> None:
    viewer, star = await stack.sign_up("viewer"), await pulled_author(stack)
    await viewer.act("Follow", star)
    await stack.settle()
    async with watching(viewer) as watch:
        await watch.has(await star.publish("hello"))


async def test_who_is_followed_meanwhile_is_heard(stack: FeedStack) -> None:
    viewer, author = await stack.sign_up("viewer"), await stack.sign_up("author")
    async with watching(viewer) as watch:
        await viewer.act("Follow", author)
        await stack.settle()
        await watch.has(await author.publish("hello"))


@pytest.mark.parametrize("verb", ["Block", "Mute", "Unfollow"])
async def test_who_is_hidden_meanwhile_is_not_heard(stack: FeedStack, verb: str) -> None:
    viewer, author, other = await circle(stack, "viewer", "author", "other")
    async with watching(viewer) as watch:
        first = await author.publish("still followed")
        await watch.has(first)
        await viewer.act(verb, author)
        if verb == "Unfollow":
            await stack.settle()
        await author.publish("not for you any more")
        await stack.settle()
        await watch.has(first, await other.publish("for you"))


async def test_a_post_of_who_has_blocked_the_viewer_is_not_sent_though_it_was_delivered(
    stack: FeedStack,
) -> None:
    """The look comes after the block, however long before it the post was made."""
    viewer, author, other = await circle(stack, "viewer", "author", "other")
    stream = stack.app.live.watch(UserId(viewer.id_bytes), None)
    await next_of(stream)
    await author.publish("seen by nobody")
    await stack.settle()
    await author.act("Block", viewer)
    post = await other.publish("seen")
    await stack.settle()
    news = await next_of(stream)
    await stream.aclose()
    assert [place[1] for place in news.places] == [post_id(post)]


async def test_nothing_is_lost_while_streams_break_and_posts_are_made(stack: FeedStack) -> None:
    viewer, author = await circle(stack, "viewer", "author")
    made: list[content_pb.Post] = []
    seen: set[str] = set()

    async def publish() -> None:
        for number in range(60):
            post = await (author if number % 3 else viewer).publish(str(number))
            made.append(post)

    async with watching(viewer) as watch:
        token = watch.token
    publishing = asyncio.create_task(publish())
    resets = 0
    while not publishing.done() or seen < ids(*made):
        async with watching(viewer, token) as watch:
            await asyncio.wait([publishing], timeout=0.3)
        seen |= set(watch.post_ids)
        if watch.messages[0].reset:
            seen |= set((await viewer.feed()).post_ids)
            resets += 1
        token = watch.token
    assert seen == ids(*made)
    assert resets


class TestResuming:
    async def test_what_was_missed_comes_at_once(self, stack: FeedStack) -> None:
        viewer, author = await circle(stack, "viewer", "author")
        async with watching(viewer) as watch:
            first = await author.publish("while connected")
            await watch.has(first)
            token = watch.token
        missed = [await author.publish(str(number)) for number in range(3)]
        await stack.settle()
        async with watching(viewer, token) as watch:
            assert set(watch.post_ids) == ids(first, *missed)  # the first is within the overlap
            assert watch.post_ids[:3] == [post.post_id for post in missed[::-1]]
            later = await author.publish("later")
            await watch.has(first, *missed, later)
        async with watching(viewer, token) as again:
            assert set(again.post_ids) == ids(first, *missed, later)

    @pytest.mark.parametrize("count", [ITEMS_MAX, ITEMS_MAX + 1])
    async def test_what_is_too_much_is_said_to_be(self, stack: FeedStack, count: int) -> None:
        viewer = await stack.sign_up("viewer")
        async with watching(viewer) as watch:
            token = watch.token
        posts = [await viewer.publish(str(number)) for number in range(count)]
        await stack.settle()
        async with watching(viewer, token) as watch:
            (message,) = watch.messages
            assert message.reset == (count > ITEMS_MAX)
            assert set(watch.post_ids) == (set() if message.reset else ids(*posts))
            posts.append(await viewer.publish("goes on"))
            await until(lambda: posts[-1].post_id in watch.post_ids, WITHIN_S)
        async with watching(viewer, watch.token) as watch:
            assert watch.messages[0].reset  # all of it is within the overlap

    async def test_by_a_token_that_is_none(self, stack: FeedStack) -> None:
        viewer, other = await stack.sign_up("viewer"), await stack.sign_up("other")
        await viewer.publish("one")
        await viewer.publish("two")
        async with watching(viewer) as watch, watching(other) as others:
            token, of_another = watch.token, others.token
        changed = "B" if token[30] == "A" else "A"
        wrong = {
            "of another": of_another,
            "of a page": (await viewer.page(1)).next_page_token,
            "cut": token[:-1],
            "changed": token[:30] + changed + token[31:],
            "longer": token + "A",
            "long": token * 10,
            "text": "newest",
        }
        for kind, each in wrong.items():
            request = pb.WatchHomeFeedRequest(resume_token=each)
            refused = await refusal(viewer.feed_calls.WatchHomeFeed(request).read())
            assert refused.says == "INVALID_ARGUMENT INVALID_RESUME_TOKEN", kind
            assert refused.fields == ("resume_token",)
        refused = await refusal(viewer.page(1, token))
        assert refused.says == "INVALID_ARGUMENT INVALID_PAGE_TOKEN"


async def test_a_slow_reader_gets_all_that_has_piled_up_at_once(stack: FeedStack) -> None:
    viewer, author = await circle(stack, "viewer", "author")
    stream = stack.app.live.watch(UserId(viewer.id_bytes), None)
    await next_of(stream)
    posts = [await author.publish(str(number)) for number in range(ITEMS_MAX)]
    await stack.settle()
    news = await next_of(stream)
    assert [place[1] for place in news.places] == [post_id(post) for post in posts[::-1]]
    for number in range(ITEMS_MAX + 1):
        await author.publish(str(number))
    await stack.settle()
    news = await next_of(stream)
    assert news.is_reset
    assert not news.items
    last = await author.publish("goes on")
    assert [place[1] for place in (await next_of(stream)).places] == [post_id(last)]
    await stream.aclose()


async def test_pokes_that_were_not_heard_are_made_up_for(stack: FeedStack) -> None:
    """The subscription is gone while a post is delivered, and comes back by itself."""
    viewer, author = await circle(stack, "viewer", "author")
    posts: list[content_pb.Post] = []
    async with watching(viewer) as watch:
        for number in range(5):
            assert await reply_to(stack.app.redis, "CLIENT", "KILL", "TYPE", "pubsub") == 1
            posts.append(await author.publish(str(number)))
            await watch.has(*posts)
            await until(partial(is_subscribed, stack), WITHIN_S)


async def is_subscribed(stack: FeedStack) -> bool:
    counts = await reply_to(stack.app.redis, "PUBSUB", "NUMSUB", "live:viewers")
    return counts == [b"live:viewers", 1]


async def test_all_streams_of_a_viewer_are_told_in_all_processes(
    stack: FeedStack, other_process: FeedStack
) -> None:
    viewer, author = await circle(stack, "viewer", "author")
    there = other_process.reader(viewer.person)
    async with watching(viewer) as one, watching(viewer) as two, watching(there) as three:
        post = await author.publish("hello")
        for watch in (one, two, three):
            await watch.has(post)


class TestWithoutPokes:
    """Every stream looks for itself now and then."""

    async def test_a_quiet_stream_gives_signs_of_life(self, impatient: FeedStack) -> None:
        viewer = await impatient.sign_up("viewer")
        async with watching(viewer) as watch:
            await until(lambda: len(watch.messages) > 3, WITHIN_S)
            assert not watch.post_ids
            assert not any(message.reset for message in watch.messages)

    async def test_posts_come_without_redis(self, impatient: FeedStack) -> None:
        viewer, author = await impatient.sign_up("viewer"), await impatient.sign_up("author")
        await viewer.act("Follow", author)
        async with watching(viewer) as watch:
            posts = [await author.publish(str(number)) for number in range(3)]
            await watch.has(*posts)


async def test_a_stream_that_is_left_leaves_nothing(stack: FeedStack) -> None:
    viewer = await stack.sign_up("viewer")
    async with watching(viewer), watching(viewer):
        assert len(stack.app.live._streams[UserId(viewer.id_bytes)]) == 2
    await until(lambda: not stack.app.live._streams, WITHIN_S)


async def test_one_viewer_has_so_many_streams_and_no_more(stack: FeedStack) -> None:
    viewer, other = await stack.sign_up("viewer"), await stack.sign_up("other")
    async with AsyncExitStack() as streams:
        for _ in range(LiveLimits().streams_per_viewer_max):
            await streams.enter_async_context(watching(viewer))
        refused = await refusal(viewer.feed_calls.WatchHomeFeed(pb.WatchHomeFeedRequest()).read())
        assert refused.says == "RESOURCE_EXHAUSTED OVERLOADED"
        async with watching(other):
            pass
    await until(lambda: not stack.app.live._streams, WITHIN_S)
    async with watching(viewer):
        pass


async def test_nothing_is_shown_to_a_session_that_has_ended(stack: FeedStack) -> None:
    viewer, author = await circle(stack, "viewer", "author")
    claims = jwt.decode(viewer.person.tokens.access_token, options={"verify_signature": False})
    async with watching(viewer) as watch:
        stack.revocations.add(UUID(claims["sid"]))
        await author.publish("not for whoever has the token now")
        assert await watch.status() is grpc.StatusCode.UNAUTHENTICATED
        assert not watch.post_ids
