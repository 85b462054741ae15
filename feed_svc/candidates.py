"""Which posts come next in a viewer's feed: from the hot window while it reaches, else cold.

Hot: the viewer's window, merged with the recent posts of those followed authors who are not in
windows. Every source is exact down to its floor, so the merge is exact down to the highest of the
floors, and never goes below. Cold: the posts of everybody followed, as content_svc has them. That
is the truth itself, so where a page comes from does not show in it.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from typing import NamedTuple

from feed_svc import metrics
from feed_svc.author_store import AuthorStore
from feed_svc.background import Background
from feed_svc.clients import Contents
from feed_svc.graphs import Graphs, Viewer
from feed_svc.model import (
    WHOLE,
    Lack,
    Lacks,
    Place,
    Source,
    UserId,
    Window,
    WindowState,
)
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


class Look(NamedTuple):
    """A question for the `limit` next places below one; the window is being read already."""

    before: Place
    limit: int
    window: Awaitable[Window]


class Found(NamedTuple):
    """Places in order, newest first, and what was learned on the way to them."""

    places: Sequence[Place]
    is_end: bool
    """There is nothing below the last of them."""
    viewer: Viewer
    pull_author_ids: Collection[UserId] | None
    """Followed authors whose posts are not in the window; None = no window served."""
    lacks: Lacks

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


class Candidates:
    """The next places of a feed, from wherever they are."""

    def __init__(
        self,
        graphs: Graphs,
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
                    *(contents.newest([each], recents_max) for each in asked)
                )
                for each, source in zip(asked, truths, strict=True):
                    found[each] = _Rising.of(source)
            return found

        self.windows = windows
        self._graphs = graphs
        self._contents = contents
        self._rebuilds = rebuilds
        self._patience = patience
        self.recents = ReadThrough(
            patience,
            stored_recents,
            true_recents,
            lambda recents: len(recents.places) * PLACE_BYTES,
            background,
            clock_s,
            limits.recents,
        )

    def look(self, viewer_id: UserId, before: Place, limit: int) -> Look:
        """The window is being read from now on; one place more tells whether there are more."""
        return Look(before, limit, self.windows.read(viewer_id, before, limit + 1))

    async def found(self, viewer: Viewer, look: Look) -> Found:
        """The next `limit`, or all that there are. Those of hidden authors may be among them."""
        before, wanted = look.before, look.limit + 1
        window, lacks = await self._ready(viewer, look)
        if window is None:
            viewer, places = await self._cold(viewer, before, wanted)
        else:
            hot = await self._hot(window, before, wanted)
            places = [*hot.places]
            if len(places) < wanted and hot.floor is not None:
                _READS["below"].inc()
                below = min(before, hot.floor)
                viewer, others = await self._cold(viewer, below, wanted - len(places))
                places += others
        return Found(
            places[: look.limit],
            len(places) < wanted,
            viewer,
            None if window is None else window.pull_author_ids,
            lacks | viewer.lacks,
        )

    async def _ready(self, viewer: Viewer, look: Look) -> tuple[Window | None, Lacks]:
        """None = it can't serve; if it's for want of a window, one is being built from now on."""
        try:
            window = await look.window
        except Unavailable:
            _READS["down"].inc()
            return None, frozenset({Lack.WINDOWS})
        if window.state is WindowState.READY:
            _READS["window"].inc()
            return window, WHOLE
        _READS[window.state.value].inc()
        self._rebuilds.kick(viewer.viewer_id)
        return None, WHOLE

    async def _hot(self, window: Window, before: Place, limit: int) -> Source:
        """All that is known below `before`, down to a floor: at most `limit`."""
        if not window.pull_author_ids:
            return window.source
        recents = (await self.recents.get(window.pull_author_ids)).values()
        floors = [window.source.floor, *(each.floor for each in recents)]
        floor = max((each for each in floors if each is not None), default=None)
        parts = [window.source.places, *(each.below(before, limit) for each in recents)]
        places: list[Place] = []
        for place in merge(*parts, reverse=True):
            if len(places) == limit or (floor is not None and place < floor):
                break
            if not places or place != places[-1]:  # a post in two sources is one post
                places.append(place)
        return Source(places, floor)

    async def _cold(self, viewer: Viewer, before: Place, limit: int) -> tuple[Viewer, list[Place]]:
        viewer, followee_ids = await self._graphs.with_followees(viewer)
        authors = (followee_ids | {viewer.viewer_id}) - viewer.hidden.user_ids
        async with self._patience.limit():
            return viewer, await self._contents.by_authors(authors, before, limit)
