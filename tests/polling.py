"""Waiting for something to become true, with a deadline instead of a sleep."""

import asyncio
from collections.abc import Awaitable, Callable

POLL_S = 0.005
# A busy machine may be so much later than a claim about seconds says.
LATE_S = 1.0


async def until(condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = 30.0) -> None:
    """Returns once `condition` holds; raises TimeoutError when it never does."""
    async with asyncio.timeout(timeout_s):
        while True:
            holds = condition()
            if not isinstance(holds, bool):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(POLL_S)
