"""Who watches, and what they are told, on every kind of server that the store must run on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from dataclasses import replace
from typing import cast

import pytest

from feed_svc.live_store import LiveStore, Poke
from feed_svc.model import UserId
from feed_svc.redis_store import FeedRedis
from feed_svc.window_store import WindowStore
from svckit.errors import Unavailable
from tests.stacks.feed_redis import ask_all_nodes, at, new_fence, new_user, new_window, packed

WITHIN_S = 5.0


@pytest.fixture
def live(feed_redis: FeedRedis) -> LiveStore:
    return LiveStore(feed_redis)


@pytest.fixture
async def pokes(live: LiveStore) -> AsyncIterator[AsyncIterator[Poke]]:
    async with live.subscribed() as pokes:
        yield pokes


async def next_of(pokes: AsyncIterator[Poke]) -> Poke:
    async with asyncio.timeout(WITHIN_S):
        return await anext(pokes)


async def listen(live: LiveStore, then: Awaitable[None]) -> Poke:
    async with asyncio.timeout(WITHIN_S), live.subscribed() as pokes:
        await then
        return await anext(pokes)


async def test_those_who_watch_are_told_with_a_window_or_without(
    windows: WindowStore, live: LiveStore, pokes: AsyncIterator[Poke]
) -> None:
    with_window, without = await new_window(windows), new_user()
    others = [await new_window(windows), new_user()]
    await live.watch([with_window, without, new_user()])
    place = at(1)
    viewers = packed([others[0], with_window, others[1], without])
    assert await windows.deliver(new_fence(), place, viewers) == 2
    poke = await next_of(pokes)
    assert poke == Poke(place, poke.user_ids, are_authors=False)
    assert sorted(poke.user_ids) == sorted([with_window, without])


async def test_a_delivery_to_many_is_told_500_at_a_time(
    windows: WindowStore, live: LiveStore, pokes: AsyncIterator[Poke]
) -> None:
    viewers = [new_user() for _ in range(1200)]
    await live.watch(viewers)
    await windows.deliver(new_fence(), at(1), packed(viewers))
    told = [(await next_of(pokes)).user_ids for _ in range(3)]
    assert [len(each) for each in told] == [500, 500, 200]
    assert {viewer_id for each in told for viewer_id in each} == {*viewers}


async def test_readers_of_an_author_are_told(
    windows: WindowStore, pokes: AsyncIterator[Poke]
) -> None:
    author_id, place = new_user(), at(1)
    await windows.tell_readers(author_id, place)
    assert await next_of(pokes) == Poke(place, [author_id], are_authors=True)


async def test_who_does_not_watch_any_more_is_not_told(
    feed_redis: FeedRedis, windows: WindowStore, live: LiveStore, pokes: AsyncIterator[Poke]
) -> None:
    gone, here = new_user(), new_user()
    await live.watch([gone, here])
    key = feed_redis.keys.watching(feed_redis.keys.fence(gone))
    long_ago_ms = 1
    await feed_redis.run([("ZADD", key, long_ago_ms, feed_redis.keys.window(gone))])
    await windows.deliver(new_fence(), at(1), gone)
    last = at(2)
    await windows.deliver(new_fence(), last, here)
    assert await next_of(pokes) == Poke(last, [here], are_authors=False)


async def test_who_does_not_watch_any_more_takes_no_room(
    feed_redis: FeedRedis, live: LiveStore
) -> None:
    viewer_id = new_user()
    key = feed_redis.keys.watching(feed_redis.keys.fence(viewer_id))
    window = feed_redis.keys.window(viewer_id)
    await feed_redis.run([("ZADD", key, 1, window)])
    await live.watch([UserId(new_user()[:-1] + viewer_id[-1:])])  # on the same shard
    assert await feed_redis.run([("ZSCORE", key, window)]) == [None]
    (ttl_ms,) = await feed_redis.run([("PTTL", key)])
    assert 0 < cast("int", ttl_ms) <= 2 * feed_redis.limits.watch_ttl_ms


async def test_many_are_looked_up_as_fast_as_one(feed_redis: FeedRedis, live: LiveStore) -> None:
    viewer_id = new_user()
    await live.watch([viewer_id])
    key = feed_redis.keys.watching(feed_redis.keys.fence(viewer_id))
    (encoding,) = await feed_redis.run([("OBJECT", "ENCODING", key)])
    assert encoding == b"skiplist"


async def test_who_is_cut_off_is_told_so_and_may_subscribe_anew(
    feed_redis: FeedRedis, windows: WindowStore, live: LiveStore
) -> None:
    with pytest.raises(Unavailable):
        await listen(live, ask_all_nodes(feed_redis, "CLIENT", "KILL", "TYPE", "pubsub"))
    async with live.subscribed() as pokes:
        author_id, place = new_user(), at(1)
        await windows.tell_readers(author_id, place)
        assert await next_of(pokes) == Poke(place, [author_id], are_authors=True)


async def test_silence_is_no_reason_to_give_up_unless_redis_does_not_answer(
    feed_redis: FeedRedis, windows: WindowStore
) -> None:
    author_id, place = new_user(), at(1)
    limits = replace(feed_redis.limits, silence_max_s=0.05)
    async with aclosing(FeedRedis(feed_redis.settings, limits)) as redis:
        live = LiveStore(redis)
        async with live.subscribed() as pokes:
            poked = asyncio.ensure_future(next_of(pokes))
            await asyncio.wait([poked], timeout=0.3)
            await windows.tell_readers(author_id, place)
            assert (await poked).user_ids == [author_id]
        with pytest.raises(Unavailable):
            await listen(live, ask_all_nodes(feed_redis, "CLIENT", "PAUSE", "300", "ALL"))
