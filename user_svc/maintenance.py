"""Work that nobody waits for: folding counts, purging edges of the deleted, old sessions.

Any number of processes may run it: each step takes what no other one has. Each step is bounded, and
does nothing wrong when it is done twice or cut off.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from svckit.errors import DomainError
from user_svc import metrics
from user_svc.graph_store import GraphStore
from user_svc.session_store import SessionStore

logger = logging.getLogger(__name__)

FOLD_INTERVAL_S = 1.0
FOLD_BATCH = 1_000
PURGE_INTERVAL_S = 0.5
PURGE_BATCH = 500
SESSIONS_INTERVAL_S = 60.0
SESSIONS_BATCH = 1_000
REVOKED_SESSIONS_KEPT = timedelta(hours=1)


class Maintenance:
    """The tasks of the role `relay`, beside the relay itself."""

    def __init__(
        self,
        graph: GraphStore,
        sessions: SessionStore,
        clock: Callable[[], datetime],
    ) -> None:
        self._graph = graph
        self._sessions = sessions
        self._clock = clock

    async def run(self) -> None:
        """For ever. A step that fails is logged and tried again at its next turn."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_repeat(self.fold_counts, FOLD_INTERVAL_S))
            group.create_task(_repeat(self.purge_deleted, PURGE_INTERVAL_S))
            group.create_task(_repeat(self.delete_old_sessions, SESSIONS_INTERVAL_S))

    async def fold_counts(self) -> None:
        folded = FOLD_BATCH
        while folded == FOLD_BATCH:
            folded = await self._graph.fold_counts(FOLD_BATCH)
            metrics.COUNTS_FOLDED.inc(folded)

    async def purge_deleted(self) -> None:
        while await self._graph.purge_edges(PURGE_BATCH):
            metrics.PURGE_BATCHES.inc()

    async def delete_old_sessions(self) -> None:
        now = self._clock()
        while await self._sessions.delete_old_sessions(
            now - REVOKED_SESSIONS_KEPT, now, SESSIONS_BATCH
        ):
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
