"""Moves events from an outbox to the bus: read, publish, mark, again.

One relay per outbox is at work, by a lease with an expiry; the others stand by and take over when
it is not renewed. Every event reaches the bus at least once, and per lane the first arrivals are in
order: the outbox gives a safe order, a batch is marked only after the bus has taken it, and a relay
that lost its lease (frozen, cut off) can at worst repeat what its successor publishes, from the
same point and in the same order.

The bus may lose what it took. After a lost connection, and at every take-over, the last minute
is published again before anything new; when the bus has another memory than the one that was
filled (its epoch has changed), all that this may lack and that is kept.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Generic

from prometheus_client import Counter, Gauge

from svckit.backoff import backoff_s
from svckit.events.bus import BusRecord, Epoch, Publisher
from svckit.events.outbox import Key, Lease, OutboxSource

logger = logging.getLogger(__name__)

PUBLISHED = Counter("newsfeed_outbox_published", "Events published for the first time")
REPUBLISHED = Counter("newsfeed_outbox_republished", "Events published again, for safety")
FAILURES = Counter("newsfeed_outbox_failures", "Rounds of the relay that failed")
ACTIVE = Gauge("newsfeed_outbox_relay_active", "1 where the relay holds the lease")
UNPUBLISHED_ROWS = Gauge("newsfeed_outbox_unpublished_rows", "Events that wait, up to a bound")
UNPUBLISHED_SECONDS = Gauge("newsfeed_outbox_unpublished_seconds", "Age of the oldest that waits")


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """A standby takes over within `lease_ttl_s + lease_renew_s`."""

    lease_ttl_s: float = 3.0
    lease_renew_s: float = 1.0
    publish_timeout_s: float = 2.0  # below the lease's TTL
    poll_min_s: float = 0.01
    poll_max_s: float = 0.1
    backoff_min_s: float = 0.1
    backoff_max_s: float = 2.0
    batch_records_max: int = 500
    republish_s: float = 60.0
    maintain_every_s: float = 600.0


class Relay(Generic[Key]):
    """Run it in as many processes as you like; `nudge` it after a commit in its own process."""

    def __init__(
        self,
        outbox: OutboxSource[Key],
        publisher: Publisher,
        settings: RelaySettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._settings = settings or RelaySettings()
        self._clock = clock
        self._owner = uuid.uuid4().hex
        self._nudged = asyncio.Event()
        self._lease: Lease | None = None
        self._renew_at = 0.0
        self._maintain_at = 0.0
        self._may_have_lost = True  # the bus may lack what is marked as published
        self._epoch: Epoch | None = None  # what the publisher writes to
        self._idle_s = self._settings.poll_min_s
        self._failures = 0
        self._pauses_s = self._backoff_s()

    def nudge(self) -> None:
        """Something was committed: look at once."""
        self._nudged.set()

    async def run(self) -> None:
        """Work until cancelled; gives the lease back on the way out."""
        try:
            while True:
                pause_s = await self.turn()
                await self._wait(pause_s)
        finally:
            ACTIVE.set(0)
            with suppress(Exception):  # it expires by itself
                async with asyncio.timeout(self._settings.lease_renew_s):
                    await self._outbox.release_lease(self._owner)

    async def _wait(self, pause_s: float) -> None:
        if self._lease is None or self._failures:
            await asyncio.sleep(pause_s)  # standing by or backing off: commits do not matter
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._nudged.wait()
                    self._idle_s = self._settings.poll_min_s
        self._nudged.clear()

    async def turn(self) -> float:
        """One round; returns the seconds to wait before the next. Raises nothing but cancellation.

        Whatever fails is tried again from the start: reading and publishing twice is harmless.
        """
        try:
            pause_s = await self._work()
        except Exception:
            FAILURES.inc()
            self._failures += 1
            logger.exception("relay_failed", extra={"failures": self._failures})
            return next(self._pauses_s)
        if self._failures:
            self._failures, self._pauses_s = 0, self._backoff_s()
        return pause_s

    async def _work(self) -> float:
        if await self._held() is None:
            return self._settings.lease_renew_s
        if self._may_have_lost and not await self._publish_again():
            return 0.0
        batch = await self._outbox.unpublished(self._settings.batch_records_max)
        if not batch:
            self._idle_s = min(self._idle_s * 2, self._settings.poll_max_s)
            return self._idle_s
        await self._publish([record for _, record in batch])
        await self._mark([key for key, _ in batch])
        self._idle_s = self._settings.poll_min_s
        return 0.0 if len(batch) == self._settings.batch_records_max else self._idle_s

    async def _publish_again(self) -> bool:
        """Publish what the bus may lack, in order; False = lease or epoch went away meanwhile."""
        await self._look_at_bus()
        lease = await self._held()
        if lease is None:
            return False
        epoch, count = self._epoch, 0
        last_s: float | None = self._settings.republish_s
        if epoch is not None and epoch.name != lease.bus_epoch:
            lacks_s = epoch.lacks_s
            last_s = None if lacks_s is None else lacks_s + self._settings.republish_s
        async with aclosing(self._outbox.published(last_s)) as batches:
            async for records in batches:
                lease = await self._held()
                if lease is None or self._epoch != epoch:
                    return False
                await self._publish(records)
                REPUBLISHED.inc(len(records))
                count += len(records)
        if epoch is not None and epoch.name != lease.bus_epoch:
            await self._outbox.set_bus_epoch(lease.token, epoch.name)
            self._lease = replace(lease, bus_epoch=epoch.name)
        self._may_have_lost = False
        logger.info("relay_published_again", extra={"records": count, "last_s": last_s})
        return True

    async def _publish(self, records: Sequence[BusRecord]) -> None:
        async with self._watched():
            await self._publisher.publish(records)

    async def _look_at_bus(self) -> None:
        async with self._watched():
            self._epoch = await self._publisher.epoch()

    @asynccontextmanager
    async def _watched(self) -> AsyncGenerator[None]:
        """A call to the bus, for so long. If it fails, what the bus took last may be gone, too."""
        try:
            async with asyncio.timeout(self._settings.publish_timeout_s):
                yield
        except Exception:
            self._may_have_lost = True
            raise

    async def _mark(self, keys: Sequence[Key]) -> None:
        if self._lease is not None and await self._outbox.mark_published(self._lease.token, keys):
            PUBLISHED.inc(len(keys))
        else:
            self._let_go()

    async def _held(self) -> Lease | None:
        """The lease while it is ours; the store is asked when it is time to renew."""
        if self._lease is None or self._clock() >= self._renew_at:
            await self._renew()
        return self._lease

    async def _renew(self) -> None:
        renew_at = self._clock() + self._settings.lease_renew_s
        lease = await self._outbox.hold_lease(self._owner, self._settings.lease_ttl_s)
        if lease is None:
            self._let_go()
            return
        if self._lease is None or self._lease.token != lease.token:
            logger.info("relay_active", extra={"token": lease.token})
            self._may_have_lost = True  # the one before us may have died together with the bus
            ACTIVE.set(1)
        self._lease, self._renew_at = lease, renew_at
        await self._keep_house()
        await self._look_at_bus()
        if self._epoch is not None and self._epoch.name != lease.bus_epoch:
            self._may_have_lost = True

    def _let_go(self) -> None:
        if self._lease is not None:
            logger.warning("relay_lost_its_lease", extra={"token": self._lease.token})
        self._lease = None
        for gauge in (ACTIVE, UNPUBLISHED_ROWS, UNPUBLISHED_SECONDS):
            gauge.set(0)

    async def _keep_house(self) -> None:
        backlog = await self._outbox.backlog()
        UNPUBLISHED_ROWS.set(backlog.rows)
        UNPUBLISHED_SECONDS.set(backlog.oldest_s)
        if self._clock() >= self._maintain_at:
            self._maintain_at = self._clock() + self._settings.maintain_every_s
            await self._outbox.maintain()

    def _backoff_s(self) -> Iterator[float]:
        return backoff_s(self._settings.backoff_min_s, self._settings.backoff_max_s)
