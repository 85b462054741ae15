"""What every outbox must do for the relay, whichever store it is in.

A subclass in a `test_` file brings the fixture `engine`. Nothing in here knows a store.
"""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, Protocol

from svckit.events.outbox import OutboxRecord, OutboxSource
from tests.polling import until


class OutboxEngine(Protocol):
    """One empty outbox, which reads again at most 500 records at once."""

    @property
    def outbox(self) -> OutboxSource[Any]: ...

    async def append(self, records: Sequence[OutboxRecord]) -> None:
        """In one transaction."""

    async def age_marks(self, keys: Sequence[Any], by_s: float) -> None:
        """As if they had been marked so much earlier."""


def record(lane: str, number: int = 0) -> OutboxRecord:
    return OutboxRecord(
        event_id=uuid.uuid4(),
        lane=lane,
        aggregate_type="post",
        aggregate_id=lane,
        type="PostCreated",
        payload=str(number).encode(),
        headers={"traceparent": f"00-{number:032x}-0000000000000001-01"},
    )


async def waiting(outbox: OutboxSource[Any]) -> Sequence[OutboxRecord]:
    return [each for _, each in await outbox.unpublished(1000)]


async def read_again(outbox: OutboxSource[Any], last_s: float | None) -> list[OutboxRecord]:
    return [each async for some in outbox.published(last_s) for each in some]


class OutboxSuite:
    async def test_records_come_back_as_written_in_the_order_written(
        self, engine: OutboxEngine
    ) -> None:
        records = [record(f"lane {number % 3}", number) for number in range(700)]
        await engine.append(records)
        await engine.append([])
        assert await waiting(engine.outbox) == records
        assert [each for _, each in await engine.outbox.unpublished(10)] == records[:10]

    async def test_lease_has_one_owner_expires_and_fences(self, engine: OutboxEngine) -> None:
        outbox = engine.outbox
        await engine.append([record("a")])
        [(key, _)] = await outbox.unpublished(1)
        mine = await outbox.hold_lease("me", 3600.0)
        assert mine is not None
        assert await outbox.hold_lease("another", 3600.0) is None
        assert await outbox.hold_lease("me", -1.0) == mine
        others = await outbox.hold_lease("another", 3600.0)
        assert others is not None
        assert others.token > mine.token
        assert await outbox.hold_lease("me", 3600.0) is None

        assert not await outbox.mark_published(mine.token, [key])
        assert len(await waiting(outbox)) == 1
        await outbox.set_bus_epoch(mine.token, "mine")
        assert await outbox.mark_published(others.token, [key])
        assert await waiting(outbox) == []
        await outbox.set_bus_epoch(others.token, "theirs")
        await outbox.release_lease("me")
        assert await outbox.hold_lease("me", 3600.0) is None
        await outbox.release_lease("another")
        third = await outbox.hold_lease("me", 3600.0)

        assert third is not None
        assert third.token > others.token
        assert third.bus_epoch == "theirs"

    async def test_first_lease_of_all_goes_to_one(self, engine: OutboxEngine) -> None:
        asked = [engine.outbox.hold_lease(str(owner), 60.0) for owner in range(10)]
        leases = await asyncio.gather(*asked)
        assert len([lease for lease in leases if lease is not None]) == 1

    async def test_published_records_are_read_again_from_the_last_mark_back(
        self, engine: OutboxEngine
    ) -> None:
        outbox = engine.outbox
        lease = await outbox.hold_lease("me", 3600.0)
        assert lease is not None
        assert await read_again(outbox, 60.0) == await read_again(outbox, None) == []
        records = [record("a", number) for number in range(1203)]
        await engine.append(records)
        assert await read_again(outbox, 60.0) == await read_again(outbox, None) == []
        keys = [key for key, _ in await outbox.unpublished(1202)]
        await outbox.mark_published(lease.token, keys)
        await engine.age_marks(keys[:100], by_s=120.0)

        assert await read_again(outbox, None) == records[:1202]
        assert await read_again(outbox, 60.0) == records[100:1202]

    async def test_backlog_counts_what_waits(self, engine: OutboxEngine) -> None:
        outbox = engine.outbox

        async def is_old() -> bool:
            return (await outbox.backlog()).oldest_s > 0.0

        assert (await outbox.backlog()).rows == 0
        await engine.append([record("a"), record("b")])
        await until(is_old)
        assert (await outbox.backlog()).rows == 2
        lease = await outbox.hold_lease("me", 3600.0)
        assert lease is not None
        [(key, _)] = await outbox.unpublished(1)
        await outbox.mark_published(lease.token, [key])
        assert (await outbox.backlog()).rows == 1

    async def test_maintenance_drops_nothing_that_waits(self, engine: OutboxEngine) -> None:
        records = [record("a"), record("b")]
        await engine.append(records)
        await engine.outbox.maintain()
        assert await waiting(engine.outbox) == records
