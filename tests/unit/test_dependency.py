"""A part that may be away: refused at once while it is silent, asked aside until it answers."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from svckit.dependency import AskSettings, Dependency
from svckit.errors import Unavailable
from tests.polling import until


class Store:
    def __init__(self) -> None:
        self.is_there = False
        self.hangs = False
        self.asked = 0

    async def ping(self) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if not self.is_there:
            raise ConnectionError


class Rig:
    def __init__(self) -> None:
        self.store = Store()
        self.changes: list[bool] = []
        self.dependency = Dependency(
            "store", self.store.ping, AskSettings(0.001, 0.02), self.changes.append
        )


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.dependency.close()


async def test_it_is_there_until_it_fails(rig: Rig) -> None:
    rig.dependency.require()
    await asyncio.sleep(0.005)
    assert (rig.store.asked, rig.changes) == (0, [])


async def test_silent_until_it_answers(rig: Rig) -> None:
    rig.dependency.fall_silent(TimeoutError())
    rig.dependency.fall_silent(TimeoutError())
    with pytest.raises(Unavailable) as refused:
        rig.dependency.require()
    assert refused.value.metadata == {"dependency": "store"}
    await until(lambda: rig.store.asked > 3)
    assert rig.dependency.is_silent
    rig.store.is_there = True
    await until(lambda: not rig.dependency.is_silent)
    rig.dependency.require()
    assert rig.changes == [True, False]


async def test_an_ask_that_hangs_is_no_answer(rig: Rig) -> None:
    rig.store.hangs = rig.store.is_there = True
    rig.dependency.fall_silent(TimeoutError())
    await until(lambda: rig.store.asked > 1)
    assert rig.dependency.is_silent


async def test_it_can_fall_silent_again(rig: Rig) -> None:
    rig.store.is_there = True
    for _ in range(2):
        rig.dependency.fall_silent(TimeoutError())
        await until(lambda: not rig.dependency.is_silent)
    assert rig.changes == [True, False] * 2
