"""The event bus: from the outbox onto it, from it into a handler, and how old events are then.

With a Valkey of its own that appends to disk as in production, in this process.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.tools.measure import Measure, Site
from devstack import valkey
from devstack.background import in_background
from devstack.rig import durable
from svckit.events.bus import BusEvent, Fence, Handler
from svckit.events.engine import make_consumer, open_publisher
from svckit.events.outbox import OutboxRecord
from svckit.events.relay import Relay
from svckit.events.settings import BusSettings
from svckit.ids import new_id
from svckit.postgres.client import Database, PostgresSettings, open_database
from svckit.postgres.outbox import PostgresOutbox, append
from svckit.settings import Secret

RELAYED_EVENTS = 10_000
CONSUMED_EVENTS = 20_000
LANES = 1_000
PAYLOAD_BYTES = 500
APPEND_EVENTS = 500
AGED_EVENTS_PER_S = 500


async def relay_events(site: Site) -> list[Measure]:
    """One relay, from PostgreSQL to the bus, with all the events there before it starts."""
    rates = []
    async with (
        bus(site) as settings,
        database(site) as outbox,
        open_publisher(settings) as publisher,
    ):
        relay = Relay(PostgresOutbox(outbox), publisher)
        for _ in range(site.rounds):
            for _ in range(RELAYED_EVENTS // APPEND_EVENTS):
                async with outbox.transaction() as connection:
                    await append(connection, [event() for _ in range(APPEND_EVENTS)])
            started_s = time.perf_counter()
            while await relay.turn() == 0.0:  # until it finds nothing
                pass
            rates.append(RELAYED_EVENTS / (time.perf_counter() - started_s))
            assert await outbox.fetchval("SELECT bool_and(published_at IS NOT NULL) FROM outbox")
    return [Measure("bus.relayed_per_s", "events/s", rates, at_least=5_000)]


async def consume_events(site: Site) -> list[Measure]:
    """One consumer with a handler that does nothing, with all the events there before it starts."""
    rates = []
    async with bus(site) as settings:
        async with open_publisher(settings) as publisher:
            await publisher.epoch()
            for _ in range(CONSUMED_EVENTS // APPEND_EVENTS):
                await publisher.publish([event() for _ in range(APPEND_EVENTS)])
        for group in range(site.rounds):
            counter = Counter(CONSUMED_EVENTS)
            async with in_background(make_consumer(settings, f"group-{group}", counter).run()):
                await counter.is_complete.wait()
            rates.append(CONSUMED_EVENTS / (counter.last_s - counter.first_s))
    return [Measure("bus.consumed_per_s", "events/s", rates, at_least=10_000)]


async def age_of_events(site: Site) -> list[Measure]:
    """From before the transaction that writes an event until its handler has it."""
    events = int(site.seconds * AGED_EVENTS_PER_S)
    p50s, p99s = [], []
    async with (
        bus(site) as settings,
        database(site) as outbox,
        open_publisher(settings) as publisher,
    ):
        counter = Counter(events)
        relay = Relay(PostgresOutbox(outbox), publisher)

        async def write() -> None:
            async with outbox.transaction() as connection:
                await append(connection, [event()])
            relay.nudge()

        async with in_background(relay.run(), make_consumer(settings, "age", counter).run()):
            for _ in range(1 + site.rounds):
                counter.start_over()
                started_s = time.perf_counter()
                async with asyncio.TaskGroup() as writes:
                    for number in range(events):
                        due_s = started_s + number / AGED_EVENTS_PER_S
                        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                        writes.create_task(write())
                await counter.is_complete.wait()
                cuts = statistics.quantiles(counter.ages_ms, n=100)
                p50s.append(cuts[49])
                p99s.append(cuts[98])
    # The first round has warmed up what the others use.
    return [
        Measure("bus.age_p50", "ms", p50s[1:]),
        Measure("bus.age_p99", "ms", p99s[1:], at_most=100),
    ]


class Counter(Handler):
    """Does nothing but look at the clock; a payload begins with when its event was made."""

    def __init__(self, events: int) -> None:
        self._events = events
        self.start_over()

    def start_over(self) -> None:
        self.ages_ms: list[float] = []
        self.first_s = self.last_s = 0.0
        self.is_complete = asyncio.Event()

    async def handle(self, event: BusEvent, fence: Fence) -> None:  # noqa: ARG002
        self.last_s = time.perf_counter()
        self.first_s = self.first_s or self.last_s
        self.ages_ms.append((self.last_s - float(event.payload.partition(b" ")[0])) * 1000)
        if len(self.ages_ms) == self._events:
            self.is_complete.set()


def event() -> OutboxRecord:
    event_id = new_id()
    lane = f"lane-{event_id.int % LANES}"
    payload = f"{time.perf_counter()} ".encode().ljust(PAYLOAD_BYTES, b"x")
    return OutboxRecord(
        event_id, lane, "PostCreated", payload, aggregate_type="post", aggregate_id=lane
    )


@asynccontextmanager
async def bus(site: Site) -> AsyncIterator[BusSettings]:
    async with durable(valkey.STORE, site.folder) as url:
        yield BusSettings(redis_url=Secret(url))


@asynccontextmanager
async def database(site: Site) -> AsyncIterator[Database]:
    async with open_database(PostgresSettings(dsn=Secret(site.rig.dsn))) as database:
        yield database
