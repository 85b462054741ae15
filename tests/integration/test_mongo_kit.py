"""The database kit against a real MongoDB: bounds, translated errors, outages, migrations."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Sized
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pymongo.errors import OperationFailure

from svckit.errors import DeadlineExceeded, Unavailable
from svckit.events.outbox import OutboxRecord
from svckit.migration_files import Component, MigrationError
from svckit.mongo.client import (
    DuplicateKey,
    Mongo,
    MongoSettings,
    Transaction,
    TransactionConflict,
    open_mongo,
)
from svckit.mongo.migrations import migrate
from svckit.mongo.outbox import COMPONENT, OUTBOX, append
from tests.polling import LATE_S, until
from tests.troubles.gate import Gate, gate_before
from tests.troubles.own_store import own_mongod

PEOPLE = "people"
SEND_AGAIN_S = 0.02
# Slow, and then matches nothing.
SLEEP = {"$where": "sleep(4000) || false"}


@pytest.fixture
def settings(mongodb_url: str) -> MongoSettings:
    """A database for this test alone, with patience where limits are not the matter."""
    return MongoSettings(
        mongodb_url,
        f"test_{uuid.uuid4().hex}",
        selection_timeout_s=5.0,
        call_timeout_s=10.0,
        transaction_timeout_s=20.0,
    )


def impatient(settings: MongoSettings) -> MongoSettings:
    return replace(
        settings,
        pool_size_max=4,
        selection_timeout_s=0.3,
        call_timeout_s=0.5,
        transaction_timeout_s=3.0,
    )


@pytest.fixture
async def mongo(settings: MongoSettings) -> AsyncIterator[Mongo]:
    async with open_mongo(settings) as mongo:
        await mongo.command({"create": PEOPLE})
        yield mongo
        await mongo.command({"dropDatabase": 1})


async def count(mongo: Mongo) -> int:
    return await mongo.collection(PEOPLE).count({}, at_most=1000)


async def test_transaction_commits_and_rolls_back(mongo: Mongo) -> None:
    async def insert(transaction: Transaction) -> str:
        await transaction.collection(PEOPLE).insert({"_id": 1})
        assert await count(mongo) == 0
        return "done"

    async def fail(transaction: Transaction) -> None:
        await transaction.collection(PEOPLE).insert({"_id": 2})
        raise ZeroDivisionError

    assert await mongo.run(insert) == "done"
    with pytest.raises(ZeroDivisionError):
        await mongo.run(fail)
    assert await mongo.collection(PEOPLE).find({}) == [{"_id": 1}]


async def test_values_come_back_as_they_were(mongo: Mongo) -> None:
    person_id = uuid.uuid4()
    people = mongo.collection(PEOPLE)
    await people.insert({"_id": person_id, "packed": b"\0\xff"})
    found = await people.find_and_update({"_id": person_id}, [{"$set": {"at": "$$NOW"}}])
    assert found is not None
    assert found["at"].tzinfo is not None
    assert found["_id"] == person_id
    assert found["packed"] == b"\0\xff"
    stored = await people.aggregate([{"$project": {"bytes": {"$binarySize": "$_id"}}}])
    assert stored[0]["bytes"] == 16


async def test_same_key_is_refused_by_name(mongo: Mongo) -> None:
    people = mongo.collection(PEOPLE)
    by_name = {"key": {"name": 1, "town": 1}, "name": "by_name", "unique": True}
    await mongo.command({"createIndexes": PEOPLE, "indexes": [by_name]})
    await people.insert({"_id": 1, "name": "ada", "town": "x"})
    for documents in (
        [{"_id": 2, "name": "ada", "town": "x"}],
        [{"_id": 3, "name": "eve"}, {"_id": 2, "name": "ada", "town": "x"}],
    ):
        with pytest.raises(DuplicateKey) as raised:
            await people.insert(*documents)
        assert raised.value.fields == ("name", "town")

    async def insert_both(transaction: Transaction) -> None:
        await transaction.collection(PEOPLE).insert({"_id": 4})
        await transaction.collection(PEOPLE).insert({"_id": 1})

    with pytest.raises(DuplicateKey) as raised:
        await mongo.run(insert_both)
    assert raised.value.fields == ("_id",)
    assert [each["_id"] for each in await people.find({}, sort={"_id": 1})] == [1, 3]


async def test_inserting_what_may_be_there_says_whether_it_was(mongo: Mongo) -> None:
    people = mongo.collection(PEOPLE)

    async def insert(transaction: Transaction) -> bool:
        return await transaction.collection(PEOPLE).insert_if_absent({"_id": 7, "town": "x"})

    inside = await asyncio.gather(*(mongo.run(insert) for _ in range(20)))
    assert sorted(inside) == [False] * 19 + [True]
    outside = await asyncio.gather(*(people.insert_if_absent({"_id": 8}) for _ in range(20)))
    assert sorted(outside) == [False] * 19 + [True]
    assert await people.find({"_id": 7}) == [{"_id": 7, "town": "x"}]


async def test_mistakes_in_a_call_are_not_hidden(mongo: Mongo) -> None:
    with pytest.raises(OperationFailure, match="unknown operator"):
        await mongo.collection(PEOPLE).find({"age": {"$almost": 1}})


async def test_work_that_met_a_conflict_is_done_again(mongo: Mongo) -> None:
    people = mongo.collection(PEOPLE)
    await people.insert({"_id": 1, "age": 0})
    tries = 0

    async def add_a_year(transaction: Transaction) -> None:
        nonlocal tries
        tries += 1
        person = await transaction.collection(PEOPLE).find_one({"_id": 1})
        assert person is not None
        await asyncio.sleep(0)
        await transaction.collection(PEOPLE).update(
            {"_id": 1}, {"$set": {"age": person["age"] + 1}}
        )

    await asyncio.gather(*(mongo.run(add_a_year) for _ in range(6)))
    assert tries > 6
    assert await people.find({}) == [{"_id": 1, "age": 6}]


async def test_conflicts_without_end_are_given_up(mongo: Mongo) -> None:
    people = mongo.collection(PEOPLE)
    await people.insert({"_id": 1})
    tries = 0

    async def be_outrun(transaction: Transaction) -> None:
        nonlocal tries
        tries += 1
        await transaction.collection(PEOPLE).find({})
        await people.update({"_id": 1}, {"$inc": {"age": 1}})
        await transaction.collection(PEOPLE).update({"_id": 1}, {"$inc": {"age": 1}})

    with pytest.raises(TransactionConflict):
        await mongo.run(be_outrun)
    assert tries == 8
    assert await people.find({}) == [{"_id": 1, "age": 8}]


async def test_slow_call_and_slow_transaction_end_in_time(settings: MongoSettings) -> None:
    limits = replace(impatient(settings), transaction_timeout_s=0.3)
    async with open_mongo(limits) as mongo:
        await mongo.collection(PEOPLE).insert({"_id": 1})

        async def dawdle(transaction: Transaction) -> None:
            await transaction.collection(PEOPLE).insert({"_id": 2})
            await asyncio.Event().wait()

        with pytest.raises(DeadlineExceeded):
            await mongo.collection(PEOPLE).find(SLEEP)
        with pytest.raises(DeadlineExceeded):
            await mongo.run(dawdle)
        assert await count(mongo) == 1
        await mongo.collection(PEOPLE).update({"_id": 2}, {"$set": {"free": True}})


async def test_cancelled_transactions_leave_nothing_and_hold_nobody_up(mongo: Mongo) -> None:
    async def write(number: int) -> None:
        async def insert(transaction: Transaction) -> None:
            await transaction.collection(PEOPLE).insert({"_id": number})
            await transaction.collection(PEOPLE).update({"_id": number}, {"$set": {"x": 1}})
            await transaction.collection(PEOPLE).find({"_id": number, "$where": "sleep(50)"})

        await mongo.run(insert)

    async def insert_all(transaction: Transaction) -> None:
        await transaction.collection(PEOPLE).insert(*({"_id": number} for number in range(6)))

    async def can_insert_all() -> bool:
        with suppress(TransactionConflict):
            await mongo.run(insert_all)
            return True
        return False

    for step in range(40):
        calls = [asyncio.create_task(write(number)) for number in range(6)]
        await asyncio.wait(calls, timeout=step * 0.0002)
        for call in calls:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
    await until(can_insert_all)
    assert await mongo.collection(PEOPLE).find({"x": 1}) == []


@asynccontextmanager
async def _gated(settings: MongoSettings) -> AsyncIterator[tuple[Gate, MongoSettings]]:
    port = urlsplit(settings.url).port
    assert port is not None
    async with gate_before(port) as gate:
        url = f"mongodb://127.0.0.1:{gate.port}/?directConnection=true"
        yield gate, replace(impatient(settings), url=url)


async def insert_any(mongo: Mongo) -> None:
    await mongo.run(
        lambda transaction: transaction.collection(PEOPLE).insert({"_id": uuid.uuid4()})
    )


async def test_starts_without_mongodb_and_outlives_its_outage(settings: MongoSettings) -> None:
    async with _gated(settings) as (gate, gated), open_mongo(gated) as mongo:
        gate.shut()
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable) as raised:
            await mongo.ping()
        assert raised.value.metadata == {"dependency": "mongodb"}
        assert asyncio.get_running_loop().time() - started < 1 + LATE_S
        await gate.open()
        await until(lambda: _answers(mongo))
        await insert_any(mongo)

        gate.shut()
        with pytest.raises(Unavailable):
            await insert_any(mongo)
        started = asyncio.get_running_loop().time()
        calls = [insert_any(mongo) if number % 2 else count(mongo) for number in range(100)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, Unavailable) for each in results), results
        assert asyncio.get_running_loop().time() - started < 1 + LATE_S
        await gate.open()
        await until(lambda: _answers(mongo))
        await insert_any(mongo)


async def _answers(mongo: Mongo) -> bool:
    try:
        await mongo.ping()
    except Unavailable:
        return False
    return True


async def test_frozen_mongodb_holds_nobody_beyond_the_limits(settings: MongoSettings) -> None:
    async with _gated(settings) as (gate, gated), open_mongo(gated) as mongo:
        await insert_any(mongo)
        gate.freeze()
        started = asyncio.get_running_loop().time()
        calls = [insert_any(mongo) if number % 2 else count(mongo) for number in range(40)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, (Unavailable, DeadlineExceeded)) for each in results), results
        assert asyncio.get_running_loop().time() - started < 4
        gate.thaw()
        await until(lambda: _answers(mongo), timeout_s=10.0)
        await insert_any(mongo)


async def test_what_was_acknowledged_outlives_kill_9_with_its_event(tmp_path: Path) -> None:
    acknowledged: set[uuid.UUID] = set()
    refused: list[Exception] = []
    over = asyncio.Event()

    async def write(mongo: Mongo) -> None:
        while not over.is_set():
            person_id = uuid.uuid4()
            record = OutboxRecord(
                person_id,
                str(person_id),
                "PersonAdded",
                b"",
                aggregate_type="person",
                aggregate_id="1",
            )

            async def add(transaction: Transaction, record: OutboxRecord = record) -> None:
                await transaction.collection(PEOPLE).insert({"_id": record.event_id})
                await append(transaction, [record])

            try:
                await mongo.run(add)
            except (Unavailable, DeadlineExceeded) as error:
                refused.append(error)
                await asyncio.sleep(SEND_AGAIN_S)  # while it is silent nobody waits for it
            else:
                acknowledged.add(person_id)

    async with own_mongod(tmp_path) as server:
        settings = MongoSettings(server.url, "kill")
        await migrate(settings, [COMPONENT])
        async with open_mongo(settings) as mongo, asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(write(mongo))
            await until(_rises(acknowledged, by=300), 30.0)
            await server.kill()
            await until(_rises(refused, by=1))
            await server.start()
            await until(_rises(acknowledged, by=100), 30.0)
            over.set()
        async with open_mongo(settings) as mongo:
            people = {each["_id"] for each in await mongo.collection(PEOPLE).find({})}
            events = {each["_id"] for each in await mongo.collection(OUTBOX).find({})}
    print(f"{len(acknowledged)} acknowledged, {len(refused)} refused, {len(people)} there")  # noqa: T201
    assert acknowledged <= people
    assert people == events


def _rises(counted: Sized, *, by: int) -> Callable[[], bool]:
    enough = len(counted) + by
    return lambda: len(counted) >= enough


def write_files(directory: Path, **files: list[object]) -> Component:
    directory.mkdir(exist_ok=True)
    for name, commands in files.items():
        (directory / f"{name.removeprefix('v')}.json").write_text(json.dumps(commands))
    return Component(directory.name, directory)


def create(name: str) -> dict[str, object]:
    return {"create": name, "comment": "what it is for"}


def index(collection: str, field: str) -> dict[str, object]:
    return {"createIndexes": collection, "indexes": [{"name": field, "key": {field: 1}}]}


def insert(collection: str, number: int) -> dict[str, object]:
    return {"insert": collection, "documents": [{"number": number}]}


async def test_migrations_are_applied_once_by_many_at_once(
    settings: MongoSettings, tmp_path: Path
) -> None:
    one = write_files(
        tmp_path / "one", v0001_a=[create("t"), insert("t", 1)], v0002_b=[index("t", "x")]
    )
    two = write_files(tmp_path / "two", v0001_more=[insert("t", 2)])

    applied = await asyncio.gather(*(migrate(settings, [one, two]) for _ in range(8)))

    assert sorted(len(each) for each in applied) == [0] * 7 + [3]
    write_files(tmp_path / "two", v0002_third=[insert("t", 3)])
    assert [str(each) for each in await migrate(settings, [one, two])] == ["two 0002_third"]
    async with open_mongo(settings) as mongo:
        rows = await mongo.collection("t").find({}, sort={"number": 1})
        assert [row["number"] for row in rows] == [1, 2, 3]
        assert set(await _index_names(mongo, "t")) == {"_id_", "x"}


async def _index_names(mongo: Mongo, collection: str) -> list[str]:
    answer = await mongo.command({"listIndexes": collection})
    return [index["name"] for index in answer["cursor"]["firstBatch"]]


async def test_migration_that_was_cut_off_goes_on(settings: MongoSettings, tmp_path: Path) -> None:
    bad = {"createIndexes": "t", "indexes": [{"name": "y", "key": {"y": "sideways"}}]}
    one = write_files(tmp_path / "one", v0001_a=[create("t"), index("t", "x"), bad])
    with pytest.raises(MigrationError, match=r"one 0001_a: createIndexes t: .*sideways"):
        await migrate(settings, [one])
    write_files(tmp_path / "one", v0001_a=[create("t"), index("t", "x"), index("t", "y")])
    assert len(await migrate(settings, [one])) == 1
    async with open_mongo(settings) as mongo:
        assert set(await _index_names(mongo, "t")) == {"_id_", "x", "y"}


async def test_files_that_do_not_fit_the_database_are_refused(
    settings: MongoSettings, tmp_path: Path
) -> None:
    one = write_files(tmp_path / "one", v0001_a=[create("a")], v0002_b=[create("b")])
    await migrate(settings, [one])
    write_files(one.directory, v0001_a=[create("c")])
    with pytest.raises(MigrationError, match="one 0001_a: the file was changed"):
        await migrate(settings, [one])
    (one.directory / "0001_a.json").unlink()
    with pytest.raises(MigrationError, match="one 0002_b: expected version 0001"):
        await migrate(settings, [one])
    write_files(one.directory, v0001_a=[create("a")], v1_b=[])
    with pytest.raises(MigrationError, match=r"1_b\.json is not named like 0001_name\.json"):
        await migrate(settings, [one])


async def test_newer_schema_is_left_alone(settings: MongoSettings, tmp_path: Path) -> None:
    newer = write_files(tmp_path / "one", v0001_a=[create("a")], v0002_b=[create("b")])
    await migrate(settings, [newer])
    (newer.directory / "0002_b.json").unlink()
    assert await migrate(settings, [newer]) == []


async def test_migrating_without_mongodb_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await migrate(MongoSettings("mongodb://127.0.0.1:1/", "nothing"), [])
