"""What every engine of the event bus must do when members of a group are killed or frozen.

The members are processes (`tests.contract.bus_process`) whose effects are in a store with fences.
A subclass in a `test_` file brings the fixture `engine`, or `engines`: on as many servers as there
are, frozen side by side. Nothing in here knows an engine.
"""

import asyncio
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from svckit.events.bus import Publisher
from tests.contract.bus_engine import PARTITIONS, BusEngine, BusTests, record, records
from tests.polling import until

REPOSITORY = Path(__file__).parents[2]
LANES = [f"lane-{number}" for number in range(20)]
STARTED_S_MAX = 30.0
TAKEOVER_S_MAX = 10.0
FROZEN_S = 30.0
PUBLISH_EVERY_S = 0.01


class Effect(NamedTuple):
    pid: int
    partition: int
    token: int
    lane: str
    number: int


@dataclass
class Effects:
    """What the members did, in the order in which the store took it."""

    redis: Redis
    url: str
    key: str = field(default_factory=lambda: f"effects-{uuid4().hex}")

    async def all(self, start: int = 0) -> list[Effect]:
        rows = cast("list[bytes]", await self.redis.lrange(self.key, start, -1))
        parts = [row.decode().split() for row in rows]
        return [
            Effect(int(pid), int(partition), int(token), lane, int(number))
            for pid, partition, token, lane, number in parts
        ]

    async def count(self, what: str) -> int:
        return int(await self.redis.get(f"{self.key}:{what}") or 0)

    async def events(self) -> int:
        return len({(effect.lane, effect.number) for effect in await self.all()})

    async def partitions(self, start: int) -> dict[int, set[int]]:
        """Where each member did anything, from the effect with that number on."""
        by_member: dict[int, set[int]] = defaultdict(set)
        for effect in await self.all(start):
            by_member[effect.pid].add(effect.partition)
        return by_member


def check(effects: Sequence[Effect], each: int) -> None:
    """Nothing is missing, lanes are in order at first sight, and nobody acted on an old token."""
    last: dict[str, int] = defaultdict(lambda: -1)
    newest: dict[int, int] = defaultdict(int)
    for effect in effects:
        assert effect.number <= last[effect.lane] + 1, "an event came too early"
        last[effect.lane] = max(last[effect.lane], effect.number)
        assert effect.token >= newest[effect.partition], "a former owner acted"
        newest[effect.partition] = effect.token
    assert last == dict.fromkeys(LANES, each - 1)


@asynccontextmanager
async def effects_in(redis_url: str) -> AsyncIterator[Effects]:
    async with Redis.from_url(redis_url) as redis:
        yield Effects(redis, redis_url)


@asynccontextmanager
async def running_member(
    engine: BusEngine, effects: Effects, *, step: str, short_leases: bool = True
) -> AsyncIterator[asyncio.subprocess.Process]:
    arguments = (*engine.member(short_leases=short_leases), effects.url, effects.key, step)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.contract.bus_process", *arguments, cwd=REPOSITORY
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class BusCrashSuite(BusTests):
    @pytest.fixture
    async def effects(self, redis_url: str) -> AsyncIterator[Effects]:
        async with effects_in(redis_url) as effects:
            yield effects

    @pytest.mark.parametrize("step", ["read", "effect"])
    async def test_events_of_a_member_that_was_killed_come_again(
        self, engine: BusEngine, publisher: Publisher, effects: Effects, step: str
    ) -> None:
        async def has_come_to_its_step() -> bool:
            return await effects.count("stays") == 1

        async def is_all_done() -> bool:
            return await effects.events() == 10 * len(LANES)

        await publisher.publish(records(LANES, each=10))
        async with running_member(engine, effects, step=step) as killed:
            await until(has_come_to_its_step, timeout_s=STARTED_S_MAX)
            killed.kill()
        async with running_member(engine, effects, step="none") as successor:
            await until(is_all_done, timeout_s=STARTED_S_MAX)
            successor.terminate()
            assert await successor.wait() == 0
        everything = await effects.all()
        check(everything, each=10)
        if step == "effect":  # it was not acknowledged
            assert len(everything) > 10 * len(LANES)


class BusFrozenSuite:
    async def test_frozen_member_is_replaced_and_does_no_harm_when_it_wakes(
        self, engines: Sequence[BusEngine], redis_url: str
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            for engine in engines:
                tasks.create_task(self._freeze_and_wake(engine, redis_url))

    async def _freeze_and_wake(self, engine: BusEngine, redis_url: str) -> None:
        async with engine.publisher() as publisher, effects_in(redis_url) as effects:
            await publisher.epoch()
            published = await self._publish_meanwhile(engine, publisher, effects)
            check(await effects.all(), each=published)

    async def _publish_meanwhile(
        self, engine: BusEngine, publisher: Publisher, effects: Effects
    ) -> int:
        """Returns how many events each lane had."""
        published = 0
        is_enough = asyncio.Event()

        async def publish() -> None:
            nonlocal published
            while not is_enough.is_set():
                for lane in LANES:
                    await publisher.publish([record(lane, published)])
                    await asyncio.sleep(PUBLISH_EVERY_S)
                published += 1

        async def have_shared() -> bool:
            latest = await effects.partitions(-2 * len(LANES))
            return sorted(map(len, latest.values())) == [PARTITIONS // 2, PARTITIONS // 2]

        async def other_does_all() -> bool:
            return len((await effects.partitions(done))[other.pid]) == PARTITIONS

        async def is_refused() -> bool:
            return await effects.count("refusals") > 0

        async def is_all_done() -> bool:
            return await effects.events() == published * len(LANES)

        async with (
            running_member(engine, effects, step="none", short_leases=False) as frozen,
            running_member(engine, effects, step="none", short_leases=False) as other,
        ):
            publishing = asyncio.create_task(publish())
            await until(have_shared, timeout_s=STARTED_S_MAX)
            frozen.send_signal(signal.SIGSTOP)
            frozen_at_s, done = time.monotonic(), len(await effects.all())
            await until(other_does_all, timeout_s=TAKEOVER_S_MAX)
            took_over_after_s = time.monotonic() - frozen_at_s
            await asyncio.sleep(max(0.0, FROZEN_S - took_over_after_s))
            assert await effects.count("refusals") == 0
            frozen.send_signal(signal.SIGCONT)
            await until(is_refused, timeout_s=TAKEOVER_S_MAX)
            is_enough.set()
            await publishing
            await until(is_all_done, timeout_s=TAKEOVER_S_MAX)
            for member in (frozen, other):
                member.terminate()
                assert await member.wait() == 0
        print(f"taken over after {took_over_after_s:.1f} s")  # noqa: T201
        return published
