"""Live feeds: a stream is a reader that is poked, not a queue of posts.

All posts that a stream sends come from the use case that serves pages, which knows of order, of
rules and of a missing Redis. This module only decides when to look again, and which items of the
newest page are new. Pokes may be lost, so a stream looks every now and then anyway; they may come
faster than they are answered, or while a slow reader holds a message up: the lowest stands for all.
"""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from feed_svc import metrics
from feed_svc.home import Home, HomePage
from feed_svc.live_store import LiveStore, Poke
from feed_svc.model import TOP, Place, PostId, UserId
from svckit.backoff import backoff_s
from svckit.errors import FieldViolation, InvalidArgument, ResourceExhausted, Unavailable

logger = logging.getLogger(__name__)

_BOTTOM: Place = (0, PostId(b""))


@dataclass(frozen=True, slots=True)
class LiveLimits:
    items_max: int = 20  # in a message; of twice as many it is remembered that they were sent
    streams_per_viewer_max: int = 20
    looks_at_once_max: int = 100
    overlap_ms: int = 10_000  # so much later than newer ones posts may come and are not missed
    gather_s: float = 0.04  # pokes that come together are one look
    look_interval_s: float = 0.25  # from one look of a stream to the next
    watch_every_s: float = 10.0
    reconnect_min_s: float = 0.1
    reconnect_max_s: float = 2.0


class InvalidResumeToken(InvalidArgument):
    reason = "INVALID_RESUME_TOKEN"
    message = "The resume token is not one that a stream of yours gave you."

    def __init__(self) -> None:
        description = "must be the resume_token of an earlier message, unchanged"
        super().__init__([FieldViolation("resume_token", description)])


class News(NamedTuple):
    """The next message, newest first; neither items nor reset = a sign of life."""

    items: Sequence[bytes]
    places: Sequence[Place]
    since: Place
    """From where to resume."""
    is_reset: bool


class _Stream:
    """The memory of a stream: the same little, however much happens."""

    def __init__(self, viewer_id: UserId, since: Place | None, limits: LiveLimits) -> None:
        self.viewer_id = viewer_id
        self.pull_author_ids: Collection[UserId] | None = None
        """None = it is not known whose posts are not delivered."""
        self.poked = asyncio.Event()
        self._lowest = TOP
        self._since = since
        self._limits = limits
        self._seen: frozenset[Place] = frozenset()

    def poke(self, place: Place = TOP) -> None:
        """There may be something new, at `place` if it is known where."""
        self._lowest = min(self._lowest, place)
        self.poked.set()
        metrics.POKES.inc()

    def rest(self) -> Place:
        """Returns the lowest of the pokes so far: a poke from now on is for the next look."""
        lowest, self._lowest = self._lowest, TOP
        self.poked.clear()
        return lowest

    def news(self, page: HomePage, lowest: Place, now_ms: int) -> News:
        """The new items of the newest page; before the first look all of them count as known."""
        is_whole = page.next_place is None
        newest = (*page.places, _BOTTOM if is_whole else (now_ms, _BOTTOM[1]))[0]
        since = self._since or newest
        floor = (since[0] - self._limits.overlap_ms, _BOTTOM[1])
        bound = min(floor if self._since else TOP, lowest)
        new = [
            (item, place)
            for item, place in zip(page.items, page.places, strict=True)
            if place >= bound and place not in self._seen
        ]
        # A poke from far below is not looked for: much may be told again, and none of it is new.
        wanted = min(since, lowest) if lowest >= floor else since
        is_reset = len(new) > self._limits.items_max or (page.next_place or _BOTTOM) > wanted
        self._since = max(since, newest)
        seen = sorted({*self._seen, *page.places}, reverse=True)
        self._seen = frozenset(seen[: 2 * self._limits.items_max])
        self.pull_author_ids = page.pull_author_ids
        items, places = zip(*new, strict=True) if new and not is_reset else ((), ())
        return News(items, places, self._since, is_reset)


class Live:
    """The use case of watching. `forget_recents` is called when those of an author have changed."""

    def __init__(
        self,
        home: Home,
        store: LiveStore,
        forget_recents: Callable[[UserId], None],
        look_every_s: float,
        clock_ms: Callable[[], int],
        limits: LiveLimits | None = None,
    ) -> None:
        self._home = home
        self._store = store
        self._forget_recents = forget_recents
        self._look_every_s = look_every_s
        self._clock_ms = clock_ms
        self._streams: defaultdict[UserId, set[_Stream]] = defaultdict(set)
        self._limits = limits or LiveLimits()
        self._looks = asyncio.Semaphore(self._limits.looks_at_once_max)

    async def watch(self, viewer_id: UserId, since: Place | None) -> AsyncGenerator[News]:
        """The news from `since` on, or from now on; the first comes at once, without end.

        Raises Unavailable when there is no telling: resume then.
        """
        with self._joined(_Stream(viewer_id, since, self._limits)) as stream:
            await self._tell_that_they_watch([viewer_id])
            yield await self._look(stream)
            while True:
                news = await self._next(stream)
                for time_ms, _ in news.places:
                    metrics.LIVE_AGE.observe(max(0, self._clock_ms() - time_ms) / 1000)
                yield news

    async def run(self) -> None:
        """For ever: tells fan-out which viewers watch here, and pokes streams when it is told."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_watching())
            tasks.create_task(self._keep_listening())

    @contextmanager
    def _joined(self, stream: _Stream) -> Iterator[_Stream]:
        streams = self._streams[stream.viewer_id]
        if len(streams) >= self._limits.streams_per_viewer_max:
            raise ResourceExhausted(retry_after_s=self._look_every_s)
        streams.add(stream)
        metrics.STREAMS.inc()
        try:
            yield stream
        finally:
            metrics.STREAMS.dec()
            streams.remove(stream)
            if not streams:
                del self._streams[stream.viewer_id]

    async def _next(self, stream: _Stream) -> News:
        loop = asyncio.get_running_loop()
        limits, now_s = self._limits, loop.time()
        due_s = now_s + self._look_every_s * random.uniform(0.8, 1)  # noqa: S311
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    await stream.poked.wait()
            await asyncio.sleep(max(limits.gather_s, now_s + limits.look_interval_s - loop.time()))
            now_s = loop.time()
            news = await self._look(stream)
            if news.items or news.is_reset or now_s >= due_s:
                return news

    async def _look(self, stream: _Stream) -> News:
        async with self._looks:
            lowest = stream.rest()
            page = await self._home.page(stream.viewer_id, TOP, self._limits.items_max + 1)
        news = stream.news(page, lowest, self._clock_ms())
        metrics.LOOKS.inc()
        metrics.RESETS.inc(news.is_reset)
        return news

    async def _keep_watching(self) -> None:
        while True:
            await self._tell_that_they_watch([*self._streams])
            await asyncio.sleep(self._limits.watch_every_s)

    async def _tell_that_they_watch(self, viewer_ids: Collection[UserId]) -> None:
        with suppress(Unavailable):  # without Redis nobody is told anything
            await self._store.watch(viewer_ids)

    async def _keep_listening(self) -> None:
        min_s, max_s = self._limits.reconnect_min_s, self._limits.reconnect_max_s
        pauses_s = backoff_s(min_s, max_s)
        while True:
            try:
                async with self._store.subscribed() as pokes:
                    pauses_s = backoff_s(min_s, max_s)
                    await self._tell_that_they_watch([*self._streams])
                    for stream in self._all():  # what they were told before was not heard
                        stream.poke()
                    async for poke in pokes:
                        self._hear(poke)
            except Unavailable as error:
                logger.info("live_pokes_not_heard", extra={"error": repr(error.__cause__)})
            await asyncio.sleep(next(pauses_s))

    def _hear(self, poke: Poke) -> None:
        if not poke.are_authors:
            for viewer_id in poke.user_ids:
                for stream in self._streams.get(viewer_id, ()):
                    stream.poke(poke.place)
            return
        for author_id in poke.user_ids:
            self._forget_recents(author_id)
            for stream in self._all():
                pulled = stream.pull_author_ids
                if pulled is None or author_id in pulled:
                    stream.poke(poke.place)

    def _all(self) -> Iterator[_Stream]:
        return chain.from_iterable(self._streams.values())
