"""Authors with a million followers, with 9,999 and with few: how soon a post is where it belongs.

All programs and stores run as in production. A thousand of the million followers read, the others
are edges and nothing else. The followers of authors who are pushed have full windows, and that is
where their posts are looked for.
"""

import asyncio
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

import grpc
import psutil
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.content.v1.content_service_pb2_grpc import ContentServiceStub
from newsfeed.feed.v1 import feed_service_pb2 as feed_pb
from newsfeed.feed.v1.feed_service_pb2_grpc import FeedServiceStub

from bench.measures.reads import LONG_LIVED
from bench.tools.measure import Measure, Site
from devstack import mongo, valkey
from devstack.background import in_background
from devstack.programs import CONTENT_SVC, FEED_SVC
from devstack.rig import bearer, durable
from feed_svc.author_store import AuthorStore
from feed_svc.codec import member_of
from feed_svc.model import ID_BYTES, WINDOW_ENTRIES_MAX, Place, PostId, Source, Tier, UserId
from feed_svc.redis_store import FeedRedis, StoreSettings
from feed_svc.window_store import WindowStore
from svckit.auth.tokens import Role
from svckit.settings import Secret

if TYPE_CHECKING:
    from newsfeed.content.v1.content_service_pb2_grpc import ContentServiceAsyncStub
    from newsfeed.feed.v1.feed_service_pb2_grpc import FeedServiceAsyncStub

FOLLOWERS = 1_000_000
READERS = 1_000  # of the celebrity
LARGEST_PUSHED = 9_999
FRESH = 5_000
ORDINARY = 100
SMALL = 10
PREWARMED_MAX = 500  # in a call
READS_AT_ONCE = 8
COST_POSTS = 200
DELAY_POSTS = 15
FRESH_POSTS = 3
CELEBRITY_POSTS_PER_S = 10
LOOK_AGAIN_S = 0.002
GIVE_UP_S = 30.0
READ_TIMEOUT_S = 5.0

FORGET_FOLLOWERS = "DELETE FROM follows WHERE followee_id = ANY($1::uuid[])"
FOLLOW = """
INSERT INTO follows (followee_id, follower_id, create_time)
SELECT $1::uuid, follower_id, now() FROM unnest($2::uuid[]) AS follower_id
"""
FOLLOW_BY_NOBODY = """
INSERT INTO follows (followee_id, follower_id, create_time)
SELECT $1::uuid, ('01900000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid, now()
FROM generate_series(1, $2::integer) AS number
"""
COUNT_FOLLOWERS = "UPDATE follow_counts SET follower_count = $2 WHERE user_id = $1::uuid"


@dataclass(frozen=True, slots=True)
class Cast:
    """Who posts, and who follows whom: `followers` of an author are the first ones of these."""

    celebrity: UUID
    largest_pushed: UUID
    fresh: UUID
    ordinary: UUID
    small: UUID
    followers: Sequence[UUID]
    readers: Sequence[UUID]

    @classmethod
    def of(cls, people: Sequence[UUID]) -> "Cast":
        """Of people in the middle, of whom other measures want nothing."""
        middle = iter(people[len(people) // 2 :])
        celebrity, largest_pushed, fresh, ordinary, small = islice(middle, 5)
        followers, readers = [*islice(middle, LARGEST_PUSHED)], [*islice(middle, READERS)]
        return cls(celebrity, largest_pushed, fresh, ordinary, small, followers, readers)


@dataclass(frozen=True, slots=True)
class Stage:
    site: Site
    cast: Cast
    content: "ContentServiceAsyncStub"
    feeds: "FeedServiceAsyncStub"
    redis: FeedRedis

    async def publish(self, author_id: UUID) -> tuple[Place, float]:
        """And when it was answered."""
        metadata = bearer(self.site.rig.user_token(author_id))
        request = content_pb.CreatePostRequest(content="hello")
        post = (await self.content.CreatePost(request, metadata=metadata)).post
        place = (post.create_time.ToMilliseconds(), PostId(UUID(post.post_id).bytes))
        return place, time.perf_counter()

    async def delivered(self, place: Place, since_s: float, followers: Sequence[UUID]) -> float:
        """Seconds until it is in the windows of all; the last one is looked at first."""
        missing = sorted(followers)

        async def is_everywhere() -> bool:
            nonlocal missing
            if not await self._lacking(place, missing[-1:]):
                missing = await self._lacking(place, missing)
            return not missing

        await _until(is_everywhere)
        return time.perf_counter() - since_s

    async def settled(self, place: Place, author_id: UUID) -> None:
        """Returns once it is among the author's recents."""
        authors, author = AuthorStore(self.redis), UserId(author_id.bytes)

        async def is_there() -> bool:
            recents = await authors.recents([author])
            return author in recents and place in recents[author].places

        await _until(is_there)

    async def sees(self, reader_id: UUID, place: Place) -> bool:
        metadata = bearer(self.site.rig.user_token(reader_id))
        page = await self.feeds.ListHomeFeed(feed_pb.ListHomeFeedRequest(), metadata=metadata)
        assert not page.degraded
        return str(UUID(bytes=place[1])) in {item.post.post_id for item in page.items}

    async def _lacking(self, place: Place, followers: Sequence[UUID]) -> list[UUID]:
        keys = self.redis.keys.windows([each.bytes for each in followers])
        member = member_of(place[1])
        commands = [("ZSCORE", key, member) for key in keys]
        scores = await self.redis.run(commands, READ_TIMEOUT_S)
        return [each for each, score in zip(followers, scores, strict=True) if score is None]


async def celebrate(site: Site) -> list[Measure]:
    async with set_up(site) as stage:
        return [
            *await become_pulled(stage),
            *await be_seen(stage),
            *await cost(stage),
            *await delay_others(stage),
            *await reach_all(stage),
        ]


async def become_pulled(stage: Stage) -> list[Measure]:
    """The first post of all: nobody was told of the million yet."""
    others: list[float] = []

    async def post_meanwhile() -> None:
        while True:
            others.append(await _delay(stage))

    authors, celebrity = AuthorStore(stage.redis), stage.cast.celebrity

    async def is_pulled() -> bool:
        return await authors.tier(UserId(celebrity.bytes)) is Tier.PULL

    async with in_background(post_meanwhile()):
        _, answered_s = await stage.publish(celebrity)
        await _until(is_pulled)
        took_s = time.perf_counter() - answered_s
    return [
        Measure("celebrity.turn", "s", [took_s]),
        Measure("celebrity.turn_others", "ms", others or [0.0]),
    ]


async def be_seen(stage: Stage) -> list[Measure]:
    """In each round by another part of the readers at once, and by all of them a second later."""
    rounds, readers = stage.site.rounds, stage.cast.readers
    visible_s, late = [], []
    for number in range(rounds):
        place, answered_s = await stage.publish(stage.cast.celebrity)
        unaware = [*readers[number::rounds]]
        while unaware:
            unaware = await _unaware(stage, unaware, place)
        visible_s.append(time.perf_counter() - answered_s)
        await asyncio.sleep(max(0.0, answered_s + 1 - time.perf_counter()))
        late.append(float(len(await _unaware(stage, readers, place))))
    return [
        Measure("celebrity.visible", "s", visible_s, at_most=1),
        Measure("celebrity.unaware", "readers", late, at_most=0),
    ]


async def cost(stage: Stage) -> list[Measure]:
    """Of all programs and stores: CPU, less what they use when nothing happens."""
    large, small = [], []
    for _ in range(stage.site.rounds):
        large.append(await _cpu_per_post_ms(stage, stage.cast.celebrity))
        small.append(await _cpu_per_post_ms(stage, stage.cast.small))
    ratios = [one / other for one, other in zip(large, small, strict=True)]
    return [
        Measure("celebrity.cost", "x", ratios, at_most=2),
        Measure("celebrity.cpu", "ms/post", large),
        Measure("celebrity.small_cpu", "ms/post", small),
    ]


async def delay_others(stage: Stage) -> list[Measure]:
    """From an ordinary author's post until it is in all windows, alone and beside the celebrity."""

    async def post_on() -> None:
        while True:
            await stage.publish(stage.cast.celebrity)
            await asyncio.sleep(1 / CELEBRITY_POSTS_PER_S)

    idle, busy = [], []
    for _ in range(stage.site.rounds):
        idle.append(statistics.median([await _delay(stage) for _ in range(DELAY_POSTS)]))
        async with in_background(post_on()):
            busy.append(statistics.median([await _delay(stage) for _ in range(DELAY_POSTS)]))
    ratios = [one / other for one, other in zip(busy, idle, strict=True)]
    return [
        Measure("celebrity.others", "x", ratios, at_most=2),
        Measure("celebrity.others_idle", "ms", idle),
        Measure("celebrity.others_busy", "ms", busy),
    ]


async def reach_all(stage: Stage) -> list[Measure]:
    """Into the windows of every single follower; nothing else happens."""
    cast = stage.cast
    all_s, fresh_s = [], []
    for _ in range(stage.site.rounds * FRESH_POSTS):
        place, answered_s = await stage.publish(cast.largest_pushed)
        all_s.append(await stage.delivered(place, answered_s, cast.followers))
        place, answered_s = await stage.publish(cast.fresh)
        fresh_s.append(await stage.delivered(place, answered_s, cast.followers[:FRESH]))
    return [
        Measure("fresh.largest_pushed", "s", all_s, at_most=1),
        Measure("fresh.idle", "s", fresh_s, at_most=0.25),
    ]


async def _unaware(stage: Stage, readers: Sequence[UUID], place: Place) -> list[UUID]:
    """Reads all their feeds; returns who did not see the post."""
    waiting = iter(readers)
    unaware: list[UUID] = []

    async def read() -> None:
        unaware.extend([each for each in waiting if not await stage.sees(each, place)])

    async with asyncio.TaskGroup() as tasks:
        for _ in range(READS_AT_ONCE):
            tasks.create_task(read())
    return unaware


async def _cpu_per_post_ms(stage: Stage, author_id: UUID) -> float:
    idle_s, idle_at_s = _cpu_s(), time.perf_counter()
    await asyncio.sleep(stage.site.seconds / 2)
    started_s, started_at_s = _cpu_s(), time.perf_counter()
    for _ in range(COST_POSTS):
        place, answered_s = await stage.publish(author_id)
    await stage.settled(place, author_id)
    if author_id == stage.cast.small:
        await stage.delivered(place, answered_s, stage.cast.followers[:SMALL])
    used_s, ended_at_s = _cpu_s() - started_s, time.perf_counter()
    idle_share = (started_s - idle_s) / (started_at_s - idle_at_s)
    return 1000 * (used_s - idle_share * (ended_at_s - started_at_s)) / COST_POSTS


async def _delay(stage: Stage) -> float:
    place, answered_s = await stage.publish(stage.cast.ordinary)
    return 1000 * await stage.delivered(place, answered_s, stage.cast.followers[:ORDINARY])


def _cpu_s() -> float:
    """Of all that was started here, stores and programs."""
    used_s = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used_s += times.user + times.system
    return used_s


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not await holds():  # noqa: ASYNC110 what is waited for is in another process
            await asyncio.sleep(LOOK_AGAIN_S)


@asynccontextmanager
async def set_up(site: Site) -> AsyncIterator[Stage]:
    """Everything runs, and edges and windows are there. Nobody is pulled for posting often."""
    cast = Cast.of(site.world.ids)
    await follow(site, cast)
    folder = site.folder
    bus_folder = folder / "bus"
    bus_folder.mkdir()
    async with (
        durable(mongo.STORE, folder) as mongodb_url,
        durable(valkey.STORE, folder) as redis_url,
        durable(valkey.STORE, bus_folder) as bus_url,
    ):
        told = LONG_LIVED | {"BUS_REDIS_URL": bus_url, "MONGODB_URL": mongodb_url}
        async with site.rig.run(**told) as user_svc:
            told |= {"USER_SVC_TARGET": user_svc.address, "REDIS_URL": redis_url}
            async with site.rig.run(CONTENT_SVC, **told) as content_svc:
                told |= {
                    "CONTENT_SVC_TARGET": content_svc.address,
                    "PUSH_DELIVERIES_PER_HOUR_MAX": str(10**12),
                }
                async with (
                    site.rig.run(FEED_SVC, **told) as feed_svc,
                    aclosing(FeedRedis(StoreSettings(url=Secret(redis_url)))) as redis,
                    grpc.aio.insecure_channel(content_svc.address) as content,
                    grpc.aio.insecure_channel(feed_svc.address) as feeds,
                ):
                    stage = Stage(
                        site, cast, ContentServiceStub(content), FeedServiceStub(feeds), redis
                    )
                    await make_windows(stage)
                    yield stage


async def follow(site: Site, cast: Cast) -> None:
    session = site.session
    await session.execute("SET session_replication_role = replica")  # most are nobody
    edges = {
        cast.celebrity: cast.readers,
        cast.largest_pushed: cast.followers,
        cast.fresh: cast.followers[:FRESH],
        cast.ordinary: cast.followers[:ORDINARY],
        cast.small: cast.followers[:SMALL],
    }
    await session.execute(FORGET_FOLLOWERS, [*edges])
    for author_id, followers in edges.items():
        await session.execute(FOLLOW, author_id, followers)
        await session.execute(COUNT_FOLLOWERS, author_id, len(followers))
    await session.execute(FOLLOW_BY_NOBODY, cast.celebrity, FOLLOWERS - READERS)
    await session.execute(COUNT_FOLLOWERS, cast.celebrity, FOLLOWERS)
    await session.execute("SET session_replication_role = DEFAULT")


async def make_windows(stage: Stage) -> None:
    """Of readers as feed_svc makes them; full ones, of posts that nobody reads, of all others."""
    rig, cast = stage.site.rig, stage.cast
    waiting = [str(each) for each in cast.readers]
    while waiting:
        request = feed_pb.PrewarmFeedsRequest(user_ids=waiting[:PREWARMED_MAX])
        metadata = bearer(rig.user_token(stage.site.world.hub, Role.ADMIN))
        done = await stage.feeds.PrewarmFeeds(request, metadata=metadata)
        waiting = [*waiting[PREWARMED_MAX:], *done.failed_user_ids]
    now_ms = time.time_ns() // 1_000_000
    places = [
        (now_ms - number, PostId(secrets.token_bytes(ID_BYTES)))
        for number in range(1, WINDOW_ENTRIES_MAX + 1)
    ]
    windows = WindowStore(stage.redis)
    for viewer in cast.followers:
        build = await windows.begin(UserId(viewer.bytes))
        assert build is not None
        assert await windows.finish(build, Source(places, places[-1]), ())
