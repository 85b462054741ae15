"""Who may write into windows, and what happens while Redis does not answer."""

import asyncio
import signal
import statistics
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from feed_svc.author_store import AuthorStore
from feed_svc.model import Tier
from feed_svc.redis_store import Call, FeedRedis, StoreSettings
from feed_svc.window_store import WindowStore
from svckit.errors import Unavailable
from svckit.events.bus import Fence, Fenced
from svckit.settings import Secret
from tests.polling import LATE_S, until
from tests.stacks.feed_redis import (
    ask_all_nodes,
    at,
    complete,
    new_fence,
    new_user,
    new_window,
    reply_to,
    source_of,
)
from tests.troubles.own_store import own_valkey


@pytest.fixture
async def other_process(feed_redis: FeedRedis) -> AsyncIterator[WindowStore]:
    async with aclosing(FeedRedis(feed_redis.settings, feed_redis.limits)) as redis:
        yield WindowStore(redis)


def newer(fence: Fence) -> Fence:
    return replace(fence, token=fence.token + 1)


async def numbers(redis: FeedRedis, fence: Fence) -> set[object]:
    """What the fences of all shards say."""
    return {await reply_to(redis, "HGET", key, fence.partition) for key in redis.keys.fences}


async def flush(redis: FeedRedis, fence: Fence) -> None:
    for key in redis.keys.fences:
        await reply_to(redis, "HDEL", key, fence.partition)


class TestFences:
    async def test_last_owner_writes_and_no_other(
        self, windows: WindowStore, other_process: WindowStore
    ) -> None:
        viewer_id, fence = await new_window(windows), new_fence()
        first, second = at(1), at(2)
        await windows.deliver(fence, first, viewer_id)
        await other_process.deliver(newer(fence), second, viewer_id)
        for write in (
            windows.deliver(fence, at(3), viewer_id),
            windows.backfill(fence, viewer_id, new_user(), complete(at(3))),
            windows.purge(fence, viewer_id, new_user(), [second[1]]),
            windows.set_pull(fence, viewer_id, new_user(), on=True),
        ):
            with pytest.raises(Fenced) as caught:
                await write
            assert caught.value.newest_token == newer(fence).token
        assert await source_of(windows, viewer_id) == complete(first, second)

    async def test_former_owner_is_out_as_soon_as_it_is_raised(
        self, windows: WindowStore, feed_redis: FeedRedis, other_process: WindowStore
    ) -> None:
        """Wherever it writes: before the new one wrote anything."""
        fence = new_fence()
        await feed_redis.fences.raise_(fence)
        await other_process._redis.fences.raise_(newer(fence))
        assert len(await numbers(feed_redis, fence)) == 1
        for _ in range(20):
            with pytest.raises(Fenced):
                await windows.deliver(fence, at(1), new_user())

    async def test_of_other_partitions_and_of_the_same_process(
        self, windows: WindowStore, feed_redis: FeedRedis
    ) -> None:
        viewer_id, fence, other = await new_window(windows), new_fence(), new_fence()
        await feed_redis.fences.raise_(newer(fence))
        with pytest.raises(Fenced):
            await windows.deliver(fence, at(1), viewer_id)
        with pytest.raises(Fenced):
            await feed_redis.fences.raise_(fence)
        assert await windows.deliver(other, at(1), viewer_id) == 1

    async def test_authors_too(self, feed_redis: FeedRedis, other_process: WindowStore) -> None:
        authors, author_id, fence = AuthorStore(feed_redis), new_user(), new_fence()
        place = at(1)
        await authors.put(fence, author_id, complete(place))
        await other_process._redis.fences.raise_(newer(fence))
        for write in (
            authors.add(fence, author_id, at(2)),
            authors.put(fence, author_id, complete(at(3))),
            authors.forget(fence, author_id, place[1]),
            authors.drop(fence, author_id),
            authors.set_tier(fence, author_id, Tier.PULL),
        ):
            with pytest.raises(Fenced):
                await write
        assert await authors.recents([author_id]) == {author_id: complete(place)}
        assert author_id not in await authors.pulled()

    async def test_what_redis_forgot_is_refused_once(
        self, windows: WindowStore, feed_redis: FeedRedis
    ) -> None:
        viewer_id, fence = await new_window(windows), new_fence()
        await windows.deliver(fence, at(1), viewer_id)
        await flush(feed_redis, fence)
        with pytest.raises(Unavailable):
            await windows.deliver(fence, at(2), viewer_id)
        assert not feed_redis.is_silent
        assert await numbers(feed_redis, fence) == {None}
        assert await windows.deliver(fence, at(2), viewer_id) == 1
        assert len(await numbers(feed_redis, fence)) == 1

    async def test_call_that_comes_late_is_refused(
        self, windows: WindowStore, feed_redis: FeedRedis
    ) -> None:
        """It was given up, and reaches Redis behind what was written since."""
        viewer_id, fence = await new_window(windows), new_fence()
        author_id, place = new_user(), at(1)
        await windows.deliver(fence, place, viewer_id)
        number = await feed_redis.fences.number(fence)
        abandoned = asyncio.ensure_future(windows.deliver(fence, place, viewer_id))
        await asyncio.sleep(0)
        abandoned.cancel()
        await asyncio.gather(abandoned, return_exceptions=True)
        await windows.purge(fence, viewer_id, author_id, [place[1]])
        fence_key = feed_redis.keys.fence(viewer_id)
        watching_key = feed_redis.keys.watching(fence_key)
        keys = [fence_key, watching_key, feed_redis.keys.window(viewer_id)]
        late = Call("deliver", keys, (fence.partition, str(number), 8, -place[0], place[1]))
        with pytest.raises(Exception, match=str(fence.token)):
            await feed_redis.call(late)
        assert await source_of(windows, viewer_id) == complete()

    async def test_failure_that_is_known_already_raises_nothing(
        self, feed_redis: FeedRedis
    ) -> None:
        fence = new_fence()
        await feed_redis.fences.raise_(fence)
        first = await feed_redis.fences.number(fence)
        feed_redis.fences.distrust(fence, first)
        second = await feed_redis.fences.number(fence)
        assert second > first
        feed_redis.fences.distrust(fence, first)
        assert await feed_redis.fences.number(fence) == second
        assert await numbers(feed_redis, fence) == {str(second).encode()}


class TestSilence:
    async def test_functions_that_are_gone_are_loaded_again(
        self, windows: WindowStore, feed_redis: FeedRedis
    ) -> None:
        viewers, fence = [await new_window(windows) for _ in range(9)], new_fence()
        await ask_all_nodes(feed_redis, "FUNCTION FLUSH")
        assert await windows.deliver(fence, at(1), b"".join(viewers)) == len(viewers)

    async def test_nobody_waits_twice_and_it_comes_back(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        loop = asyncio.get_running_loop()
        async with (
            own_valkey(tmp_path_factory.mktemp("redis")) as server,
            aclosing(FeedRedis(StoreSettings(url=Secret(server.url)))) as redis,
        ):
            windows, fence = WindowStore(redis), new_fence()
            viewer_id = await new_window(windows)
            await windows.deliver(fence, at(1), viewer_id)
            server.signal(signal.SIGSTOP)
            timeout_s = redis.limits.request_timeout_s
            took_s = []
            for _ in range(6):
                asked_at_s = loop.time()
                with pytest.raises(Unavailable):
                    await windows.floor(viewer_id)
                took_s.append(loop.time() - asked_at_s)
            assert took_s[0] < timeout_s * 4 + LATE_S
            assert statistics.median(took_s[1:]) < timeout_s / 2
            assert redis.is_silent
            with pytest.raises(Unavailable):
                await windows.deliver(fence, at(2), viewer_id)
            with pytest.raises(Unavailable):
                await redis.ping()
            server.signal(signal.SIGCONT)
            await until(lambda: not redis.is_silent)
            await redis.ping()
            assert await windows.deliver(fence, at(2), viewer_id) == 1

    async def test_silence_ends_by_itself_on_every_kind_of_server(
        self, feed_redis: FeedRedis, windows: WindowStore
    ) -> None:
        viewer_id = await new_window(windows)
        feed_redis._dependency.fall_silent(TimeoutError())
        with pytest.raises(Unavailable):
            await windows.floor(viewer_id)
        await until(lambda: not feed_redis.is_silent)
        assert await windows.deliver(new_fence(), at(1), viewer_id) == 1

    async def test_settings_are_looked_at(
        self, feed_redis: FeedRedis, caplog: pytest.LogCaptureFixture
    ) -> None:
        await feed_redis.check()
        assert not caplog.records
        settings = replace(feed_redis.settings, window_entries_max=4_000)
        async with aclosing(FeedRedis(settings, feed_redis.limits)) as redis:
            await redis.check()
        assert [record.message for record in caplog.records] == ["feed_windows_not_compact"]
