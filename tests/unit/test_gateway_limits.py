"""GCRA by hand-made clocks, and what becomes of it when its store does not answer."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.limits import Limits, LocalLimits
from gateway.model import Allowance, CountingBounds, Limit
from svckit.errors import Unavailable
from tests.clock import ManualClock
from tests.polling import LATE_S, until

THREE_A_MINUTE = Limit("person", 3, 60.0)
TWO_AN_HOUR = Limit("login", 2, 3600.0)
BOUNDS = CountingBounds(ask_every_s=0.01)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_as_many_as_named_pass_at_once_and_then_one_each_interval(clock: ManualClock) -> None:
    local = LocalLimits(BOUNDS.local_entries_max, clock)
    remaining = [local.take("ada", [THREE_A_MINUTE])[0].remaining for _ in range(3)]
    assert remaining == [2, 1, 0]
    (refused,) = local.take("ada", [THREE_A_MINUTE])
    assert refused.retry_after_s == pytest.approx(20)
    assert refused.recovery_s == pytest.approx(60)
    clock.now_s += 19.9
    assert local.take("ada", [THREE_A_MINUTE])[0].retry_after_s == pytest.approx(0.1)
    clock.now_s += 0.1
    assert local.take("ada", [THREE_A_MINUTE])[0].retry_after_s == 0
    clock.now_s += 3600
    assert local.take("ada", [THREE_A_MINUTE])[0].remaining == 2


def test_what_is_refused_does_not_count(clock: ManualClock) -> None:
    local = LocalLimits(BOUNDS.local_entries_max, clock)
    for _ in range(50):
        local.take("ada", [THREE_A_MINUTE])
    clock.now_s += 20
    assert local.take("ada", [THREE_A_MINUTE])[0].retry_after_s == 0


def test_over_one_limit_nothing_is_taken_from_another(clock: ManualClock) -> None:
    local = LocalLimits(BOUNDS.local_entries_max, clock)
    both = [THREE_A_MINUTE, TWO_AN_HOUR]
    local.take("ada", both)
    local.take("ada", both)
    for _ in range(5):
        (refused,) = local.take("ada", both)
        assert refused.limit is TWO_AN_HOUR
    assert local.take("ada", [THREE_A_MINUTE])[0].remaining == 0


def test_subjects_do_not_share(clock: ManualClock) -> None:
    local = LocalLimits(BOUNDS.local_entries_max, clock)
    for _ in range(4):
        local.take("ada", [THREE_A_MINUTE])
    assert local.take("bob", [THREE_A_MINUTE])[0].remaining == 2


def test_memory_is_bounded(clock: ManualClock) -> None:
    assert BOUNDS.local_entries_max >= 10_000
    local = LocalLimits(10, clock)
    for number in range(1000):
        local.take(f"address {number}", [THREE_A_MINUTE])
    assert len(local) == 10
    assert local.take("address 999", [THREE_A_MINUTE])[0].remaining == 1


class Store:
    """Answers, fails or hangs, as the test says."""

    def __init__(self) -> None:
        self.fails = False
        self.hangs = False
        self.taken = 0
        self.pings = 0

    async def take(self, _: str, limits: Sequence[Limit]) -> list[Allowance]:
        self.taken += 1
        await self._behave()
        return [Allowance(limit, 0.0) for limit in limits]

    async def ping(self) -> None:
        self.pings += 1
        await self._behave()

    async def _behave(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise Unavailable(dependency="redis")


@pytest.mark.parametrize("way", ["fails", "hangs"])
async def test_a_silent_store_costs_one_wait_and_is_asked_again_aside(way: str) -> None:
    store = Store()
    setattr(store, way, True)
    async with Limits(store, BOUNDS) as limits:
        started_s = asyncio.get_running_loop().time()
        found = [await limits.take("ada", [THREE_A_MINUTE]) for _ in range(4)]
        took_s = asyncio.get_running_loop().time() - started_s
        assert [each is not None and each.retry_after_s > 0 for each in found] == [False] * 3 + [
            True
        ]
        assert store.taken == 1
        assert took_s < 2 * BOUNDS.store_timeout_s + LATE_S
        await until(lambda: store.pings > 2)
        assert store.taken == 1
        setattr(store, way, False)

        async def is_asked_again() -> bool:
            return await limits.take("ada", [THREE_A_MINUTE]) == Allowance(THREE_A_MINUTE, 0.0)

        await until(is_asked_again)
        assert store.taken == 2


async def test_the_nearest_limit_is_told() -> None:
    async with Limits(None, BOUNDS) as limits:
        allowance = await limits.take("ada", [THREE_A_MINUTE, TWO_AN_HOUR])
    assert allowance is not None
    assert (allowance.limit, allowance.remaining) == (TWO_AN_HOUR, 1)


async def test_without_limits_nothing_is_counted() -> None:
    store = Store()
    async with Limits(store, BOUNDS) as limits:
        assert await limits.take("ada", []) is None
    assert store.taken == 0
