"""Look-ups that go together: what is asked for, when, and what comes back to whom."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from svckit.batches import Batches


class Store:
    """Answers when it is told to; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.open = asyncio.Event()
        self.fails = False

    async def load(self, keys: Sequence[int]) -> Mapping[int, str]:
        self.asked.append(list(keys))
        await self.open.wait()
        if self.fails:
            raise ConnectionError
        return {key: str(key) for key in keys if key > 0}


@pytest.fixture
def store() -> Store:
    return Store()


async def ask(batches: Batches[int, str], *keys: int) -> list[asyncio.Task[str | None]]:
    tasks = [asyncio.create_task(batches.get(key)) for key in keys]
    await asyncio.sleep(0)  # each has asked
    await asyncio.sleep(0)  # the look-up has begun, if one may
    return tasks


async def test_what_is_asked_for_meanwhile_goes_together_and_each_once(store: Store) -> None:
    batches = Batches(store.load)
    first = await ask(batches, 1)
    later = await ask(batches, 1, 2, 2, -3)
    assert store.asked == [[1]]
    store.open.set()
    assert await asyncio.gather(*first, *later) == ["1", "1", "2", "2", None]
    assert store.asked == [[1], [1, 2, -3]]


async def test_no_more_than_the_maximum_at_once(store: Store) -> None:
    batches = Batches(store.load, keys_max=2)
    store.open.set()
    assert await asyncio.gather(*await ask(batches, 1, 2, 3)) == ["1", "2", "3"]
    assert store.asked == [[1, 2], [3]]


async def test_busy_one_waits_until_there_are_enough_or_for_its_interval(store: Store) -> None:
    store.open.set()
    patient = Batches(store.load, interval_s=60.0, enough=3)
    await asyncio.gather(*await ask(patient, 1, 2))
    waiting = await ask(patient, 3, 4)
    await asyncio.sleep(0.02)
    assert store.asked == [[1, 2]]
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting, *await ask(patient, 5))
    assert store.asked == [[1, 2], [3, 4, 5]]
    store.asked.clear()
    brisk = Batches(store.load, interval_s=0.03, enough=3)
    await asyncio.gather(*await ask(brisk, 1, 2))
    async with asyncio.timeout(1):
        assert await brisk.get(3) == "3"
    assert store.asked == [[1, 2], [3]]


async def test_those_left_over_do_not_wait_when_they_are_enough(store: Store) -> None:
    store.open.set()
    batches = Batches(store.load, keys_max=3, interval_s=60.0, enough=2)
    async with asyncio.timeout(1):
        await asyncio.gather(*await ask(batches, 1, 2, 3, 4, 5))
    assert store.asked == [[1, 2, 3], [4, 5]]


async def test_failure_reaches_all_who_asked_and_nobody_after(store: Store) -> None:
    batches = Batches(store.load)
    store.fails = True
    store.open.set()
    for task in await ask(batches, 1, 2):
        with pytest.raises(ConnectionError):
            await task
    store.fails = False
    assert await batches.get(1) == "1"


async def test_caller_who_gives_up_takes_nothing_from_the_others(store: Store) -> None:
    batches = Batches(store.load)
    gives_up, stays = await ask(batches, 1, 1)
    gives_up.cancel()
    await asyncio.sleep(0)
    store.open.set()
    assert await stays == "1"
    assert gives_up.cancelled()
