"""The outbox's partitions by time: made two days ahead, dropped whole when all in them is old.

A partition goes when it is a day past and everything in it was published at least a day ago: an
event that waits is never dropped. Should the making ahead fail for long, rows fall into the default
partition, are published from there like all others, and are deleted when they are old.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from svckit.postgres.client import Connection, Database

SLICE = timedelta(hours=6)  # the first ones are made by the schema
NAME = "outbox_%Y%m%d_%H"

NAMES = """
SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'outbox'::regclass AND relname <> 'outbox_default'
ORDER BY relname
"""
IN_DEFAULT = "SELECT EXISTS (SELECT FROM outbox_default WHERE created_at >= $1 AND created_at < $2)"
STILL_NEEDED = """
SELECT EXISTS (
    SELECT FROM outbox WHERE created_at >= $1 AND created_at < $2 AND published_at IS NULL
) OR EXISTS (
    SELECT FROM outbox WHERE created_at >= $1 AND created_at < $2 AND published_at > $3
)
"""
EMPTY_DEFAULT = "DELETE FROM outbox_default WHERE published_at < $1"


@dataclass(frozen=True, slots=True)
class PartitionSettings:
    ahead: timedelta = timedelta(days=2)
    kept: timedelta = timedelta(days=1)
    lock_timeout_ms: int = 500  # that writers wait at most; what fails is done next time


async def maintain_partitions(
    database: Database, now: datetime, settings: PartitionSettings
) -> None:
    """Make what is missing, drop what is old; safe to repeat, and to run twice at once."""
    names = [row["relname"] for row in await database.fetch(NAMES)]
    there = {datetime.strptime(name, NAME).replace(tzinfo=UTC) for name in names}
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = day + (now - day) // SLICE * SLICE
    while start < now + settings.ahead:
        if start not in there:
            await _make(database, start, settings)
        start += SLICE
    for start in there:
        if start + SLICE <= now - settings.kept:
            await _drop(database, start, now, settings)
    await database.execute(EMPTY_DEFAULT, now - settings.kept)


async def _make(database: Database, start: datetime, settings: PartitionSettings) -> None:
    """Attaching locks out nobody who writes, other than creating it in place."""
    name, end = start.strftime(NAME), start + SLICE

    async def make(connection: Connection) -> None:
        await _lock(connection, "SHARE UPDATE EXCLUSIVE", settings.lock_timeout_ms)
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
            return
        if await connection.fetchval(IN_DEFAULT, start, end):
            return
        await connection.execute(f"CREATE TABLE {name} (LIKE outbox INCLUDING ALL)")
        await connection.execute(
            f"ALTER TABLE outbox ATTACH PARTITION {name}"
            f" FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
        )

    await database.run(make)


async def _drop(
    database: Database, start: datetime, now: datetime, settings: PartitionSettings
) -> None:
    async def drop(connection: Connection) -> None:
        await _lock(connection, "ACCESS EXCLUSIVE", settings.lock_timeout_ms)
        if not await connection.fetchval(STILL_NEEDED, start, start + SLICE, now - settings.kept):
            await connection.execute(f"DROP TABLE IF EXISTS {start.strftime(NAME)}")

    await database.run(drop)


async def _lock(connection: Connection, mode: str, timeout_ms: int) -> None:
    await connection.execute(f"SET LOCAL lock_timeout = {timeout_ms}")
    await connection.execute(f"LOCK TABLE ONLY outbox IN {mode} MODE")
