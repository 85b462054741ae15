"""SIGTERM to a real program under load: it finishes what it accepted, and refuses the rest."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import grpc
import pytest
from newsfeed.events.v1 import events_pb2
from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1 import user_service_pb2_grpc as stubs

from devstack.dataset import Size, load
from devstack.rig import Rig, Running
from tests.polling import until

if TYPE_CHECKING:
    from newsfeed.user.v1.user_service_pb2_grpc import UserServiceAsyncStub

CREWS = 2  # at once, each with programs and people of its own
ROUNDS_EACH = 10
CLIENTS = 4
CALLS_EACH = 8  # at once
ACKNOWLEDGED_BEFORE_SIGTERM = 100
EXIT_TIMEOUT_S = 30
PEOPLE = CREWS * CLIENTS
WORLD = Size(people=PEOPLE, follows=PEOPLE - 1, blocks=0, mutes=0, sessions=0)

Metadata = tuple[tuple[str, str], ...]


@pytest.fixture
async def people(database_dsn: str) -> list[UUID]:
    return (await load(database_dsn, WORLD)).ids


@pytest.fixture
async def rig(tmp_path: Path, database_dsn: str, people: list[UUID]) -> Rig:
    assert people
    return Rig(tmp_path, database_dsn)


@pytest.fixture
async def connection(database_dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(database_dsn)
    yield connection
    await connection.close()


async def terminate(program: Running) -> None:
    program.process.send_signal(signal.SIGTERM)


async def exit_code(program: Running) -> int | None:
    return await asyncio.to_thread(program.process.wait, EXIT_TIMEOUT_S)


def logged(program: Running, event: str) -> list[dict[str, object]]:
    lines = program.log.read_text().split("\n")[:-1]  # the last may be half written
    return [line for line in map(json.loads, lines) if line["event"] == event]


def as_person(rig: Rig, user_id: UUID) -> Metadata:
    return (("authorization", f"Bearer {rig.user_token(user_id)}"),)


class Load:
    """Clients that write for as long as they are answered OK; every write can be told apart."""

    def __init__(self, rig: Rig, address: str, name: str) -> None:
        self._rig = rig
        self._address = address
        self._name = name
        self.acknowledged: set[str] = set()
        self.refusals: Counter[grpc.StatusCode] = Counter()

    async def run(self, people: list[UUID]) -> None:
        async with asyncio.TaskGroup() as group:
            for user_id in people:
                group.create_task(self._client(user_id))

    def is_under_way(self) -> bool:
        return len(self.acknowledged) >= ACKNOWLEDGED_BEFORE_SIGTERM

    async def _client(self, user_id: UUID) -> None:
        # A connection of its own, as if from another machine; without it all clients share one.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        async with grpc.aio.insecure_channel(self._address, options=options) as channel:
            stub = stubs.UserServiceStub(channel)
            metadata = as_person(self._rig, user_id)
            async with asyncio.TaskGroup() as group:
                for number in range(CALLS_EACH):
                    group.create_task(self._write(stub, metadata, f"{user_id} {number}"))

    async def _write(self, stub: "UserServiceAsyncStub", metadata: Metadata, name: str) -> None:
        count = 0
        while True:
            bio = f"{self._name} {name} {count}"
            try:
                request = pb.UpdateMeRequest(bio=bio)
                await stub.UpdateMe(request, metadata=metadata, timeout=15)
            except grpc.aio.AioRpcError as error:
                self.refusals[error.code()] += 1
                return
            self.acknowledged.add(bio)
            count += 1


async def test_no_accepted_call_fails_when_stopped_under_load(
    rig: Rig,
    people: list[UUID],
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    acknowledged: set[str] = set()
    refusals: Counter[grpc.StatusCode] = Counter()

    async def play(crew: list[UUID]) -> Running:
        for number in range(ROUNDS_EACH):
            async with rig.run() as program:
                load = Load(rig, program.address, f"round {number}")
                running = asyncio.create_task(load.run(crew))
                await until(load.is_under_way, 20)
                await terminate(program)
                await running
                assert await exit_code(program) == 0
                acknowledged.update(load.acknowledged)
                refusals.update(load.refusals)
        return program

    crews = [people[first::CREWS] for first in range(CREWS)]
    programs = await asyncio.gather(*map(play, crews))
    drained = logged(programs[0], "drained")  # all write into one log
    assert [line["unfinished_calls"] for line in drained] == [0] * CREWS * ROUNDS_EACH
    assert refusals == {grpc.StatusCode.UNAVAILABLE: ROUNDS_EACH * PEOPLE * CALLS_EACH}
    assert await written(connection) == acknowledged


async def written(connection: "asyncpg.Connection[asyncpg.Record]") -> set[str]:
    """What every write that was carried out left in the outbox."""
    rows = await connection.fetch("SELECT payload FROM outbox")
    return {events_pb2.Event.FromString(row[0]).user_updated.user.bio for row in rows}


async def test_call_under_way_is_finished_while_new_ones_are_refused(
    rig: Rig,
    people: list[UUID],
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    async with rig.run() as program, grpc.aio.insecure_channel(program.address) as channel:
        graph, metadata = stubs.GraphServiceStub(channel), as_person(rig, people[1])
        request = pb.FollowUserRequest(user_id=str(people[2]))
        async with connection.transaction():
            await connection.execute("SELECT lock_people($1, $1)", people[1])
            follow = asyncio.ensure_future(graph.FollowUser(request, metadata=metadata))
            await until(lambda: is_waiting_for_a_lock(connection))
            await terminate(program)
            await until(lambda: bool(logged(program, "refusing_calls")))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await graph.FollowUser(request, metadata=metadata)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert (await follow).relationship.is_following
        assert await exit_code(program) == 0


async def is_waiting_for_a_lock(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
    )
    return found
