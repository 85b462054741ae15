"""A page of a home feed, in four steps: candidates, hydrate, rules, page.

What must be left out is made up for by another look further down, a bounded number of times, each
twice as far. A page that is still short goes on where the last look ended; only the end is the end.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from feed_svc import metrics
from feed_svc.background import Background
from feed_svc.candidates import Candidates, Found, Sources
from feed_svc.graphs import Graphs, Viewer
from feed_svc.hydrate import Hydrator, Item
from feed_svc.model import Place, PostId, UserId
from feed_svc.ports import Engagement
from svckit.errors import Unavailable


@dataclass(frozen=True, slots=True)
class HomeLimits:
    looks_max: int = 6  # the first, and five more
    page_bytes_max: int = 2 * 1024 * 1024  # half of what a message may have


class HomePage(NamedTuple):
    """`items` are encoded messages; `next_place` is where to go on, None = that was all."""

    items: Sequence[bytes]
    places: Sequence[Place]
    next_place: Place | None
    is_degraded: bool
    pull_author_ids: Collection[UserId] | None
    """Followed authors whose posts are not delivered; None = it was not looked for."""


class Home:
    """The use case of reading."""

    def __init__(
        self,
        graphs: Graphs,
        sources: Sources,
        hydrator: Hydrator,
        engagement: Engagement,
        background: Background,
        limits: HomeLimits | None = None,
    ) -> None:
        self._graphs = graphs
        self._sources = sources
        self._hydrator = hydrator
        self._engagement = engagement
        self._background = background
        self._limits = limits or HomeLimits()

    async def page(
        self, viewer_id: UserId, before: Place, size: int, after_post_id: PostId | None = None
    ) -> HomePage:
        """Up to `size` items below `before`, fewer if they are large.

        The viewer's own post `after_post_id` is in its place, whether it was delivered or not.
        """
        viewer = self._graphs.of(viewer_id)
        candidates = Candidates(self._sources, viewer)
        own, is_degraded = await self._own_place(viewer_id, after_post_id)
        items: list[Item] = []
        gone_ids: list[PostId] = []
        place: Place | None = before
        look = 0
        while place is not None and len(items) < size and look < self._limits.looks_max:
            wanted = size - len(items)
            found = await candidates.below(place, wanted << look)
            if own is not None:
                found, own = _with_own(found, own, wanted), None
            hydrated = await self._hydrator.items([post_id for _, post_id in found.places])
            kept = await _visible(viewer, hydrated.items)
            items += kept[:wanted]
            gone_ids += hydrated.gone_ids
            is_degraded |= hydrated.lacks_cards
            place = items[-1].place if len(kept) > wanted else found.next_place
            look += 1
        items, place = _fitting(items, place, self._limits.page_bytes_max)
        if look > 1:
            metrics.REFILLS.inc(look - 1)
        if gone_ids and candidates.has_window:
            self._background.start(self._sources.windows.forget(viewer_id, gone_ids))
        engagement = await self._engagement.of(viewer_id, [item.place[1] for item in items])
        is_degraded |= candidates.is_down or viewer.is_old or len(engagement) < len(items)
        if is_degraded:
            metrics.PAGES_DEGRADED.inc()
        encoded = [item.encoded + engagement.get(item.place[1], b"") for item in items]
        places = [item.place for item in items]
        return HomePage(encoded, places, place, is_degraded, candidates.pull_author_ids)

    async def _own_place(
        self, viewer_id: UserId, post_id: PostId | None
    ) -> tuple[Place | None, bool]:
        """And whether it could not be told."""
        if post_id is None:
            return None, False
        try:
            return await self._hydrator.place_of_own(viewer_id, post_id), False
        except Unavailable:
            return None, True


async def _visible(viewer: Viewer, items: Sequence[Item]) -> Sequence[Item]:
    """Without those of hidden authors, and without shares of what is theirs."""
    hidden = await viewer.hidden()
    hidden_ids = hidden.user_ids
    if hidden.truncated:
        authors = {item.author_id for item in items}
        authors |= {item.shared_author_id for item in items if item.shared_author_id}
        hidden_ids = await viewer.hidden_among(authors)
    if not hidden_ids:
        return items
    return [
        item
        for item in items
        if item.author_id not in hidden_ids and item.shared_author_id not in hidden_ids
    ]


def _fitting(items: list[Item], place: Place | None, room: int) -> tuple[list[Item], Place | None]:
    """As many as fit into an answer; the next page goes on after them."""
    for count, item in enumerate(items):
        room -= len(item.encoded)
        if room < 0:
            return items[:count], items[count - 1].place
    return items, place


def _with_own(found: Found, own: Place, limit: int) -> Found:
    """The same, with a place that may not be there yet."""
    if own in found.places:
        return found
    places = sorted((*found.places, own), reverse=True)
    return Found(places[:limit], found.is_end and len(places) <= limit)
