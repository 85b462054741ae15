"""The outbox in MongoDB: written by a transaction's last call, read by the relay.

Which records may be published, and in what order:

`seq` is given by the server: an empty timestamp in an insert becomes a tick of its logical clock,
and every tick is later than all before it, on a successor of the primary too. A commit takes its
own, later tick. If the transaction of e1 had committed before that of e2 came to its `append`, then
seq1 < commit1 < seq2. That covers every pair of transactions that were in each other's way: the one
that met a conflict was done again after the other had committed. It also covers what one person
does after an earlier change was acknowledged. Other pairs have no order to keep.

The relay reads by `seq` in a snapshot: what it sees is all that committed before one moment, so
with e2 it sees e1, which a plain query, reading on while others commit, does not promise. Snapshots
hold what a majority has, so nothing is published that a change of primary could undo. Records are
marked one by one, never by a position: one that appears late below a published one is not skipped.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from bson import Timestamp

from svckit.events.outbox import Backlog, Lease, OutboxRecord, OutboxSettings
from svckit.migration_files import Component
from svckit.mongo import lease as mongo_lease
from svckit.mongo.client import Document, Mongo, Transaction

COMPONENT = Component("svckit", Path(__file__).parent / "schema")
OUTBOX = "outbox"
LEASES = "outbox_lease"
LEASE = "relay"

_FROM_THE_SERVER = Timestamp(0, 0)


async def append(transaction: Transaction, records: Sequence[OutboxRecord]) -> None:
    """Write the records, in order, with one call: the last one of the transaction."""
    now = datetime.now(UTC)
    documents = [_document(record, now) for record in records]
    await transaction.collection(OUTBOX).insert(*documents)


class MongoOutbox:
    """The relay's `OutboxSource`."""

    def __init__(self, mongo: Mongo, settings: OutboxSettings | None = None) -> None:
        self._mongo = mongo
        self._settings = settings or OutboxSettings()
        self._outbox = mongo.collection(OUTBOX)
        self._leases = mongo.collection(LEASES)

    async def hold_lease(self, owner: str, ttl_s: float) -> Lease | None:
        found = await mongo_lease.hold(self._leases, LEASE, owner, ttl_s)
        return None if found is None else Lease(found["token"], found.get("bus_epoch"))

    async def release_lease(self, owner: str) -> None:
        await mongo_lease.release(self._leases, LEASE, owner)

    async def set_bus_epoch(self, token: int, bus_epoch: str) -> None:
        holder = {"_id": LEASE, "token": token}
        await self._leases.update(holder, {"$set": {"bus_epoch": bus_epoch}})

    async def unpublished(self, limit: int) -> Sequence[tuple[UUID, OutboxRecord]]:
        async with self._mongo.snapshot() as collection:
            found = await collection(OUTBOX).find(
                {"is_published": False}, sort={"is_published": 1, "seq": 1}, limit=limit
            )
        return [(document["_id"], _record(document)) for document in found]

    async def mark_published(self, token: int, keys: Sequence[UUID]) -> bool:
        async def mark(transaction: Transaction) -> bool:
            # Written, not only read: who takes the lease over meanwhile is in conflict with this.
            holder = {"_id": LEASE, "token": token}
            noted = {"$currentDate": {"marked_at": True}}
            if not await transaction.collection(LEASES).update(holder, noted):
                return False
            unmarked = {"_id": {"$in": list(keys)}, "is_published": False}
            mark = {"$set": {"is_published": True}, "$currentDate": {"published_at": True}}
            return await transaction.collection(OUTBOX).update(unmarked, mark) > 0

        return await self._mongo.run(mark)

    async def published(self, last_s: float | None) -> AsyncGenerator[Sequence[OutboxRecord], None]:
        first = await self._first_of_the_last(last_s)
        most = self._settings.read_again_records_max
        seen: set[UUID] = set()
        while first is not None:
            found = await self._outbox.find(
                {"is_published": True, "seq": {"$gte": first}},
                sort={"is_published": 1, "seq": 1},
                limit=most,
            )
            # Two shards may give the same seq, to records of different lanes.
            if fresh := [each for each in found if each["_id"] not in seen]:
                yield [_record(document) for document in fresh]
            seen = {document["_id"] for document in found}
            first = found[-1]["seq"] if fresh and len(found) == most else None

    async def _first_of_the_last(self, last_s: float | None) -> Timestamp | None:
        """The lowest seq of what was marked in the `last_s` before the last mark."""
        if last_s is None:
            return Timestamp(0, 0)
        newest = await self._outbox.find({}, sort={"published_at": -1}, limit=1)
        if not newest or "published_at" not in newest[0]:
            return None
        since = newest[0]["published_at"] - timedelta(seconds=last_s)
        [first] = await self._outbox.aggregate(
            [
                {"$match": {"published_at": {"$gte": since}}},
                {"$group": {"_id": None, "seq": {"$min": "$seq"}}},
            ]
        )
        seq: Timestamp = first["seq"]
        return seq

    async def backlog(self) -> Backlog:
        waiting = {"is_published": False}
        oldest = await self._outbox.aggregate(
            [
                {"$match": waiting},
                {"$sort": {"is_published": 1, "seq": 1}},
                {"$limit": 1},
                {"$project": {"age_ms": {"$subtract": ["$$NOW", "$created_at"]}}},
            ]
        )
        if not oldest:
            return Backlog(0, 0.0)
        rows = await self._outbox.count(waiting, at_most=self._settings.backlog_rows_max)
        return Backlog(rows, max(0, oldest[0]["age_ms"]) / 1000)

    async def maintain(self) -> None:
        """Nothing: an index of MongoDB's drops what was published a day ago."""


def _document(record: OutboxRecord, now: datetime) -> Document:
    return {
        "_id": record.event_id,
        "aggregatetype": record.aggregate_type,
        "aggregateid": record.aggregate_id,
        "type": record.type,
        "payload": record.payload,
        "lane": record.lane,
        "headers": dict(record.headers),
        "seq": _FROM_THE_SERVER,
        "created_at": now,
        "is_published": False,
    }


def _record(document: Document) -> OutboxRecord:
    return OutboxRecord(
        event_id=document["_id"],
        lane=document["lane"],
        aggregate_type=document["aggregatetype"],
        aggregate_id=document["aggregateid"],
        type=document["type"],
        payload=document["payload"],
        headers=document["headers"],
    )
