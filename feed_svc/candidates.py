"""Which posts come next in a viewer's feed: from the hot window while it reaches, else cold.

Hot: the viewer's window, merged with the recent posts of those followed authors who are not in
windows. Every source is exact down to its floor, so the merge is exact down to the highest of the
floors, and never goes below. Cold: the posts of everybody followed, as content_svc has them. That
is the truth itself, so where a page comes from does not show in it.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from typing import NamedTuple

from feed_svc import metrics
from feed_svc.author_store import AuthorStore
from feed_svc.background import Background
from feed_svc.clients import Contents
from feed_svc.graphs import Viewer
from feed_svc.model import TOP, Place, Source, UserId, Window, WindowState
from feed_svc.read_through import ReadThrough, ReadThroughSettings
from feed_svc.rebuild import Rebuilds
from feed_svc.window_store import WindowStore
from svckit.errors import Unavailable
from svckit.patience import Patience

PLACE_BYTES = 130  # in memory

_READS = {
    where: metrics.READS.labels(where)
    for where in ("window", "below", "missing", "building", "down")
}


@dataclass(frozen=True, slots=True)
class CandidateLimits:
    authors_asked_at_once_max: int = 16
    recents: ReadThroughSettings = field(  # a pulled author's post is seen by all within a second
        default_factory=lambda: ReadThroughSettings(age_s_max=0.5)
    )


class Found(NamedTuple):
    """Places in order, newest first."""

    places: Sequence[Place]
    is_end: bool
    """There is nothing below the last of them."""

    @property
    def next_place(self) -> Place | None:
        return None if self.is_end else self.places[-1]


class _Rising(NamedTuple):
    """A Source the other way round, oldest first: places below another are found by bisection."""

    places: Sequence[Place]
    floor: Place | None

    @classmethod
    def of(cls, source: Source) -> "_Rising":
        return cls(source.places[::-1], source.floor)

    def below(self, before: Place, limit: int) -> Sequence[Place]:
        """The newest `limit` of them."""
        end = bisect_left(self.places, before)
        return self.places[max(0, end - limit) : end][::-1]


class Sources:
    """Everything that candidates come from."""

    def __init__(
        self,
        windows: WindowStore,
        authors: AuthorStore,
        contents: Contents,
        rebuilds: Rebuilds,
        patience: Patience,
        background: Background,
        clock_s: Callable[[], float] = time.monotonic,
        limits: CandidateLimits | None = None,
    ) -> None:
        limits = limits or CandidateLimits()
        recents_max, step = authors.recents_max, limits.authors_asked_at_once_max

        async def stored_recents(ids: Sequence[UserId]) -> Mapping[UserId, _Rising | None]:
            found = await authors.recents(ids)
            return {each: _Rising.of(source) for each, source in found.items()}

        async def true_recents(ids: Sequence[UserId]) -> Mapping[UserId, _Rising]:
            found: dict[UserId, _Rising] = {}
            for start in range(0, len(ids), step):
                asked = ids[start : start + step]
                truths = await asyncio.gather(
                    *(contents.by_authors([each], TOP, recents_max) for each in asked)
                )
                for each, places in zip(asked, truths, strict=True):
                    floor = None if len(places) < recents_max else places[-1]
                    found[each] = _Rising(places[::-1], floor)
            return found

        self.windows = windows
        self.contents = contents
        self.rebuilds = rebuilds
        self.patience = patience
        self.recents = ReadThrough(
            patience,
            stored_recents,
            true_recents,
            lambda recents: len(recents.places) * PLACE_BYTES,
            background,
            clock_s,
            limits.recents,
        )


class Candidates:
    """Of one viewer, for one page."""

    def __init__(self, sources: Sources, viewer: Viewer) -> None:
        self._sources = sources
        self._viewer = viewer
        self.has_window = False
        self.is_down = False
        """Redis does not answer."""
        self.pull_author_ids: Collection[UserId] | None = None
        """Followed authors who are not in the window; None = there is none to tell."""

    async def below(self, before: Place, limit: int) -> Found:
        """The next `limit`, or all that there are. Those of hidden authors may be among them."""
        wanted = limit + 1  # one more tells whether there are more
        window = await self._window(before, wanted)
        if window is None:
            places = await self._cold(before, wanted)
        else:
            hot = await self._hot(window, before, wanted)
            places = [*hot.places]
            if len(places) < wanted and hot.floor is not None:
                _READS["below"].inc()
                places += await self._cold(min(before, hot.floor), wanted - len(places))
        return Found(places[:limit], len(places) < wanted)

    async def _window(self, before: Place, limit: int) -> Window | None:
        """None = it can't serve; if it's for want of a window, one is being built from now on."""
        sources = self._sources
        reading = sources.windows.read(self._viewer.viewer_id, before, limit)
        await self._viewer.hidden()  # it takes longer, so only this one is waited for
        try:
            window = await reading
        except Unavailable:
            self.is_down = True
            _READS["down"].inc()
            return None
        self.has_window = window.state is WindowState.READY
        if self.has_window:
            self.pull_author_ids = window.pull_author_ids
            _READS["window"].inc()
            return window
        _READS[window.state.value].inc()
        sources.rebuilds.kick(self._viewer.viewer_id)
        return None

    async def _hot(self, window: Window, before: Place, limit: int) -> Source:
        """All that is known below `before`, down to a floor: at most `limit`."""
        if not window.pull_author_ids:
            return window.source
        recents = (await self._sources.recents.get(window.pull_author_ids)).values()
        floors = [window.source.floor, *(each.floor for each in recents)]
        floor = max((each for each in floors if each is not None), default=None)
        parts = [window.source.places, *(each.below(before, limit) for each in recents)]
        places: list[Place] = []
        for place in merge(*parts, reverse=True):
            if len(places) == limit or (floor is not None and place < floor):
                break
            if not places or place != places[-1]:  # what is in two sources is one post
                places.append(place)
        return Source(places, floor)

    async def _cold(self, before: Place, limit: int) -> list[Place]:
        graph, hidden = await self._viewer.graph(), await self._viewer.hidden()
        authors = (graph.followee_ids | {self._viewer.viewer_id}) - hidden.user_ids
        async with self._sources.patience.limit():
            return await self._sources.contents.by_authors(authors, before, limit)
