"""The bus loses its memory under load, with a real outbox and relay: nothing that was committed is.

Writers commit, the relay publishes, the handler waits; then all that the bus has taken and has not
handed over is gone, or all since a copy was made that it comes back with. What was handled in the
end is compared with what was committed, by ids.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from redis.asyncio import Redis

from devstack.background import in_background
from svckit.events.bus import BusEvent, Fence, Handler
from svckit.events.delivery import ConsumerSettings, DeliverySettings
from svckit.events.outbox import OutboxRecord
from svckit.events.redis.consumer import RedisConsumer
from svckit.events.redis.publisher import RedisPublisher
from svckit.events.relay import Relay, RelaySettings
from svckit.events.settings import BusSettings
from svckit.ids import new_id
from svckit.postgres.client import Database, PostgresSettings, open_database
from svckit.postgres.migrations import migrate
from svckit.postgres.outbox import COMPONENT, PostgresOutbox, append
from svckit.settings import Secret
from tests.polling import until
from tests.troubles.own_store import OwnStore, own_valkey

WRITERS = 4
WRITE_EVERY_S = 0.005
LOSSES = 2
BEHIND_EVENTS = 200  # on the bus and not yet handled when it is lost
# Nothing is published again only for safety: it would hide what is not known to be lost.
RELAY = RelaySettings(lease_ttl_s=1.0, lease_renew_s=0.2, publish_timeout_s=0.8, republish_s=0.0)
CONSUMER = ConsumerSettings(
    DeliverySettings(events_max=20), lease_ttl_s=1.0, lease_renew_s=0.2, trim_every_s=0.5
)


class GatedHandler(Handler):
    """Handles nothing while `gate` is closed."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.handled: set[UUID] = set()

    async def handle(self, event: BusEvent, fence: Fence) -> None:  # noqa: ARG002
        await self.gate.wait()
        self.handled.add(event.event_id)


class Writers:
    """Commit events, one a transaction, all the time."""

    def __init__(self, database: Database, nudge: Callable[[], None]) -> None:
        self._database = database
        self._nudge = nudge
        self.committed: set[UUID] = set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for writer in range(WRITERS):
                tasks.create_task(self._write(writer))

    async def _write(self, writer: int) -> None:
        while True:
            record = OutboxRecord(
                new_id(),
                f"{writer}",
                "PostCreated",
                b"payload",
                aggregate_type="post",
                aggregate_id="1",
            )
            async with self._database.transaction() as connection:
                await append(connection, [record])
            self.committed.add(record.event_id)
            self._nudge()
            await asyncio.sleep(WRITE_EVERY_S)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[OwnStore]:
    """It does not append to disk: killed, it comes back with its last copy, if any."""
    async with own_valkey(tmp_path, durable=False) as server:
        yield server


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    await migrate(database_dsn, [COMPONENT])
    async with open_database(PostgresSettings(dsn=Secret(database_dsn))) as database:
        yield database


async def copy(server: OwnStore) -> None:
    async with Redis.from_url(server.url) as redis:
        await redis.save()


async def flush(server: OwnStore) -> None:
    async with Redis.from_url(server.url) as redis:
        await redis.flushall()


async def restart_with_old_copy(server: OwnStore) -> None:
    await server.kill()
    await server.start()


async def restart_empty(server: OwnStore) -> None:
    await server.kill()
    server.lose_disk()
    await server.start()


@pytest.mark.parametrize("lose_everything", [flush, restart_with_old_copy, restart_empty])
async def test_nothing_is_lost_when_the_bus_loses_its_memory_under_load(
    server: OwnStore,
    database: Database,
    lose_everything: Callable[[OwnStore], Awaitable[None]],
) -> None:
    settings = BusSettings(redis_url=Secret(server.url), partitions=4)
    publisher = RedisPublisher(settings)
    relay = Relay(PostgresOutbox(database), publisher, RELAY)
    handler, writers = GatedHandler(), Writers(database, relay.nudge)
    consumer = RedisConsumer(settings, "group", handler, CONSUMER)

    async def on_the_bus_only() -> set[UUID]:
        rows = await database.fetch("SELECT id FROM outbox WHERE published_at IS NOT NULL")
        return {row["id"] for row in rows} - handler.handled

    async def has_much_to_lose() -> bool:
        return len(await on_the_bus_only()) >= BEHIND_EVENTS

    async with in_background(relay.run(), consumer.run()) as readers:
        async with in_background(writers.run()) as writing:
            for _ in range(LOSSES):
                handler.gate.clear()
                await copy(server)
                await until(has_much_to_lose, timeout_s=10)
                await lose_everything(server)
                lost = await on_the_bus_only()
                assert len(lost) >= BEHIND_EVENTS
                handler.gate.set()
                await until(partial(lost.issubset, handler.handled), timeout_s=20)
        await until(partial(writers.committed.issubset, handler.handled), timeout_s=20)
    assert all(task.cancelled() for task in (*readers, *writing))  # none ended before
    await publisher.aclose()
    print(f"{len(writers.committed)} committed, all handled")  # noqa: T201
