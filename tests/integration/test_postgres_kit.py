"""The database kit against a real PostgreSQL: bounds, translated errors, outages, migrations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from svckit.errors import DeadlineExceeded, Unavailable
from svckit.migration_files import Component, MigrationError
from svckit.postgres.client import Connection, Database, PostgresSettings, open_database
from svckit.postgres.errors import (
    ConstraintViolation,
    TransactionConflict,
)
from svckit.postgres.migrations import migrate
from svckit.settings import Secret
from tests.polling import until
from tests.troubles.gate import Gate, gate_before

SCHEMA = """
CREATE TABLE people (
    person_id integer CONSTRAINT people_key PRIMARY KEY,
    friend_id integer CONSTRAINT people_friend REFERENCES people,
    age integer NOT NULL DEFAULT 0 CONSTRAINT people_age CHECK (age >= 0)
)
"""
SLEEP = "SELECT pg_sleep(4)"
INSERT = "INSERT INTO people (person_id) VALUES ($1)"


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    settings = PostgresSettings(
        dsn=Secret(database_dsn),
        pool_size_max=2,
        acquire_timeout_s=1.0,
        statement_timeout_s=1.0,
        transaction_timeout_s=2.0,
    )
    async with open_database(settings) as database:
        await database.execute(SCHEMA)
        yield database


async def count(database: Database) -> int:
    found: int = await database.fetchval("SELECT count(*) FROM people")
    return found


async def test_transaction_commits_and_rolls_back(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT, 1)

    async def fail(connection: Connection) -> None:
        await connection.execute(INSERT, 2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(fail)
    assert [row["person_id"] for row in await database.fetch("SELECT * FROM people")] == [1]


async def test_violated_constraints_are_named(database: Database) -> None:
    await database.execute(INSERT, 1)
    with pytest.raises(ConstraintViolation) as unique:
        await database.execute(INSERT, 1)
    with pytest.raises(ConstraintViolation) as foreign:
        await database.execute("INSERT INTO people VALUES (2, 99)")
    with pytest.raises(ConstraintViolation) as check:
        await database.execute("UPDATE people SET age = -1")
    with pytest.raises(ConstraintViolation) as null:
        await database.execute("UPDATE people SET age = NULL")
    raised = (unique, foreign, check, null)
    assert [each.value.constraint for each in raised] == [
        "people_key",
        "people_friend",
        "people_age",
        "age",
    ]


async def test_an_error_can_be_caught_where_it_happens(database: Database) -> None:
    await database.execute(INSERT, 1)

    async def insert_again(connection: Connection) -> None:
        with pytest.raises(ConstraintViolation):
            await connection.execute(INSERT, 1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(insert_again)


async def test_a_violation_inside_a_transaction_leaves_no_half_of_it(database: Database) -> None:
    await database.execute(INSERT, 1)

    async def insert_both(connection: Connection) -> None:
        await connection.execute(INSERT, 2)
        await connection.execute(INSERT, 1)

    with pytest.raises(ConstraintViolation):
        await database.run(insert_both)
    assert await count(database) == 1


async def test_mistakes_in_a_statement_are_not_hidden(database: Database) -> None:
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await database.execute("SELEKT 1")
    with pytest.raises(asyncpg.DataError):
        await database.execute(INSERT, "one")


async def test_deadlocked_work_is_done_again(database: Database) -> None:
    await database.execute("INSERT INTO people (person_id) VALUES (1), (2)")
    both_hold_one = asyncio.Barrier(2)
    tries = {1: 0, 2: 0}

    async def work(first: int, second: int) -> None:
        async def age_both(connection: Connection) -> None:
            tries[first] += 1
            await connection.execute("SET LOCAL deadlock_timeout = '20ms'")
            add_a_year = "UPDATE people SET age = age + 1 WHERE person_id = $1"
            await connection.execute(add_a_year, first)
            if tries[first] == 1:
                await both_hold_one.wait()
            await connection.execute(add_a_year, second)

        await database.run(age_both)

    await asyncio.gather(work(1, 2), work(2, 1))

    assert sum(tries.values()) > 2
    ages = [row["age"] for row in await database.fetch("SELECT age FROM people")]
    assert ages == [2, 2]


async def test_work_survives_a_change_of_the_schema(database: Database) -> None:
    async def read(connection: Connection) -> list[str]:
        await connection.execute(INSERT, 1)
        row = await connection.fetchrow("SELECT * FROM people")
        await connection.execute("DELETE FROM people")
        assert row is not None
        return list(row.keys())

    await database.run(read)
    await database.execute("ALTER TABLE people ADD COLUMN town text")
    assert "town" in await database.run(read)


async def test_conflicts_without_end_are_given_up(database: Database) -> None:
    tries = 0

    async def conflict(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        await connection.execute("DO $$ BEGIN RAISE serialization_failure; END $$")

    with pytest.raises(TransactionConflict):
        await database.run(conflict)
    assert tries == 5


async def test_slow_statement_and_slow_transaction_end_in_time(database: Database) -> None:
    async def dawdle(connection: Connection) -> None:
        await connection.execute(INSERT, 1)
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded):
        await database.execute("SELECT pg_sleep(30)")
    with pytest.raises(DeadlineExceeded):
        await database.run(dawdle)
    assert await count(database) == 0


async def test_wait_for_a_connection_is_bounded(database: Database) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(database.transaction())
        with pytest.raises(Unavailable) as raised:
            await database.ping()
    assert raised.value.metadata == {"dependency": "postgresql"}
    await database.ping()


async def test_cancelled_calls_leak_neither_connections_nor_transactions(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def write(person_id: int) -> None:
        async with database.transaction() as connection:
            await connection.execute(INSERT, person_id)
            await connection.execute("SELECT pg_sleep(0.2)")

    for pause_s in (0.0, 0.001, 0.003, 0.01, 0.03, 0.05):
        calls = [asyncio.create_task(write(person_id)) for person_id in range(6)]
        await asyncio.wait(calls, timeout=pause_s)
        for call in calls:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)

    async with database.transaction(), database.transaction():
        pass
    assert await count(database) == 0
    assert "active transaction" not in caplog.text  # the pool got none back


async def test_demoted_primary_loses_all_connections(database: Database, database_dsn: str) -> None:
    name = database_dsn.rpartition("/")[2]
    await database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await database.execute("SET default_transaction_read_only = on")  # as after a demotion
    process = await database.fetchval("SELECT pg_backend_pid()")
    with pytest.raises(Unavailable):
        await database.execute(INSERT, 1)
    assert await database.fetchval("SELECT pg_backend_pid()") != process
    async with database.transaction() as connection:
        await connection.execute("SET TRANSACTION READ WRITE")
        await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


async def test_killed_session_is_unavailable_once(database: Database) -> None:
    async def be_killed(connection: Connection) -> None:
        process = await connection.fetchval("SELECT pg_backend_pid()")
        await database.execute("SELECT pg_terminate_backend($1)", process)
        await connection.execute(INSERT, 1)

    async def be_killed_and_fail(connection: Connection) -> None:
        with suppress(Exception):
            await be_killed(connection)
        raise ZeroDivisionError

    with pytest.raises(Unavailable):
        await database.run(be_killed)
    with pytest.raises(ZeroDivisionError):
        await database.run(be_killed_and_fail)
    await database.execute(INSERT, 2)
    assert await count(database) == 1


async def test_starts_without_postgresql_and_outlives_its_restart(database_dsn: str) -> None:
    async with (
        _gated(database_dsn) as (gate, settings),
        open_database(settings) as database,
    ):
        gate.shut()
        with pytest.raises(Unavailable):
            await database.ping()
        await gate.open()
        await database.ping()

        sleeping = asyncio.create_task(database.execute(SLEEP))
        await until(lambda: _sleep(database, 1))
        gate.shut()
        with pytest.raises(Unavailable):
            await sleeping
        with pytest.raises(Unavailable):
            await database.run(lambda connection: connection.execute(SCHEMA))
        await gate.open()
        await database.run(lambda connection: connection.execute(SCHEMA))


async def test_frozen_postgresql_holds_nobody_beyond_the_limits(database_dsn: str) -> None:
    async with (
        _gated(database_dsn) as (gate, settings),
        open_database(settings) as database,
    ):
        await database.execute(SCHEMA)
        gate.freeze()
        started = asyncio.get_running_loop().time()

        async def write(person_id: int) -> None:
            async with database.transaction() as connection:
                await connection.execute(INSERT, person_id)

        results = await asyncio.gather(*(write(i) for i in range(8)), return_exceptions=True)
        assert all(isinstance(each, (Unavailable, DeadlineExceeded)) for each in results), results
        assert asyncio.get_running_loop().time() - started < 4

        gate.thaw()
        await database.execute(INSERT, 100)


async def test_calls_that_are_cancelled_while_postgresql_is_frozen_end_soon(
    database_dsn: str,
) -> None:
    async with (
        _gated(database_dsn) as (gate, settings),
        open_database(replace(settings, transaction_timeout_s=20.0)) as database,
    ):
        calls = [
            asyncio.create_task(database.run(lambda each: each.execute(SLEEP))),
            asyncio.create_task(database.execute(SLEEP)),
        ]
        await until(lambda: _sleep(database, 2))
        gate.freeze()
        for call in calls:
            call.cancel()
        await asyncio.wait(calls, timeout=4)
        assert all(call.cancelled() for call in calls)
        gate.thaw()


@asynccontextmanager
async def _gated(dsn: str) -> AsyncIterator[tuple[Gate, PostgresSettings]]:
    address = urlsplit(dsn)
    assert address.port is not None
    async with gate_before(address.port) as gate:
        through_the_gate = dsn.replace(f":{address.port}/", f":{gate.port}/")
        yield (
            gate,
            PostgresSettings(
                dsn=Secret(through_the_gate),
                pool_size_max=3,
                acquire_timeout_s=0.5,
                transaction_timeout_s=0.5,
            ),
        )


async def _sleep(database: Database, count: int) -> bool:
    """Whether that many statements sleep in this database just now."""
    found: int = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query = $1 AND state = 'active' AND datname = current_database()",
        SLEEP,
    )
    return found == count


def write_files(directory: Path, **files: str) -> Component:
    directory.mkdir(exist_ok=True)
    for name, sql in files.items():
        (directory / f"{name.removeprefix('v')}.sql").write_text(sql)
    return Component(directory.name, directory)


async def test_migrations_are_applied_once_by_many_at_once(
    database_dsn: str, tmp_path: Path
) -> None:
    one = write_files(
        tmp_path / "one",
        v0001_first="CREATE TABLE t (x integer); INSERT INTO t VALUES (1);",
        v0002_index="-- no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS t_x ON t (x)",
    )
    two = write_files(tmp_path / "two", v0001_more="INSERT INTO t VALUES (2)")

    applied = await asyncio.gather(*(migrate(database_dsn, [one, two]) for _ in range(8)))

    assert sorted(len(each) for each in applied) == [0] * 7 + [3]
    write_files(tmp_path / "two", v0002_third="INSERT INTO t VALUES (3)")
    assert [str(each) for each in await migrate(database_dsn, [one, two])] == ["two 0002_third"]
    async with open_database(PostgresSettings(dsn=Secret(database_dsn))) as database:
        rows = await database.fetch("SELECT x FROM t ORDER BY x")
    assert [row["x"] for row in rows] == [1, 2, 3]


async def test_migration_that_fails_is_not_half_applied(database_dsn: str, tmp_path: Path) -> None:
    one = write_files(
        tmp_path / "one",
        v0001_good="CREATE TABLE t (x integer)",
        v0002_bad="INSERT INTO t VALUES (1); INSERT INTO nowhere VALUES (1);",
    )
    with pytest.raises(MigrationError, match='one 0002_bad: relation "nowhere" does not exist'):
        await migrate(database_dsn, [one])
    write_files(tmp_path / "one", v0002_bad="INSERT INTO t VALUES (2)")
    await migrate(database_dsn, [one])
    async with open_database(PostgresSettings(dsn=Secret(database_dsn))) as database:
        assert await database.fetchval("SELECT sum(x) FROM t") == 2


async def test_files_that_do_not_fit_the_database_are_refused(
    database_dsn: str, tmp_path: Path
) -> None:
    one = write_files(tmp_path / "one", v0001_a="SELECT 1", v0002_b="SELECT 2")
    await migrate(database_dsn, [one])
    (one.directory / "0001_a.sql").write_text("SELECT 3")
    with pytest.raises(MigrationError, match="one 0001_a: the file was changed"):
        await migrate(database_dsn, [one])
    (one.directory / "0001_a.sql").unlink()
    with pytest.raises(MigrationError, match="one 0002_b: expected version 0001"):
        await migrate(database_dsn, [one])
    write_files(one.directory, v0001_a="SELECT 1", v1_b="")
    with pytest.raises(MigrationError, match=r"1_b\.sql is not named like 0001_name\.sql"):
        await migrate(database_dsn, [one])


async def test_newer_schema_is_left_alone(database_dsn: str, tmp_path: Path) -> None:
    newer = write_files(tmp_path / "one", v0001_a="SELECT 1", v0002_b="SELECT 2")
    await migrate(database_dsn, [newer])
    (newer.directory / "0002_b.sql").unlink()
    assert await migrate(database_dsn, [newer]) == []


async def test_migrating_without_postgresql_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await migrate("postgresql://nobody@127.0.0.1:1/nothing", [])
