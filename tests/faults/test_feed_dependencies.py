"""user_svc or content_svc is slow or gone: who can be served is, who cannot is told so at once.

What happens meanwhile reaches the windows afterwards.
"""

import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import grpc
import pytest
from newsfeed.feed.v1 import feed_service_pb2 as pb

from devstack import valkey
from feed_svc.app import Limits
from feed_svc.model import Source, UserId
from svckit.ids import new_id
from tests.polling import LATE_S, until
from tests.requests.refusals import refusal
from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_stack import FeedStack, Reader, open_feed_stack
from tests.stores import throwaway
from tests.troubles.gate import Gate, gate_before, gone

SLOW_S = 5.0
READS = 5
SERVED_S_MAX = 1.0
REFUSED_S_MAX = 0.4  # what a caller waits for in vain once is 0.6 s, then 0.25
FOLLOWERS = 9_000  # three chunks of a stream
FOLLOWERS_WITH_WINDOWS = 300
CUT_AFTER_BYTES = 100_000  # in the second chunk

FOLLOW_MANY = """
INSERT INTO follows (followee_id, follower_id, create_time)
SELECT $1, follower_id, now() FROM unnest($2::uuid[]) AS follower_id
"""
COUNT_MANY = "SELECT add_follow_counts($1, $2, 0)"


@dataclass(frozen=True)
class Site:
    stack: FeedStack
    user_svc: Gate
    content_svc: Gate


Trouble = Callable[[Gate], AbstractAsyncContextManager[None]]


@pytest.fixture(scope="module")
async def site(
    redis_url: str, content_stack: ContentStack, keys_folder: Path
) -> AsyncIterator[Site]:
    """Only feed_svc sees the gates."""
    people = content_stack.people
    async with (
        throwaway(valkey.STORE) as feed_redis_url,
        gate_before(_port(people.address)) as user_svc,
        gate_before(_port(content_stack.address)) as content_svc,
        open_feed_stack(
            feed_redis_url,
            redis_url,
            replace(
                content_stack,
                address=content_svc.address,
                people=replace(people, address=user_svc.address),
            ),
            keys_folder,
            limits=Limits(),
        ) as stack,
    ):
        yield Site(stack, user_svc, content_svc)


@asynccontextmanager
async def slow(gate: Gate) -> AsyncIterator[None]:
    gate.delay_s = SLOW_S
    try:
        yield
    finally:
        gate.delay_s = 0.0
        gate.shut()  # what is on its way would be slow still
        await gate.open()


both = pytest.mark.parametrize("trouble", [slow, gone])


@both
async def test_people_who_were_there_before_are_served_without_user_svc(
    site: Site, trouble: Trouble
) -> None:
    stack = site.stack
    viewer, author, muted, unknown = [
        await stack.sign_up(name) for name in ("viewer", "author", "muted", "unknown")
    ]
    for each in (author, muted, unknown):
        await viewer.act("Follow", each)
    await viewer.act("Mute", muted)
    posts = [await each.publish("hello") for each in (author, muted)]
    await served(stack, viewer)
    posts.append(await unknown.publish("the first that anybody sees of me"))
    await stack.settle()
    async with trouble(site.user_svc):
        for _ in range(READS):
            page = await in_time(viewer, SERVED_S_MAX)
            assert [item.post for item in page.items] == [posts[2], posts[0]]
            assert page.items[0].author == pb.UserCard(user_id=unknown.user_id)
            assert page.items[1].author.username == author.person.user.username
            assert page.degraded
            stack.forget()
        await stack.app.windows.evict(UserId(viewer.id_bytes))
        cold = await in_time(viewer, SERVED_S_MAX)
        assert cold.items == page.items
        assert cold.degraded
    await is_well(stack, viewer)
    assert [item.post for item in (await viewer.page()).items] == [posts[2], posts[0]]


@both
async def test_strangers_are_refused_without_user_svc(site: Site, trouble: Trouble) -> None:
    stranger = await site.stack.sign_up("stranger")
    async with trouble(site.user_svc):
        await refused(stranger)
    await is_well(site.stack, stranger)


@both
async def test_what_happens_without_user_svc_arrives_afterwards(
    site: Site, trouble: Trouble
) -> None:
    stack = site.stack
    viewer, author, other = [await stack.sign_up(name) for name in ("viewer", "author", "other")]
    await viewer.act("Follow", author)
    await author.publish("one")
    await other.publish("two")
    await served(stack, viewer)
    async with trouble(site.user_svc):
        await author.publish("three")
        await viewer.act("Follow", other)
        await viewer.act("Unfollow", author)
        await author.publish("four")
        last = await other.publish("five")
        assert stack.traffic is not None
        await until(stack.traffic._is_relayed)
    await stack.settle()
    assert (await hot(stack, viewer))[0] == last.post_id
    assert await hot(stack, viewer) == await stack.contents.references(other, viewer)


@both
async def test_windows_with_posts_that_are_known_serve_without_content_svc(
    site: Site, trouble: Trouble
) -> None:
    stack = site.stack
    viewer, author, other = [await stack.sign_up(name) for name in ("viewer", "author", "other")]
    await viewer.act("Follow", author)
    for number in range(5):
        await author.share(await other.publish(f"{number}"))
    await served(stack, viewer)
    before = await viewer.page()
    async with trouble(site.content_svc):
        for _ in range(READS):
            page = await in_time(viewer, SERVED_S_MAX)
            assert page.items == before.items
            stack.forget()


@both
async def test_who_needs_content_svc_is_refused_without_it(site: Site, trouble: Trouble) -> None:
    stack = site.stack
    windowless, viewer, author = [await stack.sign_up(name) for name in ("w", "v", "a")]
    for each in (viewer, windowless):
        await each.act("Follow", author)
    await author.publish("known")
    await served(stack, viewer)
    await author.publish("not known")
    await stack.settle()
    async with trouble(site.content_svc):
        await refused(windowless, viewer)
    for each in (viewer, windowless):
        await is_well(stack, each)


async def test_a_stream_of_followers_that_breaks_half_way_is_gone_on_with(site: Site) -> None:
    stack = site.stack
    author = await stack.sign_up("author")
    followers = [new_id() for _ in range(FOLLOWERS)]
    async with stack.contents.people.app.database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")  # nobody is there
        await connection.execute(FOLLOW_MANY, UUID(author.user_id), followers)
        await connection.fetchval(COUNT_MANY, UUID(author.user_id), FOLLOWERS)
    viewers = followers[:: FOLLOWERS // FOLLOWERS_WITH_WINDOWS]
    windows = stack.app.windows
    for viewer in viewers:
        build = await windows.begin(UserId(viewer.bytes))
        assert build is not None
        assert await windows.finish(build, Source((), None), ())
    was_cut = site.user_svc.cut_after(CUT_AFTER_BYTES)
    post = await author.publish("to all")
    await stack.settle()
    assert was_cut.is_set()
    for viewer in viewers:
        info = await windows.info(UserId(viewer.bytes))
        assert info.newest == (post.create_time.ToMilliseconds(), UUID(post.post_id).bytes)
        assert info.entry_count == 1


async def served(stack: FeedStack, viewer: Reader) -> None:
    """All is delivered, and the viewer has read it from a window."""
    await stack.settle()
    await is_well(stack, viewer)
    await stack.has_window(viewer)
    await stack.settle()
    assert not (await viewer.feed()).is_degraded


async def hot(stack: FeedStack, viewer: Reader) -> list[str]:
    await stack.has_window(viewer)
    feed = await viewer.feed()
    assert not feed.is_degraded
    return feed.post_ids


async def in_time(viewer: Reader, limit_s: float) -> pb.ListHomeFeedResponse:
    started_s = time.perf_counter()
    page = await viewer.page()
    assert time.perf_counter() - started_s <= limit_s + LATE_S
    return page


async def refused(*viewers: Reader) -> None:
    """Each time, and as a rule soon."""
    for viewer in viewers:
        took_s = []
        for _ in range(READS):
            started_s = time.perf_counter()
            told = await refusal(viewer.page())
            took_s.append(time.perf_counter() - started_s)
            assert told.says == "UNAVAILABLE DEPENDENCY_UNAVAILABLE"
        assert statistics.median(took_s) <= REFUSED_S_MAX
        assert max(took_s) <= SERVED_S_MAX + LATE_S


async def is_well(stack: FeedStack, viewer: Reader) -> None:
    """Waits until the viewer is served as if nothing had been."""

    async def is_served() -> bool:
        stack.forget()
        try:
            return not (await viewer.page()).degraded
        except grpc.aio.AioRpcError:
            return False

    await until(is_served, timeout_s=10.0)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
