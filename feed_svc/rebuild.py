"""Hot windows built from the truth, while fan-out goes on writing into them.

A build begins with an empty window, into which fan-out delivers from then on. The truth, read after
that from user_svc and content_svc, is merged in at the end, unless a follow, an unfollow or a tier
change touched the window meanwhile: then the truth is read again.
"""

from dataclasses import dataclass

from feed_svc import metrics
from feed_svc.author_store import AuthorStore
from feed_svc.background import Background
from feed_svc.cache_store import CacheStore
from feed_svc.clients import Contents, People
from feed_svc.model import Build, UserId, WindowState
from feed_svc.window_store import WindowStore


@dataclass(frozen=True, slots=True)
class RebuildLimits:
    attempts_max: int = 5


class Rebuilds:
    """Builds windows, one build a viewer at a time. `background` says how many may be kicked."""

    def __init__(
        self,
        people: People,
        contents: Contents,
        windows: WindowStore,
        authors: AuthorStore,
        caches: CacheStore,
        background: Background,
        limits: RebuildLimits | None = None,
    ) -> None:
        self._people = people
        self._contents = contents
        self._windows = windows
        self._authors = authors
        self._caches = caches
        self._background = background
        self._limits = limits or RebuildLimits()
        self._kicked: set[UserId] = set()

    async def rebuild(self, viewer_id: UserId) -> WindowState:
        """READY; MISSING = no such viewer; BUILDING = not done: others build it, or hindered us."""
        outcome = "failed"
        try:
            state, outcome = await self._rebuild(viewer_id)
        finally:
            metrics.REBUILDS.labels(outcome).inc()
        return state

    def kick(self, viewer_id: UserId) -> None:
        """Builds the window in the background, unless that is under way or there is no room."""
        if viewer_id not in self._kicked and self._background.start(self._once(viewer_id)):
            self._kicked.add(viewer_id)

    async def _once(self, viewer_id: UserId) -> None:
        try:
            await self.rebuild(viewer_id)
        finally:
            self._kicked.discard(viewer_id)

    async def _rebuild(self, viewer_id: UserId) -> tuple[WindowState, str]:
        build = await self._windows.begin(viewer_id)
        if build is None:
            return WindowState.BUILDING, "busy"
        with metrics.REBUILD_SECONDS.time():
            return await self._build(build)

    async def _build(self, build: Build) -> tuple[WindowState, str]:
        viewer_id = build.viewer_id
        for _ in range(self._limits.attempts_max):
            graph, copy = await self._people.graph(viewer_id)
            if not graph.exists:
                await self._windows.evict(viewer_id)
                return WindowState.MISSING, "gone"
            await self._caches.put_graph(viewer_id, copy)
            if await self._fill(build, graph.followee_ids):
                return WindowState.READY, "built"
            again = await self._windows.regenerate(build)
            if again is None:
                return WindowState.BUILDING, "lost"
            build = again
        await self._windows.evict(viewer_id)
        return WindowState.BUILDING, "lost"

    async def _fill(self, build: Build, followee_ids: frozenset[UserId]) -> bool:
        """False = the window was touched while the truth was being read."""
        pulled = followee_ids & await self._authors.pulled()
        authors = followee_ids - pulled | {build.viewer_id}
        source = await self._contents.newest(authors, self._windows.entries_max)
        return await self._windows.finish(build, source, pulled)
