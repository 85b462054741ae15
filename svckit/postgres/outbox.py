"""The outbox in PostgreSQL: written by a transaction's last statement, read by the relay.

Which rows may be published, and in what order:

Rows go out by `seq`. If the transaction of e1 committed before that of e2 drew its seq, then
seq1 < seq2, and every snapshot that sees e2 sees e1: so e1 goes first. That covers every pair of
transactions that waited for each other (for a row, a key, any lock), since `append` comes last,
when all locks are held. A pair that did not wait for each other has no order to keep. Rows are
marked one by one, never by a position, so one that appears late below a published one is not
skipped.

Beyond that, a row waits while a transaction with a lower xid runs, which brings most unrelated
transactions into the order of their seq too. It holds back all rows behind it (a strict prefix: to
filter instead would let a transaction that drew its xid early and its seq late overtake), and for
at most `patience_s`: a long transaction, also a stranger's in another database, must not hold up
delivery.
"""

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from svckit.events.outbox import Backlog, Lease, OutboxRecord, OutboxSettings
from svckit.migration_files import Component
from svckit.postgres.client import Connection, Database, Record
from svckit.postgres.partitions import PartitionSettings, maintain_partitions

COMPONENT = Component("svckit", Path(__file__).parent / "sql")

APPEND = """
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, lane, headers)
SELECT id, aggregatetype, aggregateid, type, payload, lane, headers::jsonb
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[])
    WITH ORDINALITY
    AS record (id, aggregatetype, aggregateid, type, payload, lane, headers, position)
ORDER BY position
"""
UNPUBLISHED = """
SELECT seq, created_at, id, aggregatetype, aggregateid, type, payload, lane, headers,
    xid >= pg_snapshot_xmin(pg_current_snapshot())
        AND created_at > clock_timestamp() - make_interval(secs => $2) AS must_wait
FROM outbox
WHERE published_at IS NULL
ORDER BY seq
LIMIT $1
"""
MARK_PUBLISHED = """
UPDATE outbox SET published_at = clock_timestamp()
WHERE seq = ANY ($2::bigint[])
    AND created_at BETWEEN $3 AND $4
    AND published_at IS NULL
    AND EXISTS (SELECT FROM outbox_lease WHERE token = $1 FOR SHARE)
"""
FIRST_OF_THE_LAST = """
SELECT min(seq) FROM (
    SELECT seq FROM outbox
    WHERE published_at >= (SELECT max(published_at) FROM outbox) - make_interval(secs => $1)
    OFFSET 0 -- keeps the planner on the index of published_at
) AS last
"""
PUBLISHED = """
SELECT seq, id, aggregatetype, aggregateid, type, payload, lane, headers
FROM outbox
WHERE seq >= $1 AND published_at IS NOT NULL
ORDER BY seq
LIMIT $2
"""
HOLD_LEASE = """
INSERT INTO outbox_lease AS lease (owner, token, expires_at)
VALUES ($1, 1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (only_row) DO UPDATE SET
    owner = excluded.owner,
    token = lease.token + (lease.owner <> excluded.owner)::integer,
    expires_at = excluded.expires_at
WHERE lease.owner = excluded.owner OR lease.expires_at < clock_timestamp()
RETURNING token, bus_epoch
"""
RELEASE_LEASE = "UPDATE outbox_lease SET expires_at = '-infinity' WHERE owner = $1"
SET_BUS_EPOCH = "UPDATE outbox_lease SET bus_epoch = $2 WHERE token = $1"
BACKLOG = """
SELECT count(*) AS rows,
    coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float AS oldest_s
FROM (SELECT created_at FROM outbox WHERE published_at IS NULL ORDER BY seq LIMIT $1) AS waiting
"""


@dataclass(frozen=True, slots=True)
class PostgresOutboxSettings(OutboxSettings):
    patience_s: float = 0.5  # with transactions that may be older
    partitions: PartitionSettings = field(default_factory=PartitionSettings)


class RowKey(NamedTuple):
    seq: int
    created_at: datetime  # leads to the partition


async def append(connection: Connection, records: Sequence[OutboxRecord]) -> None:
    """Write the records, in order, with one statement: the last one of the transaction.

    If other locks were taken after it, events could go out in another order than their changes.
    """
    if not records:
        return
    await connection.execute(
        APPEND,
        [record.event_id for record in records],
        [record.aggregate_type for record in records],
        [record.aggregate_id for record in records],
        [record.type for record in records],
        [record.payload for record in records],
        [record.lane for record in records],
        [json.dumps(dict(record.headers)) for record in records],
    )


class PostgresOutbox:
    """The relay's `OutboxSource`; must read the primary."""

    def __init__(self, database: Database, settings: PostgresOutboxSettings | None = None) -> None:
        self._database = database
        self._settings = settings or PostgresOutboxSettings()

    async def hold_lease(self, owner: str, ttl_s: float) -> Lease | None:
        row = await self._database.fetchrow(HOLD_LEASE, owner, ttl_s)
        return None if row is None else Lease(token=row["token"], bus_epoch=row["bus_epoch"])

    async def release_lease(self, owner: str) -> None:
        await self._database.execute(RELEASE_LEASE, owner)

    async def set_bus_epoch(self, token: int, bus_epoch: str) -> None:
        await self._database.execute(SET_BUS_EPOCH, token, bus_epoch)

    async def unpublished(self, limit: int) -> Sequence[tuple[RowKey, OutboxRecord]]:
        rows = await self._database.fetch(UNPUBLISHED, limit, self._settings.patience_s)
        return [
            (RowKey(row["seq"], row["created_at"]), _record(row))
            for row in takewhile(lambda row: not row["must_wait"], rows)
        ]

    async def mark_published(self, token: int, keys: Sequence[RowKey]) -> bool:
        moments = [key.created_at for key in keys]
        status = await self._database.execute(
            MARK_PUBLISHED, token, [key.seq for key in keys], min(moments), max(moments)
        )
        return status != "UPDATE 0"

    async def published(self, last_s: float | None) -> AsyncGenerator[Sequence[OutboxRecord], None]:
        first = 0 if last_s is None else await self._database.fetchval(FIRST_OF_THE_LAST, last_s)
        most = self._settings.read_again_records_max
        while first is not None:
            rows = await self._database.fetch(PUBLISHED, first, most)
            if rows:
                yield [_record(row) for row in rows]
            first = rows[-1]["seq"] + 1 if len(rows) == most else None

    async def backlog(self) -> Backlog:
        row = await self._database.fetchrow(BACKLOG, self._settings.backlog_rows_max)
        return Backlog(0, 0.0) if row is None else Backlog(row["rows"], row["oldest_s"])

    async def maintain(self) -> None:
        now: datetime = await self._database.fetchval("SELECT clock_timestamp()")
        await maintain_partitions(self._database, now, self._settings.partitions)


def _record(row: Record) -> OutboxRecord:
    return OutboxRecord(
        event_id=row["id"],
        lane=row["lane"],
        aggregate_type=row["aggregatetype"],
        aggregate_id=row["aggregateid"],
        type=row["type"],
        payload=row["payload"],
        headers=json.loads(row["headers"]),
    )
