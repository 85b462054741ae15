"""GCRA by hand-made clocks, and what becomes of it when its store does not answer."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway import limits as module
from gateway.limits import LOCAL_ENTRIES_MAX, Limits, LocalLimits
from gateway.model import STORE_TIMEOUT_S, Limit, Standing
from svckit.errors import Unavailable
from tests.clock import ManualClock
from tests.polling import LATE_S, until

THREE_A_MINUTE = Limit("person", 3, 60.0)
TWO_AN_HOUR = Limit("login", 2, 3600.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_as_many_as_named_pass_at_once_and_then_one_each_interval(clock: ManualClock) -> None:
    local = LocalLimits(clock)
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
    local = LocalLimits(clock)
    for _ in range(50):
        local.take("ada", [THREE_A_MINUTE])
    clock.now_s += 20
    assert local.take("ada", [THREE_A_MINUTE])[0].retry_after_s == 0


def test_over_one_limit_nothing_is_taken_from_another(clock: ManualClock) -> None:
    local = LocalLimits(clock)
    both = [THREE_A_MINUTE, TWO_AN_HOUR]
    local.take("ada", both)
    local.take("ada", both)
    for _ in range(5):
        (refused,) = local.take("ada", both)
        assert refused.limit is TWO_AN_HOUR
    assert local.take("ada", [THREE_A_MINUTE])[0].remaining == 0


def test_subjects_do_not_share(clock: ManualClock) -> None:
    local = LocalLimits(clock)
    for _ in range(4):
        local.take("ada", [THREE_A_MINUTE])
    assert local.take("bob", [THREE_A_MINUTE])[0].remaining == 2


def test_memory_is_bounded(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LOCAL_ENTRIES_MAX >= 10_000
    monkeypatch.setattr(module, "LOCAL_ENTRIES_MAX", 10)
    local = LocalLimits(clock)
    for number in range(1000):
        local.take(f"address {number}", [THREE_A_MINUTE])
    assert len(local._recovered_at_s) == 10
    assert local.take("address 999", [THREE_A_MINUTE])[0].remaining == 1


class Store:
    """Answers, fails or hangs, as the test says."""

    def __init__(self) -> None:
        self.fails = False
        self.hangs = False
        self.taken = 0
        self.pings = 0

    async def take(self, _: str, limits: Sequence[Limit]) -> list[Standing]:
        self.taken += 1
        await self._behave()
        return [Standing(limit, 0.0) for limit in limits]

    async def ping(self) -> None:
        self.pings += 1
        await self._behave()

    async def _behave(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise Unavailable(dependency="redis")


@pytest.mark.parametrize("way", ["fails", "hangs"])
async def test_a_silent_store_costs_one_wait_and_is_asked_again_aside(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PING_EVERY_S", 0.01)
    store = Store()
    setattr(store, way, True)
    async with Limits(store, LocalLimits()) as limits:
        started_s = asyncio.get_running_loop().time()
        found = [await limits.take("ada", [THREE_A_MINUTE]) for _ in range(4)]
        took_s = asyncio.get_running_loop().time() - started_s
        assert [each is not None and each.retry_after_s > 0 for each in found] == [False] * 3 + [
            True
        ]
        assert store.taken == 1
        assert took_s < 2 * STORE_TIMEOUT_S + LATE_S
        await until(lambda: store.pings > 2)
        assert store.taken == 1
        setattr(store, way, False)
        await until(lambda: limits._reviving is None)
        assert await limits.take("ada", [THREE_A_MINUTE]) == Standing(THREE_A_MINUTE, 0.0)
        assert store.taken == 2


async def test_the_nearest_limit_is_told() -> None:
    async with Limits(None, LocalLimits()) as limits:
        standing = await limits.take("ada", [THREE_A_MINUTE, TWO_AN_HOUR])
    assert standing is not None
    assert (standing.limit, standing.remaining) == (TWO_AN_HOUR, 1)


async def test_without_limits_nothing_is_counted() -> None:
    store = Store()
    async with Limits(store, LocalLimits()) as limits:
        assert await limits.take("ada", []) is None
    assert store.taken == 0
