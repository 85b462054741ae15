"""Whom a viewer follows, and whose things are hidden from them: as user_svc says, or said last.

Hidden people are asked for on every read, for all readers of a moment in one call, so a block acts
at once. When user_svc does not answer, the answer from before serves for an hour: from the memory
of this process, else from the copy of the viewer's graph that is kept in Redis and made again every
ten minutes for viewers who read.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from feed_svc.background import Background
from feed_svc.cache_store import CacheStore
from feed_svc.clients import People, graph_of_copy
from feed_svc.model import WHOLE, Hidden, Lack, Lacks, UserId, ViewerGraph
from svckit.batches import Coalescer, RoundSettings
from svckit.errors import Unavailable
from svckit.last_known import LastKnown, LastKnownSettings
from svckit.patience import Patience


@dataclass(frozen=True, slots=True)
class GraphLimits:
    hidden_timeout_s: float = 0.15
    hidden_rounds: RoundSettings = field(default_factory=lambda: RoundSettings(interval_s=0.010))
    copy_age_s: float = 600.0
    last_known: LastKnownSettings = field(default_factory=LastKnownSettings)


@dataclass(frozen=True, slots=True)
class _Known:
    """The last answer about a viewer, and when their graph was copied to Redis."""

    hidden: Hidden
    copied_at_s: float


Asked: TypeAlias = Awaitable[Hidden | None]
OLD_GRAPH: Lacks = frozenset({Lack.PRESENT_GRAPH})


class Viewer(NamedTuple):
    """The reader as a page knows them, from its first look to its last."""

    viewer_id: UserId
    hidden: Hidden
    followee_ids: frozenset[UserId] | None
    """None = not asked for so far."""
    lacks: Lacks


class Graphs:
    """The graphs of those who read."""

    def __init__(
        self,
        people: People,
        caches: CacheStore,
        patience: Patience,
        background: Background,
        clock_s: Callable[[], float] = time.monotonic,
        limits: GraphLimits | None = None,
    ) -> None:
        self._limits = limits = limits or GraphLimits()
        self._people = people
        self._caches = caches
        self._patience = patience
        self._background = background
        self._asked: Coalescer[UserId, Hidden] = Coalescer(self._ask, limits.hidden_rounds)
        self._clock_s = clock_s
        self._known: LastKnown[UserId, _Known] = LastKnown(
            lambda known: len(known.hidden.user_ids), limits.last_known, clock_s
        )

    def ask(self, viewer_id: UserId) -> Asked:
        """The question who is hidden is on its way from now on, with those of other readers."""
        return self._asked.ask(viewer_id)

    async def viewer(self, viewer_id: UserId, asked: Asked) -> Viewer:
        """Raises Unavailable when there is neither an answer nor one from before."""
        try:
            hidden = await asked
            assert hidden is not None
        except Unavailable as error:
            known = self.heard_before(viewer_id)
            hidden = known or (await self._copied(viewer_id, error))[1]
            return Viewer(viewer_id, hidden, None, OLD_GRAPH)
        self.heard(viewer_id, hidden)
        return Viewer(viewer_id, hidden, None, WHOLE)

    async def with_followees(self, viewer: Viewer) -> tuple[Viewer, frozenset[UserId]]:
        """The viewer with whom they follow, which is asked for unless it is known."""
        if viewer.followee_ids is not None:
            return viewer, viewer.followee_ids
        viewer_id, lacks = viewer.viewer_id, viewer.lacks
        try:
            async with self._patience.limit():
                graph, copy = await self._people.graph(viewer_id)
        except Unavailable as error:
            graph, _ = await self._copied(viewer_id, error)
            lacks |= OLD_GRAPH
        else:
            self._background.start(self._caches.put_graph(viewer_id, copy))
        viewer = viewer._replace(followee_ids=graph.followee_ids, lacks=lacks)
        return viewer, graph.followee_ids

    async def hidden_among(self, viewer: Viewer, user_ids: set[UserId]) -> frozenset[UserId]:
        """The hidden ones of a few people, also when there are more than could be told."""
        hidden_ids = viewer.hidden.user_ids
        others = user_ids - hidden_ids if viewer.hidden.truncated else None
        if not others:
            return hidden_ids
        async with self._patience.limit(self._limits.hidden_timeout_s):
            return hidden_ids | await self._people.hidden_among(viewer.viewer_id, others)

    def heard(self, viewer_id: UserId, hidden: Hidden) -> None:
        now_s, copy_age_s = self._clock_s(), self._limits.copy_age_s
        known = self._known.get(viewer_id)
        copied_at_s = now_s - copy_age_s if known is None else known.copied_at_s
        if now_s - copied_at_s >= copy_age_s and self._background.start(self._copy(viewer_id)):
            copied_at_s = now_s
        self._known.hear(viewer_id, _Known(hidden, copied_at_s))

    def heard_before(self, viewer_id: UserId) -> Hidden | None:
        known = self._known.get(viewer_id)
        return None if known is None else known.hidden

    async def _ask(self, viewer_ids: Sequence[UserId]) -> Mapping[UserId, Hidden]:
        async with self._patience.limit(self._limits.hidden_timeout_s):
            return await self._people.hidden(viewer_ids)

    async def _copy(self, viewer_id: UserId) -> None:
        _, copy = await self._people.graph(viewer_id)
        await self._caches.put_graph(viewer_id, copy)

    async def _copied(self, viewer_id: UserId, reason: Unavailable) -> tuple[ViewerGraph, Hidden]:
        copy = await self._caches.graph(viewer_id)
        if copy is None:
            raise reason
        return graph_of_copy(copy)
