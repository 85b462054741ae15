"""What of the newest page is new to a stream, and when it looks."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from feed_svc.home import HomePage
from feed_svc.live import Live, LiveLimits, News
from feed_svc.live_store import Poke
from feed_svc.model import WHOLE, Place, UserId
from svckit.errors import Unavailable
from tests.polling import until
from tests.stacks.feed_fakes import post_id, user

VIEWER, STAR = user(1), user(9)
S = 1000  # ms
AT_ONCE = LiveLimits(gather_s=0.0, look_interval_s=0.0, reconnect_min_s=0.0)
ITEMS_MAX, OVERLAP_MS = AT_ONCE.items_max, AT_ONCE.overlap_ms
START = 1_000 * S


def at(ms: int) -> Place:
    return START + ms, post_id(START + ms)


class World:
    """A feed, those who watch it, and what they are told."""

    def __init__(self) -> None:
        self.places: set[Place] = set()
        self.hidden: set[Place] = set()
        self.pull_author_ids: Collection[UserId] | None = frozenset()
        self.error: Exception | None = None
        self.looks = 0
        self.forgotten: list[UserId] = []
        self.watching: list[list[UserId]] = []
        self.pokes: asyncio.Queue[Poke | Exception] = asyncio.Queue()

    def post(self, *places: Place) -> None:
        self.places |= {*places}

    def poke(self, place: Place, *user_ids: UserId, are_authors: bool = False) -> None:
        self.pokes.put_nowait(Poke(place, user_ids or [VIEWER], are_authors))

    async def page(self, _: UserId, before: Place, size: int) -> HomePage:
        self.looks += 1
        if self.error is not None:
            raise self.error
        below = sorted((each for each in self.places if each < before), reverse=True)
        shown = [each for each in below[:size] if each not in self.hidden]
        next_place = below[size - 1] if len(below) > size else None
        encoded = [bytes(each[1]) for each in shown]
        return HomePage(encoded, shown, next_place, WHOLE, self.pull_author_ids)

    async def watch(self, viewer_ids: Iterable[UserId]) -> None:
        self.watching.append([*viewer_ids])

    @asynccontextmanager
    async def subscribed(self) -> AsyncGenerator[AsyncIterator[Poke]]:
        yield self._pokes()

    async def _pokes(self) -> AsyncIterator[Poke]:
        while True:
            poke = await self.pokes.get()
            if isinstance(poke, Exception):
                raise poke
            yield poke


class Rig:
    def __init__(self, look_every_s: float = 600.0, limits: LiveLimits = AT_ONCE) -> None:
        self.world = World()
        world = cast("Any", self.world)
        self.live = Live(
            world, world, self.world.forgotten.append, look_every_s, lambda: START, limits
        )

    def stream(self, since: Place | None = None, viewer_id: UserId = VIEWER) -> "Watch":
        return Watch(self.live.watch(viewer_id, since))

    async def begun(self, since: Place | None = None, viewer_id: UserId = VIEWER) -> "Watch":
        watch = self.stream(since, viewer_id)
        self.first = await watch.next()
        return watch

    async def has_looked(self, times: int) -> None:
        await until(lambda: self.world.looks >= times)


class Watch:
    def __init__(self, stream: AsyncGenerator[News]) -> None:
        self.stream = stream

    async def next(self) -> News:
        async with asyncio.timeout(5):
            return await anext(self.stream)

    async def told(self, *places: Place) -> News:
        """Of these next, the newest first, and of nothing else."""
        news = await self.next()
        assert [*news.places] == sorted(places, reverse=True)
        assert [*news.items] == [each[1] for each in news.places]
        assert not news.is_reset
        return news


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    task = asyncio.create_task(rig.live.run())
    yield rig
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running(Rig()) as rig:
        yield rig


class TestWhatIsNew:
    async def test_from_now_on(self, rig: Rig) -> None:
        rig.world.post(at(1), at(2))
        watch = await rig.begun()
        assert rig.first == News((), (), at(2), is_reset=False)
        rig.world.post(at(3), at(4))
        rig.world.poke(at(3))
        assert (await watch.told(at(3), at(4))).since == at(4)

    async def test_of_a_feed_that_is_empty_everything(self, rig: Rig) -> None:
        await rig.begun()
        assert rig.first.since < at(-START)
        rig.world.post(at(1))
        await rig.stream(rig.first.since).told(at(1))

    async def test_from_where_it_was_left_with_the_overlap(self, rig: Rig) -> None:
        too_late, late, last, new = at(-OVERLAP_MS - 1), at(1 - OVERLAP_MS), at(0), at(1)
        rig.world.post(too_late, late, last, new)
        assert (await rig.stream(last).told(late, last, new)).since == new

    async def test_once_however_often_it_is_poked(self, rig: Rig) -> None:
        watch = await rig.begun()
        rig.world.post(at(1))
        rig.world.poke(at(1))
        await watch.told(at(1))
        following = asyncio.create_task(watch.told(at(2)))
        rig.world.poke(at(1))
        await rig.has_looked(3)
        rig.world.post(at(2))
        rig.world.poke(at(2))
        await following

    async def test_also_what_comes_late(self, rig: Rig) -> None:
        """As late as may be if it is poked; later than the overlap not by chance."""
        rig.world.post(at(0))
        watch = await rig.begun()
        by_chance, within, poked = at(-OVERLAP_MS - 2), at(-OVERLAP_MS + 1), at(-OVERLAP_MS - 1)
        rig.world.post(by_chance, within)
        rig.world.poke(at(0))
        await watch.told(within)
        rig.world.post(poked)
        rig.world.poke(poked)
        await watch.told(poked)

    async def test_not_what_was_away_for_a_moment(self, rig: Rig) -> None:
        """As when Redis comes back, and has not yet what was read cold."""
        watch = await rig.begun()
        rig.world.post(at(1), at(2))
        rig.world.poke(at(1))
        await watch.told(at(1), at(2))
        rig.world.hidden = {at(1), at(2)}
        rig.world.post(at(3))
        rig.world.poke(at(3))
        await watch.told(at(3))
        rig.world.hidden = set()
        rig.world.post(at(4))
        rig.world.poke(at(4))
        await watch.told(at(4))

    async def test_not_what_was_there_below_a_page_of_hidden_posts(self, rig: Rig) -> None:
        hidden = [at(-ms) for ms in range(1, ITEMS_MAX + 2)]
        rig.world.post(at(-S), *hidden)
        rig.world.hidden = {*hidden}
        watch = await rig.begun()
        assert not rig.first.is_reset
        for place in (at(1), at(2)):
            rig.world.post(place)
            rig.world.poke(place)
            await watch.told(place)


class TestTooMuch:
    async def test_that_many_are_told_and_no_more(self, rig: Rig) -> None:
        rig.world.post(at(-1))
        watch = await rig.begun()
        first = [at(ms) for ms in range(ITEMS_MAX)]
        rig.world.post(*first)
        rig.world.poke(first[0])
        await watch.told(*first)
        second = [at(ms) for ms in range(ITEMS_MAX, 2 * ITEMS_MAX + 1)]
        rig.world.post(*second)
        rig.world.poke(second[0])
        assert await watch.next() == News((), (), second[-1], is_reset=True)
        rig.world.post(at(9 * S))
        rig.world.poke(at(9 * S))
        await watch.told(at(9 * S))

    async def test_new_posts_that_the_page_does_not_reach_for_hidden_ones(self, rig: Rig) -> None:
        new = [at(ms) for ms in range(1, ITEMS_MAX + 5)]
        rig.world.post(at(0), *new)
        rig.world.hidden = {*new[5:]}
        assert (await rig.stream(at(0)).next()).is_reset

    async def test_a_late_post_that_is_below_the_page(self, rig: Rig) -> None:
        """Then it can't be told; one that comes later than the overlap is not told of at all."""
        rig.world.post(*(at(ms) for ms in range(-1, ITEMS_MAX + 2)))
        watch = await rig.begun()
        looks = rig.world.looks
        rig.world.poke(at(-OVERLAP_MS))
        following = asyncio.create_task(watch.next())
        await rig.has_looked(looks + 1)
        assert not following.done()
        rig.world.poke(at(-1))
        assert (await following).is_reset


class TestWhoLooks:
    async def test_readers_of_a_pulled_author_and_those_of_whom_nobody_knows(
        self, rig: Rig
    ) -> None:
        rig.world.pull_author_ids = frozenset()
        other = await rig.begun(viewer_id=user(2))
        rig.world.pull_author_ids = None
        unknown = await rig.begun(viewer_id=user(3))
        rig.world.pull_author_ids = frozenset([STAR])
        reader = await rig.begun()
        rig.world.post(at(1))
        waiting = asyncio.create_task(other.next())
        rig.world.poke(at(1), STAR, are_authors=True)
        await unknown.told(at(1))
        await reader.told(at(1))
        assert rig.world.forgotten == [STAR]
        assert not waiting.done()
        waiting.cancel()

    async def test_who_is_poked_while_they_look_looks_again(self, rig: Rig) -> None:
        watch = await rig.begun()
        page, go_on = rig.world.page, asyncio.Event()

        async def slow_page(*asked: Any) -> HomePage:
            found = await page(*asked)
            await go_on.wait()
            return found

        rig.world.page = slow_page  # type: ignore[assignment, method-assign]
        following = asyncio.create_task(watch.told(at(1)))
        rig.world.poke(at(1))
        await rig.has_looked(2)
        rig.world.post(at(1))
        rig.world.poke(at(1))
        await until(rig.world.pokes.empty)
        go_on.set()
        await following

    async def test_everybody_after_pokes_were_not_heard(self, rig: Rig) -> None:
        watch = await rig.begun()
        rig.world.post(at(1))
        rig.world.watching.clear()
        rig.world.pokes.put_nowait(Unavailable())
        await watch.told(at(1))
        assert rig.world.watching[0] == [VIEWER]

    async def test_everybody_now_and_then(self) -> None:
        async with running(Rig(look_every_s=0.01)) as rig:
            watch = await rig.begun()
            assert await watch.next() == rig.first
            rig.world.post(at(1))
            news = await watch.next()
            while not news.items:
                news = await watch.next()
            assert news.places == (at(1),)

    async def test_nobody_who_has_left(self, rig: Rig) -> None:
        watch = await rig.begun()
        await watch.stream.aclose()
        assert not rig.live._streams

    async def test_nobody_who_cannot_be_told(self, rig: Rig) -> None:
        watch = await rig.begun()
        rig.world.error = Unavailable()
        rig.world.poke(at(1))
        with pytest.raises(Unavailable):
            await watch.next()
        assert not rig.live._streams


async def test_who_watches_is_told_on_and_on() -> None:
    async with running(Rig(limits=replace(AT_ONCE, watch_every_s=0.01))) as rig:
        watch = await rig.begun()
        assert [VIEWER] in rig.world.watching
        await until(lambda: rig.world.watching.count([VIEWER]) > 3)
        await watch.stream.aclose()
