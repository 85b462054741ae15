"""The outbox's partitions by time: made two days ahead, dropped whole when all in them is old.

A partition goes when it is a day past and everything in it was published at least a day ago: an
event that waits is never dropped. Should the making ahead fail for long, rows fall into the default
partition, are published from there like all others, and are deleted when they are old.
"""

from datetime import UTC, datetime, timedelta

from svckit.postgres.client import Connection, Database

SLICE = timedelta(hours=6)
AHEAD = timedelta(days=2)
KEPT = timedelta(days=1)
NAME = "outbox_%Y%m%d_%H"
LOCK_TIMEOUT_MS = 500  # writers wait behind us at most this long; what fails is done next time

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


async def maintain_partitions(database: Database, now: datetime) -> None:
    """Make what is missing, drop what is old; safe to repeat, and to run twice at once."""
    there = {_start(row["relname"]) for row in await database.fetch(NAMES)}
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = day + (now - day) // SLICE * SLICE
    while start < now + AHEAD:
        if start not in there:
            await _make(database, start)
        start += SLICE
    for start in there:
        if start + SLICE <= now - KEPT:
            await _drop(database, start, now)
    await database.execute(EMPTY_DEFAULT, now - KEPT)


def _start(name: str) -> datetime:
    return datetime.strptime(name, NAME).replace(tzinfo=UTC)


async def _make(database: Database, start: datetime) -> None:
    """Attaching locks out nobody who writes, other than creating it in place."""
    name, end = start.strftime(NAME), start + SLICE

    async def make(connection: Connection) -> None:
        await _lock(connection, "SHARE UPDATE EXCLUSIVE")
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


async def _drop(database: Database, start: datetime, now: datetime) -> None:
    async def drop(connection: Connection) -> None:
        await _lock(connection, "ACCESS EXCLUSIVE")
        if not await connection.fetchval(STILL_NEEDED, start, start + SLICE, now - KEPT):
            await connection.execute(f"DROP TABLE IF EXISTS {start.strftime(NAME)}")

    await database.run(drop)


async def _lock(connection: Connection, mode: str) -> None:
    await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
    await connection.execute(f"LOCK TABLE ONLY outbox IN {mode} MODE")
