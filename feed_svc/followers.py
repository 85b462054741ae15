"""From an author's followers to their windows: chunks from user_svc, written in batches.

A few batches are being written at once, and the next chunk is read meanwhile. Memory is bounded,
however many followers there are.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from feed_svc.clients import People
from feed_svc.model import ID_BYTES, UserId


@dataclass(frozen=True, slots=True)
class BatchLimits:
    followers_max: int = 500
    batches_at_once_max: int = 3


async def write_to_followers(
    people: People,
    author_id: UserId,
    limits: BatchLimits,
    write: Callable[[bytes], Awaitable[object]],
) -> None:
    """Returns once all followers' packed ids were written; raises the first error."""
    free = asyncio.Semaphore(limits.batches_at_once_max)
    step = limits.followers_max * ID_BYTES

    async def write_batch(viewer_ids: bytes) -> None:
        await write(viewer_ids)
        free.release()

    try:
        async with asyncio.TaskGroup() as tasks, aclosing(people.follower_ids(author_id)) as chunks:
            async for chunk in chunks:
                for start in range(0, len(chunk), step):
                    await free.acquire()
                    tasks.create_task(write_batch(chunk[start : start + step]))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
