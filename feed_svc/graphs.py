"""Whom a viewer follows, and whose things are hidden from them: as user_svc says, or said last.

Who is hidden is asked on every read, for all readers of a moment in one call, so a block acts at
once. When user_svc does not answer, what is known from before serves for an hour: from the memory
of this process, else from the copy of the viewer's graph that is kept in Redis and made again every
ten minutes for viewers who read.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from feed_svc.background import Background
from feed_svc.cache_store import CacheStore
from feed_svc.clients import People, graph_of_copy
from feed_svc.model import Hidden, UserId, ViewerGraph
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
    """What was heard last of a viewer, and when their graph was copied to Redis."""

    hidden: Hidden
    copied_at_s: float


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
        self.limits = limits = limits or GraphLimits()
        self.people = people
        self.caches = caches
        self.patience = patience
        self.background = background
        self.asked: Coalescer[UserId, Hidden] = Coalescer(self._ask, limits.hidden_rounds)
        self._clock_s = clock_s
        self._known: LastKnown[UserId, _Known] = LastKnown(
            lambda known: len(known.hidden.user_ids), limits.last_known, clock_s
        )

    def of(self, viewer_id: UserId) -> "Viewer":
        return Viewer(self, viewer_id)

    def heard(self, viewer_id: UserId, hidden: Hidden) -> None:
        now_s, copy_age_s = self._clock_s(), self.limits.copy_age_s
        known = self._known.get(viewer_id)
        copied_at_s = now_s - copy_age_s if known is None else known.copied_at_s
        if now_s - copied_at_s >= copy_age_s and self.background.start(self._copy(viewer_id)):
            copied_at_s = now_s
        self._known.hear(viewer_id, _Known(hidden, copied_at_s))

    def heard_before(self, viewer_id: UserId) -> Hidden | None:
        known = self._known.get(viewer_id)
        return None if known is None else known.hidden

    async def _ask(self, viewer_ids: Sequence[UserId]) -> Mapping[UserId, Hidden]:
        async with self.patience.limit(self.limits.hidden_timeout_s):
            return await self.people.hidden(viewer_ids)

    async def _copy(self, viewer_id: UserId) -> None:
        _, copy = await self.people.graph(viewer_id)
        await self.caches.put_graph(viewer_id, copy)


class Viewer:
    """One viewer, for one page: everything is asked once. Who is hidden is being asked already."""

    def __init__(self, graphs: Graphs, viewer_id: UserId) -> None:
        self.viewer_id = viewer_id
        self.is_old = False
        """Something is not as user_svc says now, but as it said before."""
        self._graphs = graphs
        self._asked = graphs.asked.ask(viewer_id)
        self._hidden: Hidden | None = None
        self._graph: ViewerGraph | None = None

    async def hidden(self) -> Hidden:
        if self._hidden is None:
            try:
                self._hidden = await self._asked
                assert self._hidden is not None
                self._graphs.heard(self.viewer_id, self._hidden)
            except Unavailable as error:
                self.is_old = True
                known = self._graphs.heard_before(self.viewer_id)
                self._hidden = known or (await self._copy(error))[1]
        return self._hidden

    async def hidden_among(self, user_ids: set[UserId]) -> frozenset[UserId]:
        """Those of a few people who are hidden, also when there are more than could be told."""
        hidden = await self.hidden()
        others = user_ids - hidden.user_ids if hidden.truncated else None
        if not others:
            return hidden.user_ids
        async with self._graphs.patience.limit(self._graphs.limits.hidden_timeout_s):
            more = await self._graphs.people.hidden_among(self.viewer_id, others)
        return hidden.user_ids | more

    async def graph(self) -> ViewerGraph:
        if self._graph is None:
            try:
                async with self._graphs.patience.limit():
                    self._graph, copy = await self._graphs.people.graph(self.viewer_id)
            except Unavailable as error:
                self.is_old = True
                self._graph = (await self._copy(error))[0]
            else:
                caches = self._graphs.caches
                self._graphs.background.start(caches.put_graph(self.viewer_id, copy))
        return self._graph

    async def _copy(self, reason: Unavailable) -> tuple[ViewerGraph, Hidden]:
        copy = await self._graphs.caches.graph(self.viewer_id)
        if copy is None:
            raise reason
        return graph_of_copy(copy)
