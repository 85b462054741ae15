"""How much a person, an address, or log-ins from an address may ask for.

Each request names its subject (the caller, or the address of a caller without a good token) and the
limits that count for it. All of them are asked of Redis in one round trip; while Redis is silent
each process counts for itself. A request waits for Redis no longer than `store_timeout_s`, and not
at all once Redis has failed to answer, until it answers again.

The count is GCRA: a limit of 300 in 300 s lets 300 pass at once and then one each second. All that
is kept of a subject is the time at which it will have recovered.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol, Self

from gateway.metrics import LIMITED, LIMITS_LOCAL
from gateway.model import Allowance, CountingBounds, Limit
from svckit.bounded import Bounded
from svckit.dependency import AskSettings, Dependency
from svckit.errors import Unavailable
from svckit.ids import Clock


class LimitStore(Protocol):
    """Counts a request under all of the limits, or, if it is over one, under none."""

    async def take(self, subject: str, limits: Sequence[Limit]) -> list[Allowance]: ...

    async def ping(self) -> None: ...


class LocalLimits:
    """The same count in memory, for the subjects that were seen last."""

    def __init__(self, entries_max: int, clock_s: Clock = time.monotonic) -> None:
        self._clock_s = clock_s
        self._recovered_at_s: Bounded[tuple[str, str], float] = Bounded(entries_max)

    def __len__(self) -> int:
        return len(self._recovered_at_s)

    def take(self, subject: str, limits: Sequence[Limit]) -> list[Allowance]:
        now_s = self._clock_s()
        allowances = []
        for limit in limits:
            recovery_s = max(0.0, self._recovered_at_s.get((limit.name, subject), 0.0) - now_s)
            over_s = recovery_s + limit.interval_s - limit.period_s
            if over_s > 1e-9:
                return [Allowance(limit, recovery_s, over_s)]
            allowances.append(Allowance(limit, recovery_s + limit.interval_s))
        for each in allowances:
            self._recovered_at_s.put((each.limit.name, subject), now_s + each.recovery_s)
        return allowances


class Limits:
    """Counts requests; tells the allowance under the limit that refuses, or else is nearest."""

    def __init__(self, store: LimitStore | None, bounds: CountingBounds) -> None:
        self._local = LocalLimits(bounds.local_entries_max)
        self._timeout_s = bounds.store_timeout_s
        self._store = store
        self._dependency: Dependency | None = None
        if store is not None:
            asking = AskSettings(bounds.ask_every_s, bounds.store_timeout_s)
            self._dependency = Dependency("redis", store.ping, asking, LIMITS_LOCAL.set)
        LIMITS_LOCAL.set(store is None)

    async def take(self, subject: str, limits: Sequence[Limit]) -> Allowance | None:
        if not limits:
            return None
        allowance = min(await self._take(subject, limits), key=lambda each: each.remaining)
        if allowance.retry_after_s > 0:
            LIMITED.labels(allowance.limit.name).inc()
        return allowance

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._dependency is not None:
            await self._dependency.close()

    async def _take(self, subject: str, limits: Sequence[Limit]) -> list[Allowance]:
        store, dependency = self._store, self._dependency
        if store is None or dependency is None or dependency.is_silent:
            return self._local.take(subject, limits)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await store.take(subject, limits)
        except (Unavailable, TimeoutError) as error:
            dependency.fall_silent(error)
            return self._local.take(subject, limits)
