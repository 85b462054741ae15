"""The outbox in MongoDB: what is about its order, snapshots and indexes; relays come and go."""

import asyncio
import random
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import cast

import pytest

from svckit.events.bus import BusRecord
from svckit.events.outbox import OutboxRecord
from svckit.events.relay import Relay, RelaySettings
from svckit.mongo.client import (
    Document,
    Mongo,
    MongoSettings,
    Transaction,
    TransactionConflict,
    open_mongo,
)
from svckit.mongo.migrations import migrate
from svckit.mongo.outbox import COMPONENT, OUTBOX, MongoOutbox, append
from tests.contract.outbox_suite import record, waiting
from tests.polling import until

WRITERS = 20
EVENTS = 1_000
LANES = 8
COUNTERS = "lane_counters"
# Nothing is published again for safety: it would hide what the relay itself loses.
SETTINGS = RelaySettings(lease_ttl_s=0.3, lease_renew_s=0.1, batch_records_max=20, republish_s=0.0)


@pytest.fixture
async def mongo(mongodb_url: str) -> AsyncIterator[Mongo]:
    settings = MongoSettings(
        mongodb_url, f"test_{uuid.uuid4().hex}", call_timeout_s=10.0, transaction_timeout_s=20.0
    )
    await migrate(settings, [COMPONENT])
    async with open_mongo(settings) as mongo:
        yield mongo
        await mongo.command({"dropDatabase": 1})


async def append_all(mongo: Mongo, records: Sequence[OutboxRecord]) -> None:
    await mongo.run(lambda transaction: append(transaction, records))


async def test_record_that_was_committed_first_goes_first(mongo: Mongo) -> None:
    """Even if the other transaction began earlier, and its event has an earlier id."""
    first, second = record("a"), record("a")
    first, second = sorted((first, second), key=lambda each: each.event_id, reverse=True)

    async def begin_early(transaction: Transaction) -> None:
        await transaction.collection(COUNTERS).insert({"_id": "begun"})
        await append_all(mongo, [first])
        await append(transaction, [second])

    await mongo.command({"create": COUNTERS})
    await mongo.run(begin_early)
    assert await waiting(MongoOutbox(mongo)) == [first, second]


async def test_record_that_appears_below_a_published_one_is_not_skipped(mongo: Mongo) -> None:
    outbox = MongoOutbox(mongo)
    lease = await outbox.hold_lease("me", 3.0)
    assert lease is not None
    token = lease.token
    late = record("a")

    async def commit_late(transaction: Transaction) -> None:
        await append(transaction, [late])
        await append_all(mongo, [record("b")])
        batch = await outbox.unpublished(10)
        assert await outbox.mark_published(token, [key for key, _ in batch])

    await mongo.run(commit_late)
    assert await waiting(outbox) == [late]


async def test_what_is_read_together_is_of_one_moment(mongo: Mongo) -> None:
    """Many pages of records, and below them some whose transactions commit while one reads on."""
    outbox = MongoOutbox(mongo)
    pairs = [(record(str(pair), 1), record(str(pair), 2)) for pair in range(50)]
    may_commit = [asyncio.Event() for _ in pairs]
    appended = asyncio.Semaphore(0)
    reads: list[Sequence[OutboxRecord]] = []

    async def write_late(pair: int) -> None:
        first, second = pairs[pair]

        async def work(transaction: Transaction) -> None:
            await append(transaction, [first])
            appended.release()
            await may_commit[pair].wait()

        await mongo.run(work)
        await append_all(mongo, [second])

    async def read_on() -> None:
        while not reads or len(reads[-1]) < len(large) + 2 * len(pairs):
            reads.append(await waiting(outbox))

    large = [replace(record("large"), payload=bytes(60_000)) for _ in range(150)]
    async with asyncio.TaskGroup() as tasks:
        writers = [tasks.create_task(write_late(pair)) for pair in range(len(pairs))]
        for _ in pairs:
            await appended.acquire()
        await append_all(mongo, large)
        tasks.create_task(read_on())
        for commit, writer in zip(may_commit, writers, strict=True):
            commit.set()
            await writer

    for read in reads:
        for first, second in pairs:
            assert first in read or second not in read


class Overtaken:
    """A database where another takes the lease over after each transaction has begun."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self.collection = mongo.collection

    async def run(self, work: Callable[[Transaction], Awaitable[bool]]) -> bool:
        async def work_too_late(transaction: Transaction) -> bool:
            await transaction.collection(OUTBOX).find({})
            assert await MongoOutbox(self._mongo).hold_lease("another", 3600.0)
            return await work(transaction)

        return await self._mongo.run(work_too_late)


async def test_mark_that_a_takeover_comes_between_marks_nothing(mongo: Mongo) -> None:
    await append_all(mongo, [record("a")])
    outbox = MongoOutbox(cast("Mongo", Overtaken(mongo)))
    mine = await outbox.hold_lease("me", -1.0)
    assert mine is not None
    [(key, _)] = await MongoOutbox(mongo).unpublished(1)
    assert not await outbox.mark_published(mine.token, [key])
    assert len(await waiting(MongoOutbox(mongo))) == 1


async def test_queries_of_the_relay_use_an_index(mongo: Mongo) -> None:
    await append_all(mongo, [record("a", number) for number in range(50)])
    for is_published in (False, True):
        explained = await mongo.command(
            {
                "explain": {
                    "find": OUTBOX,
                    "filter": {"is_published": is_published},
                    "sort": {"is_published": 1, "seq": 1},
                    "limit": 10,
                }
            }
        )
        assert _stages(explained["queryPlanner"]["winningPlan"]) == ["LIMIT", "FETCH", "IXSCAN"]


def _stages(plan: Document) -> list[str]:
    return [plan["stage"], *(_stages(plan["inputStage"]) if "inputStage" in plan else [])]


class SlowPublisher:
    """A bus that remembers what came, and pauses within a batch: it is often left half-way."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[str, int]] = []

    async def publish(self, records: Sequence[BusRecord]) -> None:
        for each in records:
            self.arrivals.append((each.lane, int(each.payload)))
            if random.random() < 0.1:
                await asyncio.sleep(0)

    async def epoch(self) -> None:
        """It does not forget."""


async def write(mongo: Mongo, writer: int) -> None:
    """One writer's transactions: begun early, a shared lane's counter, pauses, the event last."""
    dice = random.Random(writer)

    async def pause() -> None:
        if dice.random() < 0.3:
            await asyncio.sleep(dice.expovariate(1 / 0.002))

    async def follow(transaction: Transaction) -> None:
        await pause()
        counter = await transaction.collection(COUNTERS).find_and_update(
            {"_id": dice.randrange(LANES)}, {"$inc": {"number": 1}}
        )
        assert counter is not None
        await pause()
        await append(transaction, [record(str(counter["_id"]), counter["number"])])
        await pause()

    done = 0
    while done < EVENTS // WRITERS:
        with suppress(TransactionConflict):
            await mongo.run(follow)
            done += 1


async def test_nothing_is_skipped_and_lanes_keep_their_order_while_relays_come_and_go(
    mongo: Mongo,
) -> None:
    publisher = SlowPublisher()
    await mongo.collection(COUNTERS).insert(*({"_id": n, "number": 0} for n in range(LANES)))

    async def is_published(count: int) -> bool:
        published = {"is_published": True}
        return await mongo.collection(OUTBOX).count(published, at_most=EVENTS) >= count

    async with asyncio.TaskGroup() as tasks:
        for writer in range(WRITERS):
            tasks.create_task(write(mongo, writer))
        for count in (EVENTS // 5, EVENTS // 2, EVENTS):
            relays = [Relay(MongoOutbox(mongo), publisher, SETTINGS) for _ in range(2)]
            running = [asyncio.create_task(relay.run()) for relay in relays]
            await until(partial(is_published, count), timeout_s=60.0)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    check_arrivals(publisher.arrivals)


def check_arrivals(arrivals: Sequence[tuple[str, int]]) -> None:
    """Every event at least once, and the first arrivals of a lane in the order 1, 2, 3 ..."""
    last: dict[str, int] = defaultdict(int)
    early = []
    for lane, number in arrivals:
        if number == last[lane] + 1:
            last[lane] = number
        elif number > last[lane]:
            early.append((lane, last[lane], number))
    assert early == []
    assert sum(last.values()) == EVENTS
