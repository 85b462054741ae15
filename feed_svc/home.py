"""A page of a home feed, in four steps: candidates, hydrate, rules, page.

Each step takes the value of the one before it, and tells what it had to do without. Posts that must
be left out are made up for by another look further down, a bounded number of times, each twice as
far. A page that is still short goes on where the last look ended; only the end is the end.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from feed_svc import metrics
from feed_svc.background import Background
from feed_svc.candidates import Candidates, Found
from feed_svc.graphs import Graphs, Viewer
from feed_svc.hydrate import Hydrated, Hydrator, Item
from feed_svc.model import WHOLE, Lack, Lacks, Place, PostId, UserId
from svckit.errors import Unavailable

Engagement: TypeAlias = Callable[[UserId, Sequence[PostId]], Awaitable[Mapping[PostId, bytes]]]
"""The deeds of people, and of the viewer among them, with posts.

Encoded: the fields `engagement` and `viewer` of a FeedItem, for each of the posts. Raises nothing:
a post that is left out is shown without, on a page that is degraded.
"""


@dataclass(frozen=True, slots=True)
class HomeLimits:
    looks_max: int = 6  # the first, and five more
    page_bytes_max: int = 2 * 1024 * 1024  # half of what a message may have


class HomePage(NamedTuple):
    """`items` are encoded messages; `next_place` is where to go on, None = that was all."""

    items: Sequence[bytes]
    places: Sequence[Place]
    next_place: Place | None
    lacks: Lacks
    pull_author_ids: Collection[UserId] | None
    """Followed authors whose posts are not delivered; None = no window tells."""


class _Draft(NamedTuple):
    """A page after some looks: what it shows, and where the next look begins."""

    items: Sequence[Item]
    gone_ids: Sequence[PostId]
    next_place: Place | None
    pull_author_ids: Collection[UserId] | None
    lacks: Lacks


class Home:
    """The use case of reading."""

    def __init__(
        self,
        graphs: Graphs,
        candidates: Candidates,
        hydrator: Hydrator,
        engagement: Engagement,
        background: Background,
        limits: HomeLimits | None = None,
    ) -> None:
        self._graphs = graphs
        self._candidates = candidates
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
        asked = self._graphs.ask(viewer_id)
        own, lacks = await self._own_place(viewer_id, after_post_id)
        look = self._candidates.look(viewer_id, before, size)  # both are on their way by now
        viewer = await self._graphs.viewer(viewer_id, asked)
        draft = _Draft((), (), before, None, lacks)
        looks = 0
        while True:
            found = await self._candidates.found(viewer, look)
            if own is not None:
                found, own = _with_own(found, own, size), None
            viewer = found.viewer
            hydrated = await self._hydrator.items([post_id for _, post_id in found.places])
            kept = await self._visible(viewer, hydrated.items)
            draft = _joined(draft, found, hydrated, kept, size - len(draft.items))
            looks += 1
            place, missing = draft.next_place, size - len(draft.items)
            if place is None or not missing or looks == self._limits.looks_max:
                break
            look = self._candidates.look(viewer_id, place, missing << looks)
        if looks > 1:
            metrics.REFILLS.inc(looks - 1)
        if draft.gone_ids and draft.pull_author_ids is not None:
            self._background.start(self._candidates.windows.forget(viewer_id, draft.gone_ids))
        return await self._page(viewer_id, draft)

    async def _own_place(
        self, viewer_id: UserId, post_id: PostId | None
    ) -> tuple[Place | None, Lacks]:
        if post_id is None:
            return None, WHOLE
        try:
            return await self._hydrator.place_of_own(viewer_id, post_id), WHOLE
        except Unavailable:
            return None, frozenset({Lack.OWN_WRITE})

    async def _visible(self, viewer: Viewer, items: Sequence[Item]) -> Sequence[Item]:
        """Without those of hidden authors, and without shares of what is theirs."""
        hidden_ids = viewer.hidden.user_ids
        if viewer.hidden.truncated:
            authors = {item.author_id for item in items}
            authors |= {item.shared_author_id for item in items if item.shared_author_id}
            hidden_ids = await self._graphs.hidden_among(viewer, authors)
        if not hidden_ids:
            return items
        return [
            item
            for item in items
            if item.author_id not in hidden_ids and item.shared_author_id not in hidden_ids
        ]

    async def _page(self, viewer_id: UserId, draft: _Draft) -> HomePage:
        items, place = _fitting(draft.items, draft.next_place, self._limits.page_bytes_max)
        engagement = await self._engagement(viewer_id, [item.place[1] for item in items])
        lacks = draft.lacks
        if len(engagement) < len(items):
            lacks |= {Lack.ENGAGEMENT}
        if lacks:
            metrics.PAGES_DEGRADED.inc()
        encoded = [item.encoded + engagement.get(item.place[1], b"") for item in items]
        places = [item.place for item in items]
        return HomePage(encoded, places, place, lacks, draft.pull_author_ids)


def _joined(
    draft: _Draft, found: Found, hydrated: Hydrated, kept: Sequence[Item], wanted: int
) -> _Draft:
    """The draft, and up to `wanted` of what a look has brought."""
    items = (*draft.items, *kept[:wanted])
    return _Draft(
        items,
        (*draft.gone_ids, *hydrated.gone_ids),
        items[-1].place if len(kept) > wanted else found.next_place,
        found.pull_author_ids,
        draft.lacks | found.lacks | hydrated.lacks,
    )


def _fitting(
    items: Sequence[Item], place: Place | None, room: int
) -> tuple[Sequence[Item], Place | None]:
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
    return found._replace(places=places[:limit], is_end=found.is_end and len(places) <= limit)
