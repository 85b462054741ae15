"""The commands for who looks after the bus: its dead letters, and its groups."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

import pytest

from devstack import valkey
from svckit.events.bus import BusEvent, Undecodable
from tests.contract.bus_engine import (
    DELIVERY,
    PARTITIONS,
    Recorder,
    letters,
    record,
    records,
    running,
)
from tests.contract.redis_engine import RedisEngine
from tests.polling import until
from tests.stores import throwaway


@pytest.fixture
async def engine() -> AsyncIterator[RedisEngine]:
    async with throwaway(valkey.STORE) as url:
        engine = RedisEngine(url, prefix="bus")
        yield engine
        await engine.close()


async def command(
    engine: RedisEngine, module: str, *arguments: str, fails: bool = False
) -> list[str]:
    """The lines that it writes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        env={
            **os.environ,
            "BUS_REDIS_URL": engine.url,
            "BUS_PARTITIONS": str(PARTITIONS),
            "BUS_GROUPS": "expected",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == int(fails), errors.decode()
    assert bool(errors) == fails
    return (output + errors).decode().splitlines()


async def fail(event: BusEvent) -> None:
    raise Undecodable(f"number {event.payload.decode()}")


async def set_aside(
    engine: RedisEngine, group: str, count: int, *, damaged_before: bool = False
) -> None:
    async def are_set_aside() -> bool:
        return len(await letters(engine)) == expected

    expected = int(damaged_before)
    async with engine.publisher() as publisher:
        await publisher.epoch()
        if damaged_before:
            await engine.damage(0)
        async with running(engine.consumer(group, Recorder(fail), DELIVERY)):
            await until(are_set_aside)
            await publisher.publish([record("lane", number) for number in range(count)])
            expected += count
            await until(are_set_aside)


async def test_dead_letters_are_listed_put_back_and_dropped(engine: RedisEngine) -> None:
    async def redrive(*arguments: str) -> list[str]:
        return await command(engine, "svckit.redrive", *arguments)

    await set_aside(engine, "g", 3, damaged_before=True)
    shown = [json.loads(line) for line in await redrive("list")]
    assert [each["text"] for each in shown[1:]] == ["number 0", "number 1", "number 2"]
    assert {(each["group"], each["error"], each["lane"]) for each in shown[1:]} == {
        ("g", "Undecodable", "lane")
    }
    assert await redrive("drop", "--group", "other") == ["dropped: 0"]
    assert await redrive("redrive", "--group", "g", "--limit", "1") == ["put back: 1"]
    assert await redrive("drop") == ["dropped: 3"]  # one of them had no event to put back
    assert await redrive("list") == []
    assert await engine.kept() >= 1


async def test_groups_are_listed_and_retired_once_nobody_is_in_them(engine: RedisEngine) -> None:
    async def groups(*arguments: str, fails: bool = False) -> list[str]:
        return await command(engine, "svckit.groups", *arguments, fails=fails)

    async def refused(*arguments: str) -> str:
        lines = await groups("retire", *arguments, fails=True)
        return "\n".join(lines).removeprefix("svckit.groups: ")

    engine.expected_groups = ["expected"]
    handler = Recorder()
    await set_aside(engine, "old", 2)
    async with engine.publisher() as publisher, running(engine.consumer("new", handler, DELIVERY)):
        await publisher.epoch()
        await publisher.publish(records(["a", "b"], each=5))
        await until(lambda: len(handler.done) == 12)
        assert await refused("new") == "new has 1 members: stop them first"
    assert [json.loads(line) for line in await groups("list")] == [
        {"name": "expected", "members": 0, "lag": 12, "dead_letters": 0},
        {"name": "new", "members": 0, "lag": 0, "dead_letters": 0},
        {"name": "old", "members": 0, "lag": 10, "dead_letters": 2},
    ]
    dropped = "10 events that old has yet to do, 2 dead letters"
    assert await refused("old") == f"would be dropped: {dropped}; --yes does it"
    assert await groups("retire", "old", "--yes") == [f"dropped: {dropped}"]
    assert await refused("old", "--yes") == "there is no group old"
    assert "BUS_GROUPS" in await refused("expected", "--yes")
    assert await letters(engine) == []
    assert [state.name for state in await engine.groups().group_states()] == ["expected", "new"]
