"""How long a reader waits for another service: long while it answers, short once it has not.

So a service that is busy is waited for, and one that is gone or stuck keeps nobody waiting but
those who find out.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from svckit.errors import DeadlineExceeded, Unavailable

FAILURES = (Unavailable, DeadlineExceeded, TimeoutError)


@dataclass(frozen=True, slots=True)
class PatienceSettings:
    long_s: float = 0.6  # while it answers
    short_s: float = 0.25  # once it has not


class Patience:
    """With one service, for all who call it."""

    def __init__(self, service: str, settings: PatienceSettings | None = None) -> None:
        self.service = service
        self.settings = settings or PatienceSettings()
        self._is_there = True

    @asynccontextmanager
    async def limit(self, longest_s: float | None = None) -> AsyncGenerator[None]:
        """Ends what waits in the block for too long, or fails, as Unavailable."""
        limit_s = self.settings.long_s if longest_s is None else longest_s
        try:
            async with asyncio.timeout(
                limit_s if self._is_there else min(limit_s, self.settings.short_s)
            ):
                yield
        except FAILURES as error:
            self._is_there = False
            raise Unavailable(dependency=self.service) from error
        self._is_there = True
