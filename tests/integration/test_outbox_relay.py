"""The outbox and its relay against a real PostgreSQL: order, nothing skipped, killed and frozen."""

import asyncio
import random
import signal
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from svckit.events.outbox import OutboxRecord
from svckit.postgres.client import Connection, Database, PostgresSettings, open_database
from svckit.postgres.migrations import migrate
from svckit.postgres.outbox import COMPONENT, PostgresOutbox, PostgresOutboxSettings, append
from svckit.postgres.partitions import NAMES, PartitionSettings, maintain_partitions
from svckit.settings import Secret
from tests.contract.outbox_suite import record, waiting
from tests.polling import until

REPOSITORY = Path(__file__).parents[2]
WRITERS = 20
EVENTS = 10_000
LANES = 8
PAUSE_MEAN_S = 0.005  # some are ten times as long
IMPATIENT = PostgresOutboxSettings(patience_s=0.0)
NOON = datetime(2030, 5, 17, 12, tzinfo=UTC)


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    await migrate(database_dsn, [COMPONENT])
    async with open_database(
        PostgresSettings(dsn=Secret(database_dsn), pool_size_max=30)
    ) as database:
        yield database


async def partitions(database: Database) -> list[str]:
    """Those that are for a time."""
    return [row["relname"] for row in await database.fetch(NAMES)]


async def append_one(database: Database, lane: str) -> OutboxRecord:
    appended = record(lane)
    async with database.transaction() as connection:
        await append(connection, [appended])
    return appended


async def test_record_waits_for_an_older_transaction_but_not_for_ever(database: Database) -> None:
    async with database.transaction() as older:
        await older.execute("SELECT pg_current_xact_id()")
        first = await append_one(database, "a")
        assert await waiting(PostgresOutbox(database)) == []
        assert await waiting(PostgresOutbox(database, IMPATIENT)) == [first]
    assert await waiting(PostgresOutbox(database)) == [first]


async def test_early_transaction_with_a_late_number_does_not_overtake(database: Database) -> None:
    async with AsyncExitStack() as stack:
        early = await stack.enter_async_context(database.transaction())
        await early.execute("SELECT pg_current_xact_id()")
        async with database.transaction() as stranger:
            await stranger.execute("SELECT pg_current_xact_id()")
            first = await append_one(database, "a")
            second = record("a")
            await append(early, [second])
            await stack.aclose()
            assert await waiting(PostgresOutbox(database)) == []
    assert await waiting(PostgresOutbox(database)) == [first, second]


async def test_record_that_appears_below_a_published_one_is_not_skipped(
    database: Database,
) -> None:
    outbox = PostgresOutbox(database, IMPATIENT)
    lease = await outbox.hold_lease("me", 3.0)
    assert lease is not None
    late = record("a")
    async with database.transaction() as slow:
        await append(slow, [late])
        await append_one(database, "b")
        batch = await outbox.unpublished(10)
    assert await outbox.mark_published(lease.token, [key for key, _ in batch])
    assert await waiting(outbox) == [late]


async def test_mark_under_way_is_waited_for_by_who_takes_the_lease_over(
    database: Database,
) -> None:
    """Or it could mark what its successor has just found not to be published, and relies on."""
    outbox = PostgresOutbox(database)
    await append_one(database, "a")
    [(key, _)] = await outbox.unpublished(1)
    mine = await outbox.hold_lease("me", -1.0)
    assert mine is not None

    async def is_held_up(count: int) -> bool:
        waiting: int = await database.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return waiting == count

    async with database.transaction() as stranger:
        await stranger.execute("SELECT FROM outbox FOR UPDATE")
        marking = asyncio.create_task(outbox.mark_published(mine.token, [key]))
        await until(lambda: is_held_up(1))
        taking_over = asyncio.create_task(outbox.hold_lease("another", 3600.0))
        await until(lambda: is_held_up(2))
    assert await marking
    assert await taking_over is not None
    assert await waiting(outbox) == []


async def test_partitions_are_made_ahead_and_dropped_when_all_in_them_is_old(
    database: Database,
) -> None:
    async def add(created_at: datetime, published_at: datetime | None) -> None:
        await append_one(database, created_at.isoformat())
        await database.execute(
            "UPDATE outbox SET created_at = $1, published_at = $2 WHERE lane = $3",
            created_at,
            published_at,
            created_at.isoformat(),
        )

    async def kept() -> list[str]:
        return [row["lane"] for row in await database.fetch("SELECT lane FROM outbox")]

    await maintain_partitions(database, NOON, PartitionSettings())
    await maintain_partitions(database, NOON, PartitionSettings())
    published = NOON + timedelta(hours=1)
    still_waits = NOON + timedelta(hours=7)
    published_late = NOON + timedelta(hours=13)
    await add(published, published)
    await add(still_waits, None)
    await add(published_late, NOON + timedelta(days=2))
    outside = NOON - timedelta(days=1)
    await add(outside, outside)
    in_default = await database.fetch("SELECT lane FROM outbox_default")
    assert [row["lane"] for row in in_default] == [outside.isoformat()]

    await maintain_partitions(database, NOON + timedelta(days=2, hours=1), PartitionSettings())

    assert sorted(await kept()) == [still_waits.isoformat(), published_late.isoformat()]
    names = "SELECT relname::text FROM pg_class WHERE relname ~ '^outbox_2030\\d{4}_\\d{2}$'"
    partitions = sorted(row["relname"] for row in await database.fetch(names))
    assert partitions[:3] == ["outbox_20300517_18", "outbox_20300518_00", "outbox_20300518_12"]
    assert partitions[-1] == "outbox_20300521_12"


async def test_rows_in_the_default_partition_do_not_stop_the_making_ahead(
    database: Database,
) -> None:
    for name in await partitions(database):
        await database.execute(f"DROP TABLE {name}")
    await append_one(database, "a")
    assert await database.fetchval("SELECT count(*) FROM outbox_default") == 1
    now: datetime = await database.fetchval("SELECT clock_timestamp()")
    await maintain_partitions(database, now, PartitionSettings())
    assert len(await waiting(PostgresOutbox(database))) == 1
    ahead = await database.fetchval(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox'::regclass"
    )
    assert ahead >= 8


async def test_the_first_rows_have_partitions_that_the_later_ones_follow(
    database: Database,
) -> None:
    first = await partitions(database)
    await append_one(database, "a")
    assert await database.fetchval("SELECT count(*) FROM outbox_default") == 0
    now: datetime = await database.fetchval("SELECT clock_timestamp()")
    await maintain_partitions(database, now, PartitionSettings())
    assert len(first) == 8
    assert set(await partitions(database)) >= set(first)
    assert len(await partitions(database)) <= len(first) + 1


async def write(database: Database, writer: int) -> None:
    """One writer's transactions: an early xid, a shared lane's lock, pauses, the event last."""
    dice = random.Random(writer)

    async def follow(connection: Connection) -> None:
        await connection.execute("INSERT INTO noise DEFAULT VALUES")
        await pause()
        lane = dice.randrange(LANES)
        number: int = await connection.fetchval(
            "UPDATE lane_counter SET number = number + 1 WHERE lane = $1 RETURNING number", lane
        )
        await pause()
        await append(connection, [record(str(lane), number)])
        await pause()

    async def pause() -> None:
        if dice.random() < 0.3:
            await asyncio.sleep(dice.expovariate(1 / PAUSE_MEAN_S))

    for _ in range(EVENTS // WRITERS):
        await database.run(follow)


async def published(database: Database, events: int) -> None:
    async def are_published() -> bool:
        count: int = await database.fetchval("SELECT count(published_at) FROM outbox")
        return count >= events

    await until(are_published, timeout_s=30.0)


@asynccontextmanager
async def relay_process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.relay_process", *arguments, cwd=REPOSITORY
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_nothing_is_skipped_and_lanes_keep_their_order_while_relays_are_killed_and_frozen(
    database: Database, database_dsn: str, redis_url: str
) -> None:
    stream = f"test-{uuid.uuid4().hex}"
    arguments = (database_dsn, redis_url, stream)
    await database.execute("CREATE TABLE noise (at timestamptz DEFAULT now())")
    await database.execute("CREATE TABLE lane_counter (lane integer PRIMARY KEY, number integer)")
    await database.execute("INSERT INTO lane_counter SELECT generate_series(0, $1), 0", LANES - 1)

    async with Redis.from_url(redis_url) as redis, asyncio.TaskGroup() as tasks:
        for writer in range(WRITERS):
            tasks.create_task(write(database, writer))
        for kill in range(1, 6):
            async with relay_process(*arguments) as relay:
                await published(database, EVENTS * kill // 10)
                relay.kill()
        async with relay_process(*arguments) as frozen, relay_process(*arguments) as standby:
            await published(database, EVENTS * 6 // 10)
            frozen.send_signal(signal.SIGSTOP)
            await published(database, EVENTS * 8 // 10)
            frozen.send_signal(signal.SIGCONT)
            await published(database, EVENTS)
            for relay in (frozen, standby):
                relay.send_signal(signal.SIGTERM)
                assert await relay.wait() == 0

        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(stream))
    check_arrivals([(fields[b"lane"], int(fields[b"number"])) for _, fields in entries])


def check_arrivals(arrivals: Sequence[tuple[bytes, int]]) -> None:
    """Every event at least once, and the first arrivals of a lane in the order 1, 2, 3 ..."""
    last: dict[bytes, int] = defaultdict(int)
    early = []
    for lane, number in arrivals:
        if number == last[lane] + 1:
            last[lane] = number
        elif number > last[lane]:
            early.append((lane, last[lane], number))
    repeated = len(arrivals) - sum(last.values())
    print(f"{len(arrivals)} arrivals, {repeated} of them again, {len(early)} too early")  # noqa: T201
    assert early == []
    assert sum(last.values()) == EVENTS
