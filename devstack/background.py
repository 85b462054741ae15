"""Work that runs beside a block of code, and no longer."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager


@asynccontextmanager
async def in_background(
    *work: Coroutine[None, None, None],
) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
    """Runs each beside the block, in a task; the failure of one fails the block's end."""
    tasks = [asyncio.create_task(job) for job in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()
