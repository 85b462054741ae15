"""Hot windows in the hands of operators: looked at, dropped, built anew or ahead of time."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from feed_svc.clients import People
from feed_svc.model import UserId, UserNotFound, WindowInfo, WindowState
from feed_svc.rebuild import Rebuilds
from feed_svc.window_store import WindowStore
from svckit.events.delivery import TRANSIENT


@dataclass(frozen=True, slots=True)
class AdminLimits:
    prewarmed_at_once_max: int = 8
    look_again_s: float = 0.1


class Prewarmed(NamedTuple):
    """How many windows were built, how many were there, and whose could not be built."""

    built_count: int
    present_count: int
    failed_ids: list[UserId]


class Admin:
    """A call about one person raises UserNotFound if the person is unknown or deleted."""

    def __init__(
        self, people: People, windows: WindowStore, rebuilds: Rebuilds, limits: AdminLimits
    ) -> None:
        self._people = people
        self._windows = windows
        self._rebuilds = rebuilds
        self._limits = limits

    async def info(self, viewer_id: UserId) -> WindowInfo:
        await self._require(viewer_id)
        return await self._windows.info(viewer_id)

    async def evict(self, viewer_id: UserId) -> WindowInfo:
        await self._require(viewer_id)
        await self._windows.evict(viewer_id)
        return await self._windows.info(viewer_id)

    async def rebuild(self, viewer_id: UserId) -> WindowInfo:
        """Returns once a build that began after the call stands."""
        if await self._build(viewer_id) is WindowState.MISSING:
            raise _not_found(viewer_id)
        return await self._windows.info(viewer_id)

    async def prewarm(self, viewer_ids: Iterable[UserId]) -> Prewarmed:
        """A window that could not be built is told, not raised."""
        waiting = [*dict.fromkeys(viewer_ids)]
        outcomes: dict[UserId, str] = {}

        async def work() -> None:
            while waiting:
                viewer_id = waiting.pop()
                outcomes[viewer_id] = await self._prewarm(viewer_id)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._limits.prewarmed_at_once_max):
                tasks.create_task(work())
        told = [*outcomes.values()]
        failed_ids = [each for each, outcome in outcomes.items() if outcome == "failed"]
        return Prewarmed(told.count("built"), told.count("present"), failed_ids)

    async def _prewarm(self, viewer_id: UserId) -> str:
        try:
            state, _ = await self._windows.floor(viewer_id)
            if state is WindowState.READY:
                return "present"
            state = await self._build(viewer_id)
        except TRANSIENT:
            return "failed"
        return "built" if state is WindowState.READY else "failed"

    async def _build(self, viewer_id: UserId) -> WindowState:
        """READY, or MISSING when there is no such viewer; waits while somebody else builds."""
        while True:
            state = await self._rebuilds.rebuild(viewer_id)
            if state is not WindowState.BUILDING:
                return state
            await asyncio.sleep(self._limits.look_again_s)

    async def _require(self, viewer_id: UserId) -> None:
        if await self._people.follower_count(viewer_id) is None:
            raise _not_found(viewer_id)


def _not_found(viewer_id: UserId) -> UserNotFound:
    return UserNotFound(user_id=str(UUID(bytes=viewer_id)))
