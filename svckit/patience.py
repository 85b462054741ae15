"""How long a reader waits for another service: long while it answers, short once it has not.

So a service that is busy is waited for, and one that is gone or stuck keeps nobody waiting but
those who find out.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from svckit.errors import DeadlineExceeded, Unavailable

LONG_S = 0.6
SHORT_S = 0.25

FAILURES = (Unavailable, DeadlineExceeded, TimeoutError)


class Patience:
    """With one service, for all who call it."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._is_there = True

    @asynccontextmanager
    async def limit(self, longest_s: float = LONG_S) -> AsyncGenerator[None]:
        """Ends what waits in the block for too long, or fails, as Unavailable."""
        try:
            async with asyncio.timeout(longest_s if self._is_there else min(longest_s, SHORT_S)):
                yield
        except FAILURES as error:
            self._is_there = False
            raise Unavailable(dependency=self.service) from error
        self._is_there = True
