"""Every statement of user_svc's stores and of its outbox finds what it wants by an index."""

import inspect
from collections.abc import AsyncIterator

import pytest

from devstack.dataset import Size, load
from svckit.postgres.client import connect
from tests.plans.plans import PlanRecorder
from tests.plans.queries import STORES, TABLES, ask_everything, prepare

WORLD = Size(people=50_001, follows=120_000, blocks=2_000, mutes=2_000, sessions=10_000)
NOT_ASKED = {"PostgresOutbox.maintain"}  # partitions: about tables, a few times a day

# For an admin: newest first, whatever the filter, so it may read on by index until it has a page.
READS_ON = ("PeopleStore.list_users", True)


@pytest.fixture
async def recorder(database_dsn: str) -> AsyncIterator[PlanRecorder]:
    world = await load(database_dsn, WORLD)
    session = await connect(database_dsn)
    try:
        await prepare(session, world)
        recorder = PlanRecorder(session, compare=False)
        await recorder.use_planner_settings()
        await ask_everything(recorder, world)
        yield recorder
    finally:
        await session.close()


async def test_no_statement_reads_a_whole_table(recorder: PlanRecorder) -> None:
    problems = [
        (plan.method, plan.values, problem)
        for plan in recorder.plans
        for problem in plan.problems(TABLES)
        if (plan.method, problem.partition(" rows")[0].isdecimal()) != READS_ON
    ]
    assert problems == []
    assert {plan.method for plan in recorder.plans} >= public_methods() - NOT_ASKED

    # ... and the check sees it when one does
    await recorder.fetch("SELECT FROM users WHERE bio = $1", "what nobody wrote")
    assert "sequential scan of users" in recorder.plans[-1].problems(TABLES)


def public_methods() -> set[str]:
    return {
        function.__qualname__
        for store in STORES
        for name, function in inspect.getmembers(store, inspect.isfunction)
        if not name.startswith("_")
    }
