"""Work that nobody waits for: folding counts, purging edges of the deleted, old sessions.

Any number of processes may run it: each step takes what no other one has. Each step is bounded, and
does nothing wrong when it is done twice or cut off.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from svckit.errors import DomainError
from user_svc import metrics
from user_svc.upkeep_store import UpkeepStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MaintenanceSettings:
    """How often each step is taken, and how much it does at once."""

    fold_every_s: float = 1.0
    fold_deltas_max: int = 1_000
    purge_every_s: float = 0.5
    purge_edges_max: int = 500  # of each table
    sessions_every_s: float = 60.0
    sessions_max: int = 1_000
    revoked_sessions_kept: timedelta = timedelta(hours=1)


class Maintenance:
    """The tasks of the role `relay`, beside the relay itself."""

    def __init__(
        self, store: UpkeepStore, clock: Callable[[], datetime], settings: MaintenanceSettings
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings

    async def run(self) -> None:
        """For ever. A step that fails is logged and tried again at its next turn."""
        settings = self._settings
        async with asyncio.TaskGroup() as group:
            group.create_task(_repeat(self.fold_counts, settings.fold_every_s))
            group.create_task(_repeat(self.purge_deleted, settings.purge_every_s))
            group.create_task(_repeat(self.delete_old_sessions, settings.sessions_every_s))

    async def fold_counts(self) -> None:
        folded = most = self._settings.fold_deltas_max
        while folded == most:
            folded = await self._store.fold_counts(most)
            metrics.COUNTS_FOLDED.inc(folded)

    async def purge_deleted(self) -> None:
        while await self._store.purge_edges(self._settings.purge_edges_max):
            metrics.PURGE_BATCHES.inc()

    async def delete_old_sessions(self) -> None:
        now, most = self._clock(), self._settings.sessions_max
        revoked_before = now - self._settings.revoked_sessions_kept
        while await self._store.delete_old_sessions(revoked_before, now, most):
            pass


async def _repeat(step: Callable[[], Awaitable[None]], interval_s: float) -> None:
    while True:
        try:
            await step()
        except DomainError as error:
            logger.warning(
                "maintenance_failed", extra={"step": step.__name__, "error": repr(error)}
            )
        await asyncio.sleep(interval_s)
