"""Small jobs that no caller waits for: copies to keep, entries to refresh, ids to forget."""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Self

from svckit.errors import DeadlineExceeded, Unavailable

logger = logging.getLogger(__name__)


class Background:
    """Runs at most `jobs_max` at once and leaves out the rest: a caller in need asks again."""

    def __init__(self, jobs_max: int) -> None:
        self._jobs_max = jobs_max
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, job: Coroutine[Any, Any, None]) -> bool:
        """False = there was no room, and the job was not begun."""
        if len(self._tasks) >= self._jobs_max:
            job.close()
            return False
        # In no call's context: it outlives the call, and its deadline.
        task = asyncio.get_running_loop().create_task(_run(job), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def idle(self) -> None:
        """Returns once nothing runs."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await self.idle()


async def _run(job: Coroutine[Any, Any, None]) -> None:
    try:
        await job
    except (Unavailable, DeadlineExceeded) as error:
        logger.debug("background_job_put_off", extra={"error": repr(error)})
    except Exception:
        logger.exception("background_job_failed")
