"""Hot windows: what fan-out, rebuilds and readers do to them, and what they claim to be then."""

import asyncio
import secrets
from contextlib import aclosing
from dataclasses import replace

import pytest

from feed_svc.model import TOP, Source, WindowState
from feed_svc.redis_store import FeedRedis, StoreSettings
from feed_svc.window_store import WindowStore
from tests.integration.conftest import PATIENT, SMALL_WINDOW
from tests.stacks.feed_redis import (
    at,
    complete,
    down_to_the_last,
    new_fence,
    new_user,
    new_window,
    newest_first,
    packed,
    reply_to,
    source_of,
    whole,
)

HOUR_MS = 3_600_000


class TestDeliver:
    async def test_what_is_not_there_is_not_made(self, windows: WindowStore) -> None:
        viewer_id = new_user()
        assert await windows.deliver(new_fence(), at(1), viewer_id) == 0
        assert (await whole(windows, viewer_id)).state is WindowState.MISSING

    async def test_all_windows_that_are_there_get_it(self, windows: WindowStore) -> None:
        here = [await new_window(windows) for _ in range(7)]
        crowd = [*here, *(new_user() for _ in range(1200))]
        place = at(1)
        assert await windows.deliver(new_fence(), place, packed(crowd)) == len(here)
        for viewer_id in here:
            assert await source_of(windows, viewer_id) == complete(place)

    async def test_twice_is_as_good_as_once(self, windows: WindowStore) -> None:
        viewer_id = await new_window(windows)
        place, fence = at(1), new_fence()
        await windows.deliver(fence, place, viewer_id)
        await windows.deliver(fence, place, viewer_id)
        assert await source_of(windows, viewer_id) == complete(place)

    async def test_whole_window_takes_posts_of_any_age(self, windows: WindowStore) -> None:
        viewer_id, fence = await new_window(windows, complete(at(5))), new_fence()
        old = at(1)
        await windows.deliver(fence, old, viewer_id)
        source = await source_of(windows, viewer_id)
        assert source.places[-1] == old
        assert source.floor is None

    async def test_window_that_runs_over_is_no_longer_whole(self, windows: WindowStore) -> None:
        places = [at(ms) for ms in range(SMALL_WINDOW)]
        viewer_id, fence = await new_window(windows, complete(*places[:-1])), new_fence()
        assert (await source_of(windows, viewer_id)).floor is None
        await windows.deliver(fence, places[-1], viewer_id)
        assert await source_of(windows, viewer_id) == down_to_the_last(*places)

    async def test_newest_push_the_oldest_out(self, windows: WindowStore) -> None:
        places = [at(ms) for ms in range(SMALL_WINDOW)]
        viewer_id, fence = await new_window(windows, down_to_the_last(*places)), new_fence()
        newer = [at(100), at(101)]
        for place in newer:
            await windows.deliver(fence, place, viewer_id)
        assert await source_of(windows, viewer_id) == down_to_the_last(*places[2:], *newer)

    async def test_nothing_goes_below_the_floor(self, windows: WindowStore) -> None:
        floor = at(10, 100)
        viewer_id, fence = await new_window(windows, down_to_the_last(at(20), floor)), new_fence()
        for below in (at(9), at(10, 99)):
            assert await windows.deliver(fence, below, viewer_id) == 0
        above = at(10, 101)
        assert await windows.deliver(fence, above, viewer_id) == 1
        source = await source_of(windows, viewer_id)
        assert source.places[1:] == [above, floor]
        assert source.floor == floor

    async def test_of_one_millisecond_the_lowest_id_goes_first(self, windows: WindowStore) -> None:
        places = [at(10, number) for number in range(0, 256, 20)]
        viewer_id, fence = await new_window(windows), new_fence()
        for place in places:
            await windows.deliver(fence, place, viewer_id)
        assert await source_of(windows, viewer_id) == down_to_the_last(*places[-SMALL_WINDOW:])


class TestRead:
    async def test_strictly_below_a_place(self, windows: WindowStore) -> None:
        places = newest_first([at(1), at(2, 1), at(2, 2), at(2, 3), at(3)])
        viewer_id = await new_window(windows, Source(places, None))
        for number, before in enumerate(places):
            window = await windows.read(viewer_id, before, 10)
            assert window.source == Source(places[number + 1 :], None)
        between = (places[1][0], at(0, 2)[1][:1] + b"\xff" * 15)  # above the second of the ties
        window = await windows.read(viewer_id, between, 10)  # type: ignore[arg-type]
        assert window.source.places == places[2:]

    @pytest.mark.parametrize("limit", [1, 2, 3, 4])
    async def test_limit_lifts_the_floor_to_where_it_cuts(
        self, windows: WindowStore, limit: int
    ) -> None:
        places = newest_first([at(1), at(2, 1), at(2, 2), at(2, 3)])
        for floor in (None, places[-1]):
            viewer_id = await new_window(windows, Source(places, floor))
            source = (await windows.read(viewer_id, TOP, limit)).source
            assert source.places == places[:limit]
            assert source.floor == (floor if limit == len(places) else places[limit - 1])

    async def test_many_at_once(self, windows: WindowStore) -> None:
        sources = [complete(*(at(ms) for ms in range(number % 5))) for number in range(50)]
        viewers = [await new_window(windows, source) for source in sources]
        found = await asyncio.gather(*(source_of(windows, each) for each in viewers))
        assert found == sources

    async def test_half_a_window_is_none(self, windows: WindowStore, feed_redis: FeedRedis) -> None:
        for half in (feed_redis.keys.window, feed_redis.keys.companion):
            viewer_id, fence = await new_window(windows, complete(at(1))), new_fence()
            await reply_to(feed_redis, "DEL", half(viewer_id))
            await windows.deliver(fence, at(2), viewer_id)
            await windows.backfill(fence, viewer_id, new_user(), complete(at(3)))
            await windows.purge(fence, viewer_id, new_user(), [at(2)[1]])
            assert (await whole(windows, viewer_id)).state is WindowState.MISSING
            assert await windows.floor(viewer_id) == (WindowState.MISSING, None)
            assert (await windows.info(viewer_id)).state is WindowState.MISSING
            assert await reply_to(feed_redis, "EXISTS", half(viewer_id)) == 0


class TestBackfill:
    async def test_whole_and_whole_is_whole(self, windows: WindowStore) -> None:
        theirs, ours = [at(1), at(4)], [at(2), at(3)]
        viewer_id = await new_window(windows, complete(*ours))
        await windows.backfill(new_fence(), viewer_id, new_user(), complete(*theirs))
        assert await source_of(windows, viewer_id) == complete(*ours, *theirs)

    async def test_floor_of_the_source_becomes_the_windows(self, windows: WindowStore) -> None:
        ours = [at(1), at(5, 99), at(5, 101), at(7)]
        theirs = [at(5, 100), at(6)]
        for is_whole in (True, False):
            viewer_id = await new_window(windows, Source(newest_first(ours), None))
            if not is_whole:
                viewer_id = await new_window(windows, down_to_the_last(*ours))
            await windows.backfill(new_fence(), viewer_id, new_user(), down_to_the_last(*theirs))
            expected = down_to_the_last(*theirs, *ours[2:])
            assert await source_of(windows, viewer_id) == expected

    async def test_nothing_goes_below_the_windows_floor(self, windows: WindowStore) -> None:
        ours, theirs = [at(5, 100), at(8)], [at(1), at(5, 99), at(5, 101), at(9)]
        for source in (complete(*theirs), down_to_the_last(*theirs)):
            viewer_id = await new_window(windows, down_to_the_last(*ours))
            await windows.backfill(new_fence(), viewer_id, new_user(), source)
            expected = down_to_the_last(*ours, *theirs[2:])
            assert await source_of(windows, viewer_id) == expected

    async def test_more_than_fits(self, windows: WindowStore) -> None:
        theirs = [at(ms) for ms in range(3 * SMALL_WINDOW)]
        viewer_id = await new_window(windows, complete(at(0)))
        await windows.backfill(new_fence(), viewer_id, new_user(), complete(*theirs))
        expected = down_to_the_last(*theirs[-SMALL_WINDOW:])
        assert await source_of(windows, viewer_id) == expected

    async def test_many_windows_and_only_those_there(self, windows: WindowStore) -> None:
        here = [await new_window(windows) for _ in range(20)]
        away, source = new_user(), complete(at(1), at(2))
        await windows.backfill(new_fence(), packed([*here, away]), new_user(), source)
        for viewer_id in here:
            assert await source_of(windows, viewer_id) == source
        assert (await whole(windows, away)).state is WindowState.MISSING

    async def test_mark_goes_if_asked(self, windows: WindowStore) -> None:
        author_id, other_id = new_user(), new_user()
        viewer_id, fence = (
            await new_window(windows, pull_author_ids=[author_id, other_id]),
            new_fence(),
        )
        await windows.backfill(fence, viewer_id, author_id, complete())
        assert (await whole(windows, viewer_id)).pull_author_ids == {author_id, other_id}
        await windows.backfill(fence, viewer_id, author_id, complete(), unmark=True)
        assert (await whole(windows, viewer_id)).pull_author_ids == {other_id}


class TestPurgeAndMarks:
    async def test_posts_and_mark_go_and_the_rest_stays(self, windows: WindowStore) -> None:
        author_id, other_id = new_user(), new_user()
        theirs, others = [at(1), at(3)], [at(2), at(4)]
        viewer_id = await new_window(windows, complete(*theirs, *others), [author_id, other_id])
        many_ids = [secrets.token_bytes(16) for _ in range(1200)]
        ids = [*many_ids, *(post_id for _, post_id in theirs)]
        await windows.purge(new_fence(), viewer_id, author_id, ids)  # type: ignore[arg-type]
        window = await whole(windows, viewer_id)
        assert window.source == complete(*others)
        assert window.pull_author_ids == {other_id}

    async def test_mark_goes_without_a_post_too(self, windows: WindowStore) -> None:
        author_id = new_user()
        viewer_id = await new_window(windows, pull_author_ids=[author_id])
        await windows.purge(new_fence(), viewer_id, author_id, [])
        assert (await whole(windows, viewer_id)).pull_author_ids == frozenset()

    async def test_marks_go_on_and_off(self, windows: WindowStore, feed_redis: FeedRedis) -> None:
        here, away = [await new_window(windows) for _ in range(10)], new_user()
        author_id, fence = new_user(), new_fence()
        for on in (True, True, False, False):
            await windows.set_pull(fence, packed([*here, away]), author_id, on=on)
            for viewer_id in here:
                window = await whole(windows, viewer_id)
                assert window.pull_author_ids == ({author_id} if on else set())
        assert await reply_to(feed_redis, "EXISTS", feed_redis.keys.companion(away)) == 0

    async def test_what_is_gone_is_forgotten(self, windows: WindowStore) -> None:
        places = [at(ms) for ms in range(4)]
        viewer_id = await new_window(windows, down_to_the_last(*places))
        before = await windows.info(viewer_id)
        await windows.forget(viewer_id, [places[0][1], places[2][1]])
        await windows.forget(viewer_id, [])
        assert await source_of(windows, viewer_id) == down_to_the_last(places[1], places[3])
        assert (await windows.info(viewer_id)).generation == before.generation


class TestRebuild:
    async def test_what_is_delivered_meanwhile_is_in_it(self, windows: WindowStore) -> None:
        viewer_id, fence = await new_window(windows, complete(at(1))), new_fence()
        await windows.evict(viewer_id)
        build = await windows.begin(viewer_id)
        assert build is not None
        meanwhile, truth = at(5), [at(2), at(3)]
        await windows.deliver(fence, meanwhile, viewer_id)
        assert (await whole(windows, viewer_id)).state is WindowState.BUILDING
        assert await windows.floor(viewer_id) == (WindowState.BUILDING, None)
        author_id = new_user()
        assert await windows.finish(build, complete(*truth), [author_id])
        window = await whole(windows, viewer_id)
        assert window.source == complete(*truth, meanwhile)
        assert window.pull_author_ids == {author_id}

    async def test_begins_from_nothing(self, windows: WindowStore) -> None:
        viewer_id = await new_window(windows, complete(at(1)), [new_user()])
        build = await windows.begin(viewer_id)
        assert build is not None
        assert await windows.finish(build, complete(at(2)), [])
        window = await whole(windows, viewer_id)
        assert [ms for ms, _ in window.source.places] == [at(2)[0]]
        assert not window.pull_author_ids

    async def test_one_that_is_not_whole(self, windows: WindowStore) -> None:
        build = await windows.begin(viewer_id := new_user())
        assert build is not None
        truth, below, above = [at(5), at(6)], at(4), at(7)
        for place in (below, above):
            await windows.deliver(new_fence(), place, viewer_id)
        assert await windows.finish(build, down_to_the_last(*truth), [])
        assert await source_of(windows, viewer_id) == down_to_the_last(*truth, above)

    async def test_one_that_ran_over_meanwhile(self, windows: WindowStore) -> None:
        """What was pushed out is not made good by a truth that was read before it came."""
        build = await windows.begin(viewer_id := new_user())
        assert build is not None
        fence, truth = new_fence(), complete(at(0), at(1), at(200))
        meanwhile = [at(100 + ms) for ms in range(SMALL_WINDOW + 1)]
        for place in meanwhile:
            await windows.deliver(fence, place, viewer_id)
        await windows.forget(viewer_id, [meanwhile[-1][1], meanwhile[-2][1]])
        assert await windows.finish(build, truth, [])
        expected = down_to_the_last(*meanwhile[1:-2], truth.places[0])
        assert await source_of(windows, viewer_id) == expected

    @pytest.mark.parametrize("deed", ["backfill", "purge", "mark", "unmark"])
    async def test_is_refused_once_the_window_was_touched(
        self, windows: WindowStore, deed: str
    ) -> None:
        build = await windows.begin(viewer_id := new_user())
        assert build is not None
        author_id, fence, theirs = new_user(), new_fence(), at(5)
        if deed == "backfill":
            await windows.backfill(fence, viewer_id, author_id, complete(theirs))
        elif deed == "purge":
            await windows.purge(fence, viewer_id, author_id, [theirs[1]])
        else:
            await windows.set_pull(fence, viewer_id, author_id, on=deed == "mark")
        assert not await windows.finish(build, complete(), [])
        again = await windows.regenerate(build)
        assert again is not None
        assert await windows.finish(again, complete(), [])
        window = await whole(windows, viewer_id)
        assert window.source == complete(*[theirs] * (deed == "backfill"))
        assert window.pull_author_ids == {*[author_id] * (deed == "mark")}

    async def test_one_at_a_time(self, windows: WindowStore, feed_redis: FeedRedis) -> None:
        viewer_id = new_user()
        first = await windows.begin(viewer_id)
        assert first is not None
        assert await windows.begin(viewer_id) is None
        companion = feed_redis.keys.companion(viewer_id)
        started_ms = int(await reply_to(feed_redis, "HGET", companion, "started_ms"))  # type: ignore[call-overload]
        long_ago_ms = started_ms - feed_redis.limits.build_alone_ms
        await reply_to(feed_redis, "HSET", companion, "started_ms", long_ago_ms)
        second = await windows.begin(viewer_id)
        assert second is not None
        assert not await windows.finish(first, complete(), [])
        assert await windows.regenerate(first) is None
        assert await windows.finish(second, complete(), [])

    async def test_lost_to_one_that_began_after_the_window_was_evicted(
        self, windows: WindowStore
    ) -> None:
        viewer_id = new_user()
        first = await windows.begin(viewer_id)
        await windows.evict(viewer_id)
        second = await windows.begin(viewer_id)
        assert first is not None
        assert second is not None
        assert first.generation == second.generation
        assert not await windows.finish(first, complete(at(1)), [])
        assert await windows.finish(second, complete(at(2)), [])

    async def test_lost_with_its_window(self, windows: WindowStore, feed_redis: FeedRedis) -> None:
        viewer_id = new_user()
        build = await windows.begin(viewer_id)
        assert build is not None
        await reply_to(feed_redis, "DEL", feed_redis.keys.window(viewer_id))
        assert not await windows.finish(build, complete(at(1)), [])
        assert await windows.regenerate(build) is None
        assert await windows.begin(viewer_id) is not None
        await windows.evict(viewer_id)
        assert await windows.regenerate(build) is None
        assert (await whole(windows, viewer_id)).state is WindowState.MISSING


class TestTimeAndMemory:
    async def test_ends_unless_it_is_read(
        self, windows: WindowStore, feed_redis: FeedRedis
    ) -> None:
        viewer_id = await new_window(windows, complete(at(1)))
        keys = [feed_redis.keys.window(viewer_id), feed_redis.keys.companion(viewer_id)]
        ttl_ms = feed_redis.settings.window_ttl_s * 1000
        for left_ms, is_renewed in ((ttl_ms - HOUR_MS // 2, False), (ttl_ms - HOUR_MS, True)):
            for key in keys:
                await reply_to(feed_redis, "PEXPIRE", key, left_ms)
            await whole(windows, viewer_id)
            for key in keys:
                ttl = await reply_to(feed_redis, "PTTL", key)
                assert isinstance(ttl, int)
                assert (ttl > left_ms) == is_renewed
                assert ttl <= ttl_ms

    async def test_build_ends_soon_whoever_reads(
        self, windows: WindowStore, feed_redis: FeedRedis
    ) -> None:
        await windows.begin(viewer_id := new_user())
        await whole(windows, viewer_id)
        for key in (feed_redis.keys.window(viewer_id), feed_redis.keys.companion(viewer_id)):
            ttl = await reply_to(feed_redis, "PTTL", key)
            assert isinstance(ttl, int)
            assert 0 < ttl <= feed_redis.limits.build_ttl_ms

    async def test_full_window_stays_compact(self, feed_store_settings: StoreSettings) -> None:
        full = feed_store_settings.window_entries_max
        async with aclosing(FeedRedis(feed_store_settings, PATIENT)) as redis:
            windows, fence = WindowStore(redis), new_fence()
            viewer_id = await new_window(windows, down_to_the_last(*map(at, range(full))))
            source = complete(*map(at, range(2 * full)))
            await windows.backfill(fence, viewer_id, new_user(), source)
            await windows.deliver(fence, at(2 * full), viewer_id)
            encoding = await reply_to(redis, "OBJECT ENCODING", redis.keys.window(viewer_id))
            info = await windows.info(viewer_id)
        assert encoding == b"listpack"
        assert info.entry_count == full
        assert info.size_bytes <= 12 * 1024

    async def test_info(self, windows: WindowStore, feed_redis: FeedRedis) -> None:
        places = [at(ms) for ms in range(3)]
        viewer_id = await new_window(windows, complete(*places), [new_user(), new_user()])
        info = await windows.info(viewer_id)
        key = feed_redis.keys.window(viewer_id)
        assert info == replace(
            info,
            state=WindowState.READY,
            entry_count=3,
            newest=places[-1],
            floor=None,
            pull_author_count=2,
            generation=1,
        )
        assert info.expire_time_ms == await reply_to(feed_redis, "PEXPIRETIME", key)
        for _ in range(SMALL_WINDOW):
            await windows.deliver(new_fence(), at(9), viewer_id)
        info = await windows.info(viewer_id)
        assert info.entry_count == SMALL_WINDOW
        assert info.floor is not None
