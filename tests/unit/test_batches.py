"""Look-ups that go together: what is asked for, when, and what comes back to whom."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from svckit.batches import Coalescer, Gatherer, RoundSettings


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


async def ask(batches: Coalescer[int, str], *keys: int) -> list[asyncio.Task[str | None]]:
    tasks = [asyncio.create_task(batches.get(key)) for key in keys]
    await asyncio.sleep(0)  # each has asked
    await asyncio.sleep(0)  # the look-up has begun, if one may
    return tasks


async def test_what_is_asked_for_meanwhile_goes_together_and_each_once(store: Store) -> None:
    batches = Coalescer(store.load)
    first = await ask(batches, 1)
    later = await ask(batches, 1, 2, 2, -3)
    assert store.asked == [[1]]
    store.open.set()
    assert await asyncio.gather(*first, *later) == ["1", "1", "2", "2", None]
    assert store.asked == [[1], [1, 2, -3]]


async def test_no_more_than_the_maximum_at_once(store: Store) -> None:
    batches = Coalescer(store.load, RoundSettings(most=2))
    store.open.set()
    assert await asyncio.gather(*await ask(batches, 1, 2, 3)) == ["1", "2", "3"]
    assert store.asked == [[1, 2], [3]]


async def test_busy_one_waits_until_there_are_enough_or_for_its_interval(store: Store) -> None:
    store.open.set()
    patient = Coalescer(store.load, RoundSettings(interval_s=60.0, enough=3))
    await asyncio.gather(*await ask(patient, 1, 2))
    waiting = await ask(patient, 3, 4)
    await asyncio.sleep(0.02)
    assert store.asked == [[1, 2]]
    async with asyncio.timeout(20):
        await asyncio.gather(*waiting, *await ask(patient, 5))
    assert store.asked == [[1, 2], [3, 4, 5]]
    store.asked.clear()
    brisk = Coalescer(store.load, RoundSettings(interval_s=0.03, enough=3))
    await asyncio.gather(*await ask(brisk, 1, 2))
    async with asyncio.timeout(20):
        assert await brisk.get(3) == "3"
    assert store.asked == [[1, 2], [3]]


async def test_those_left_over_do_not_wait_when_they_are_enough(store: Store) -> None:
    store.open.set()
    batches = Coalescer(store.load, RoundSettings(most=3, interval_s=60.0, enough=2))
    async with asyncio.timeout(20):
        await asyncio.gather(*await ask(batches, 1, 2, 3, 4, 5))
    assert store.asked == [[1, 2, 3], [4, 5]]


async def test_failure_reaches_all_who_asked_and_nobody_after(store: Store) -> None:
    batches = Coalescer(store.load)
    store.fails = True
    store.open.set()
    for task in await ask(batches, 1, 2):
        with pytest.raises(ConnectionError):
            await task
    store.fails = False
    assert await batches.get(1) == "1"


async def test_caller_who_gives_up_takes_nothing_from_the_others(store: Store) -> None:
    batches = Coalescer(store.load)
    gives_up, stays = await ask(batches, 1, 1)
    gives_up.cancel()
    await asyncio.sleep(0)
    store.open.set()
    assert await stays == "1"
    assert gives_up.cancelled()


async def test_questions_about_several_keys_go_together_too(store: Store) -> None:
    store.open.set()
    batches = Coalescer(store.load)
    found = await asyncio.gather(batches.get_all((1, 2)), batches.get_all((2, -3)), batches.get(4))
    assert store.asked == [[1, 2, -3, 4]]
    assert [found[0][1], found[0][2], found[1][2], found[2]] == ["1", "2", "2", "4"]
    assert -3 not in found[1]


class Counter:
    """Adds one for each command; refuses negative ones, and everything when it is told to."""

    def __init__(self) -> None:
        self.rounds: list[list[int]] = []
        self.is_broken = False

    async def work(self, commands: Sequence[int]) -> Sequence[int | BaseException]:
        self.rounds.append(list(commands))
        await asyncio.sleep(0)
        if self.is_broken:
            raise ConnectionError
        done = sum(map(len, self.rounds[:-1]))
        return [
            ValueError(each) if each < 0 else done + index for index, each in enumerate(commands)
        ]


async def test_equal_commands_are_done_each_for_itself_with_its_own_outcome() -> None:
    counter = Counter()
    gatherer = Gatherer(counter.work, RoundSettings(interval_s=0, most=3))
    outcomes = await asyncio.gather(
        *(gatherer.do(each) for each in (7, 7, -1, 7)), return_exceptions=True
    )
    assert counter.rounds == [[7, 7, -1], [7]]
    assert outcomes[:2] == [0, 1]
    assert isinstance(outcomes[2], ValueError)
    assert outcomes[3] == 3


async def test_a_round_that_fails_fails_its_commands_and_none_after() -> None:
    counter = Counter()
    counter.is_broken = True
    gatherer = Gatherer(counter.work)
    outcomes = await asyncio.gather(gatherer.do(1), gatherer.do(2), return_exceptions=True)
    assert [type(each) for each in outcomes] == [ConnectionError, ConnectionError]
    counter.is_broken = False
    assert await gatherer.do(3) == 2


async def test_a_caller_who_gives_up_leaves_its_command_to_be_done() -> None:
    counter = Counter()
    gatherer = Gatherer(counter.work, RoundSettings(interval_s=0))
    gives_up = asyncio.create_task(gatherer.do(1))
    await asyncio.sleep(0)
    gives_up.cancel()
    assert await gatherer.do(2) >= 0
    assert sorted(each for commands in counter.rounds for each in commands) == [1, 2]
