"""Fan-out: posts put into full hot windows, by feed_svc's store and by what one writes without it.

With a Valkey of its own that keeps nothing on disk, as the feeds' is run, and this process as the
worker. Without: as many windows as plain sorted sets, with one pipeline that asks which of them
are there, and one that adds and trims.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from bench.tools.measure import Measure, Site
from devstack import valkey
from devstack.stores import throwaway
from feed_svc.model import ID_BYTES, WINDOW_ENTRIES_MAX, Place, PostId, Source, UserId
from feed_svc.redis_store import FeedRedis, StoreLimits, StoreSettings
from feed_svc.window_store import WindowStore
from svckit.events.bus import Fence
from svckit.settings import Secret

WINDOWS = 4_000
POSTS = 5  # in a round
PLAIN_POSTS = 1
CALLS_AT_ONCE = 4
PARTITION = 0
START_MS = 1_800_000_000_000
APART_MS = 60_000

Deliver = Callable[[Place, Sequence[UserId]], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one delivery."""

    wall_s: float
    redis_cpu_s: float
    worker_cpu_s: float


async def fan_out(site: Site) -> list[Measure]:
    async with (
        throwaway(valkey.STORE) as url,
        aclosing(FeedRedis(StoreSettings(url=Secret(url)))) as store,
    ):
        windows, fence = WindowStore(store), Fence(PARTITION, int(time.time() * 1000))
        viewers = [UserId(secrets.token_bytes(ID_BYTES)) for _ in range(WINDOWS)]
        posts = Posts()
        await fill(windows, viewers, posts)
        info = await windows.info(viewers[0])
        assert info.entry_count == WINDOW_ENTRIES_MAX

        async def deliver(place: Place, viewer_ids: Sequence[UserId]) -> int:
            return await windows.deliver(fence, place, b"".join(viewer_ids))

        ours, plain = [], []
        async with plain_windows(url, viewers, posts) as (client, deliver_plainly):
            for _ in range(site.rounds):
                ours.append(await cost(client, deliver, viewers, posts.make(POSTS)))
                plain.append(await cost(client, deliver_plainly, viewers, posts.make(PLAIN_POSTS)))
    rates = [1 / each.redis_cpu_s for each in ours]
    ratios = [other.wall_s / each.wall_s for each, other in zip(ours, plain, strict=True)]
    cpu_us = [each.worker_cpu_s * 1e6 for each in ours]
    return [
        Measure("fanout.rate", "per core s", rates, at_least=100_000),
        Measure("fanout.per_s", "per s", [1 / each.wall_s for each in ours]),
        Measure("fanout.plain_per_s", "per s", [1 / each.wall_s for each in plain]),
        Measure("fanout.ratio", "x", ratios, at_least=3),
        Measure("fanout.cpu", "us", cpu_us, at_most=3),
        Measure("memory.feed", "bytes", [info.size_bytes], at_most=12 * 1024),
    ]


class Posts:
    """Each newer than the one before."""

    def __init__(self) -> None:
        self._ms = START_MS

    def make(self, count: int) -> list[Place]:
        """The newest first."""
        times = range(self._ms + count * APART_MS, self._ms, -APART_MS)
        self._ms = times[0]
        return [(ms, PostId(secrets.token_bytes(ID_BYTES))) for ms in times]


async def fill(windows: WindowStore, viewers: Sequence[UserId], posts: Posts) -> None:
    """No two windows hold the same posts, as windows of strangers do not."""
    for viewer_id in viewers:
        build = await windows.begin(viewer_id)
        assert build is not None
        places = posts.make(WINDOW_ENTRIES_MAX)
        assert await windows.finish(build, Source(places, places[-1]), ())


@asynccontextmanager
async def plain_windows(
    url: str, viewers: Sequence[UserId], posts: Posts
) -> AsyncIterator[tuple[Redis, Deliver]]:
    """A client, and what one would write with it."""

    def key_of(viewer_id: UserId) -> bytes:
        return b"plain:" + viewer_id

    async with Redis.from_url(url, protocol=2) as client:
        for viewer_id in viewers:
            entries = posts.make(WINDOW_ENTRIES_MAX)
            await client.zadd(key_of(viewer_id), {bytes(post_id): ms for ms, post_id in entries})

        async def deliver(place: Place, viewer_ids: Sequence[UserId]) -> int:
            keys = [key_of(viewer_id) for viewer_id in viewer_ids]
            asking = client.pipeline(transaction=False)
            for key in keys:
                asking.exists(key)
            there = [
                key for key, is_there in zip(keys, await asking.execute(), strict=True) if is_there
            ]
            writing = client.pipeline(transaction=False)
            for key in there:
                writing.zadd(key, {place[1]: place[0]})
                writing.zremrangebyrank(key, 0, -WINDOW_ENTRIES_MAX - 1)
            await writing.execute()
            return len(there)

        yield client, deliver


async def cost(
    client: Redis, deliver: Deliver, viewers: Sequence[UserId], places: Sequence[Place]
) -> Cost:
    """All the posts to all the viewers, with so many calls at once that Redis is never idle."""
    step = StoreLimits().windows_per_call_max
    chunks = [
        (place, viewers[at : at + step])
        for place in reversed(places)
        for at in range(0, len(viewers), step)
    ]
    waiting = iter(chunks)

    async def work() -> int:
        return sum([await deliver(place, chunk) for place, chunk in waiting])

    redis_cpu_s, worker_cpu_s, started_s = (
        await cpu_s(client),
        time.process_time(),
        time.perf_counter(),
    )
    deliveries = sum(await asyncio.gather(*(work() for _ in range(CALLS_AT_ONCE))))
    wall_s, worker_cpu_s = time.perf_counter() - started_s, time.process_time() - worker_cpu_s
    redis_cpu_s = await cpu_s(client) - redis_cpu_s
    assert deliveries == len(viewers) * len(places)
    return Cost(wall_s / deliveries, redis_cpu_s / deliveries, worker_cpu_s / deliveries)


async def cpu_s(client: Redis) -> float:
    """What the one thread of Redis that runs commands has used."""
    info = await client.info("cpu")
    return float(info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"])
