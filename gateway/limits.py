"""How much a person, an address, or log-ins from an address may ask for.

Each request names its subject (the person who calls, or the address of one whom nobody knows) and
the limits that count for it. All of them are asked of Redis in one round trip; while Redis is
silent each process counts for itself. A request never waits for Redis longer than `STORE_TIMEOUT_S`
and none waits once Redis has failed to answer: it is pinged aside until it is back.

The count is GCRA: a limit of 300 in 300 s lets 300 pass at once and then one each second. All that
is kept of a subject is the time at which it will have recovered.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Protocol, Self

from gateway.metrics import LIMITED, LIMITS_LOCAL
from gateway.model import STORE_TIMEOUT_S, Limit, Standing
from svckit.errors import Unavailable

PING_EVERY_S = 0.5
LOCAL_ENTRIES_MAX = 100_000

logger = logging.getLogger(__name__)


class LimitStore(Protocol):
    """Counts a request under all of the limits, or, if it is over one, under none."""

    async def take(self, subject: str, limits: Sequence[Limit]) -> list[Standing]: ...

    async def ping(self) -> None: ...


class LocalLimits:
    """The same count in memory, for the subjects that were seen last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recovered_at_s: OrderedDict[tuple[str, str], float] = OrderedDict()

    def take(self, subject: str, limits: Sequence[Limit]) -> list[Standing]:
        now_s = self._clock()
        standings = []
        for limit in limits:
            recovery_s = max(0.0, self._recovered_at_s.get((limit.name, subject), 0.0) - now_s)
            over_s = recovery_s + limit.interval_s - limit.period_s
            if over_s > 1e-9:
                return [Standing(limit, recovery_s, over_s)]
            standings.append(Standing(limit, recovery_s + limit.interval_s))
        for each in standings:
            key = (each.limit.name, subject)
            self._recovered_at_s[key] = now_s + each.recovery_s
            self._recovered_at_s.move_to_end(key)
        while len(self._recovered_at_s) > LOCAL_ENTRIES_MAX:
            self._recovered_at_s.popitem(last=False)
        return standings


class Limits:
    """Counts requests; says how a subject stands under the limit that refuses, or is nearest."""

    def __init__(self, store: LimitStore | None, local: LocalLimits) -> None:
        self._store = store
        self._local = local
        self._reviving: asyncio.Task[None] | None = None
        LIMITS_LOCAL.set(store is None)

    async def take(self, subject: str, limits: Sequence[Limit]) -> Standing | None:
        if not limits:
            return None
        standing = min(await self._take(subject, limits), key=lambda each: each.remaining)
        if standing.retry_after_s > 0:
            LIMITED.labels(standing.limit.name).inc()
        return standing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reviving is not None:
            self._reviving.cancel()
            with suppress(asyncio.CancelledError):
                await self._reviving

    async def _take(self, subject: str, limits: Sequence[Limit]) -> list[Standing]:
        if self._store is None or self._reviving is not None:
            return self._local.take(subject, limits)
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                return await self._store.take(subject, limits)
        except (Unavailable, TimeoutError) as error:
            self._fall_silent(self._store, error)
            return self._local.take(subject, limits)

    def _fall_silent(self, store: LimitStore, error: Exception) -> None:
        if self._reviving is None:
            logger.warning("limit_store_silent", extra={"error": repr(error.__cause__ or error)})
            LIMITS_LOCAL.set(1)
            revival = self._revive(store)
            # In no request's context: it outlives the one that found out.
            self._reviving = asyncio.get_running_loop().create_task(revival, context=Context())

    async def _revive(self, store: LimitStore) -> None:
        while True:
            await asyncio.sleep(PING_EVERY_S)
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(STORE_TIMEOUT_S):
                    await store.ping()
                break
        logger.info("limit_store_back")
        LIMITS_LOCAL.set(0)
        self._reviving = None
