"""The suites of the event bus on its engines: Redis Streams, on every server that speaks Redis."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import cast

import pytest

from svckit.events.bus import BusEvent, BusMismatch, GroupState, Undecodable
from svckit.events.redis.bus import START, Lease, RedisBus, decode, position_of
from svckit.events.redis.consumer import RedisConsumer
from tests.clock import ManualClock
from tests.contract.bus_crash_suite import BusCrashSuite, BusFrozenSuite
from tests.contract.bus_engine import (
    DELIVERY,
    PARTITIONS,
    BatchRecorder,
    Recorder,
    lanes_of,
    record,
    running,
)
from tests.contract.bus_failure_suite import BusFailureSuite, BusMemorySuite
from tests.contract.bus_suite import BusSuite
from tests.contract.redis_engine import QUICK, RedisEngine
from tests.polling import until
from tests.stacks.redis_servers import SERVERS, server_named
from tests.stores import throwaway


@pytest.fixture(scope="module", params=SERVERS)
async def server_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    name: str = request.param
    async with throwaway(server_named(name)) as url:
        yield url


@pytest.fixture
async def engine(server_url: str) -> AsyncIterator[RedisEngine]:
    engine = RedisEngine(server_url)
    yield engine
    await engine.close()


class TestRedisBus(BusSuite):
    """With everything well."""


class TestRedisBusFailures(BusFailureSuite):
    """With handlers that fail, and a bus that does."""


class TestRedisBusMemory(BusMemorySuite):
    """With a memory that goes away."""


class TestRedisBusCrashes(BusCrashSuite):
    """With members that are killed."""


class TestRedisBusFrozen(BusFrozenSuite):
    """With members that are frozen."""

    @pytest.fixture
    async def engines(self) -> AsyncIterator[list[RedisEngine]]:
        async with AsyncExitStack() as stack:
            urls = [await stack.enter_async_context(throwaway(server_named(n))) for n in SERVERS]
            yield [RedisEngine(url) for url in urls]


class TestRedisLeases:
    """What the scripts promise, whoever calls them and when."""

    @pytest.fixture
    async def bus(self, engine: RedisEngine) -> RedisBus:
        return engine.bus()

    @pytest.fixture
    async def epoch(self, bus: RedisBus) -> str:
        return (await bus.epoch()).name

    async def test_shares_are_even_to_one_and_nobody_takes_more(
        self, bus: RedisBus, epoch: str
    ) -> None:
        share, leases = await bus.hold(epoch, "group", "a", 60, 0, [])
        assert share == len(leases) == PARTITIONS
        for name in ("b", "c"):
            await bus.hold(epoch, "group", name, 60, 0, [])
        await bus.release("group", [lease.fence for lease in leases])
        for name in ("a", "b", "c"):
            share, leases = await bus.hold(epoch, "group", name, 60, 0, [])
            assert 1 <= share == len(leases) <= 2
        await bus.leave("group", "a")
        assert (await bus.hold(epoch, "group", "b", 60, 0, []))[0] == 2

    async def test_owner_keeps_its_token_and_one_that_forgot_it_gets_a_new_one(
        self, bus: RedisBus, epoch: str
    ) -> None:
        _, first = await bus.hold(epoch, "group", "a", 60, 0, [])
        fences = [lease.fence for lease in first]
        _, renewed = await bus.hold(epoch, "group", "a", 60, 0, fences)
        _, restarted = await bus.hold(epoch, "group", "a", 60, 0, [])
        assert renewed == first
        assert len(restarted) == PARTITIONS
        assert min(each.fence.token for each in restarted) > max(each.token for each in fences)
        assert (await bus.hold(epoch, "group", "b", 60, 0, fences))[1] == []

    async def test_tokens_rise_above_all_that_is_known_also_in_another_memory(
        self, bus: RedisBus, epoch: str, engine: RedisEngine
    ) -> None:
        _, [before, *_] = await bus.hold(epoch, "group", "a", 60, 0, [])
        await engine.empty()
        _, [after, *_] = await bus.hold((await bus.epoch()).name, "group", "b", 60, 0, [])
        assert after.fence.token > before.fence.token
        await bus.release("group", [after.fence])
        newest = after.fence.token + 10**9
        _, [last, *_] = await bus.hold((await bus.epoch()).name, "group", "b", 60, newest, [])
        assert last.fence.token == newest + 1

    async def test_former_owner_can_do_nothing(self, bus: RedisBus, epoch: str) -> None:
        await bus.publish(epoch, [record(lane) for lane in lanes_of(0, 3)])
        [(_, entries)] = await bus.read({0: START}, 10, 0)
        first, second, third = (position_of(entry_id) for entry_id, _ in entries)
        _, [old, *_] = await bus.hold(epoch, "group", "frozen", 0.05, 0, [])
        assert await bus.acknowledge(epoch, "group", [(old.fence, first)])

        async def new_owner() -> list[Lease]:
            return (await bus.hold(epoch, "group", "new", 60, 0, []))[1]

        async def has_expired() -> bool:
            return bool(await new_owner())

        await until(has_expired)
        [new, *_] = await new_owner()
        assert (new.position, new.lag) == (first, 2)

        assert not await bus.acknowledge(epoch, "group", [(old.fence, third)])
        assert not await bus.set_aside("group", old.fence, second, ValueError())
        await bus.release("group", [old.fence])
        assert (await bus.hold(epoch, "group", "frozen", 60, 0, [old.fence]))[1] == []
        assert await bus.acknowledge(epoch, "group", [(new.fence, second)])
        assert await bus.acknowledge(epoch, "group", [(new.fence, first)])  # never backwards
        assert not await bus.acknowledge("another epoch", "group", [(new.fence, third)])
        [new, *_] = await new_owner()
        assert (new.position, new.lag) == (second, 1)

    async def test_nobody_is_waited_for_until_the_clock_is_where_it_once_was(
        self, bus: RedisBus, epoch: str, engine: RedisEngine
    ) -> None:
        far_ahead_ms = 9_000_000_000_000
        for partition in range(PARTITIONS):
            lease = f"5 {far_ahead_ms} dead"
            await bus.redis.hset(f"{engine.prefix}:leases", f"group/{partition}", lease)
        await bus.redis.zadd(f"{engine.prefix}:members:group", {"dead": far_ahead_ms})

        async def has_all() -> bool:
            return len((await bus.hold(epoch, "group", "a", 0.05, 0, []))[1]) == PARTITIONS

        assert not await has_all()
        await until(has_all)

    async def test_who_has_died_is_no_member(self, bus: RedisBus, epoch: str) -> None:
        async def has_no_members() -> bool:
            return await bus.group_states() == [GroupState("group", 0, 0)]

        await bus.hold(epoch, "group", "dead", 0.05, 0, [])
        await until(has_no_members)
        await bus.retire("group")

    async def test_number_of_partitions_is_fixed_by_the_first(
        self, bus: RedisBus, engine: RedisEngine
    ) -> None:
        await bus.epoch()
        other = RedisBus(replace(engine.settings(), partitions=PARTITIONS + 1))
        engine.opened.append(other)
        with pytest.raises(BusMismatch, match="the bus has 4 partitions, BUS_PARTITIONS is 5"):
            await other.epoch()

    async def test_entries_stay_in_order_when_the_clock_steps_back(
        self, bus: RedisBus, epoch: str, engine: RedisEngine
    ) -> None:
        far_ahead = 9_000_000_000_000
        await bus.redis.hset(f"{engine.prefix}:tails", "0", f"{far_ahead}-{7:013d}")
        await bus.publish(epoch, [record(lane) for lane in lanes_of(0, 2)])
        [(_, entries)] = await bus.read({0: START}, 10, 0)
        assert [entry_id for entry_id, _ in entries] == [b"9000000000000-8", b"9000000000000-9"]

    async def test_position_of_another_memory_is_not_one_of_this(
        self, bus: RedisBus, epoch: str, engine: RedisEngine
    ) -> None:
        handler = BatchRecorder()
        published = [record(lane) for lane in lanes_of(0, 3)]
        await bus.redis.hset(f"{engine.prefix}:tails", "0", f"9000000000000-{7:013d}")
        await bus.publish(epoch, published)
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: len(handler.done()) == 3)
        await engine.empty()
        await bus.publish((await bus.epoch()).name, published)
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: len(handler.done()) == 6)

    async def test_member_whose_own_late_call_took_its_leases_anew_starts_over(
        self, bus: RedisBus, epoch: str, engine: RedisEngine
    ) -> None:
        handler = Recorder()
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: len(handler.fences) == PARTITIONS)
            members = await bus.redis.zrange(f"{engine.prefix}:members:group", 0, -1)
            [member] = cast("list[bytes]", members)
            await bus.hold(epoch, "group", member.decode(), 60, 0, [])
            await until(lambda: len(handler.fences[0]) == 2)

    async def test_nothing_is_handed_over_once_the_lease_has_run_out(
        self, bus: RedisBus, epoch: str, engine: RedisEngine
    ) -> None:
        clock = ManualClock()
        tokens: dict[bytes, int] = {}

        async def freeze(event: BusEvent) -> None:
            tokens.setdefault(event.payload, handler.fences[event.partition][-1])
            if len(tokens) == 1:
                clock.now_s += QUICK.lease_ttl_s

        handler = Recorder(freeze)
        await bus.publish(epoch, [record("lane", 1), record("lane", 2)])
        consumer = RedisConsumer(engine.settings(), "group", handler, QUICK, clock)
        async with running(consumer):
            await until(lambda: len(tokens) == 2)
        assert tokens[b"2"] > tokens[b"1"]


@pytest.mark.parametrize("headers", [b"{", b"\xff", b"[]", b"[" * 100_000])
def test_headers_that_are_none_are_not_an_event(headers: bytes) -> None:
    fields = {b"id": bytes(16), b"lane": b"", b"type": b"", b"payload": b"", b"headers": b""}
    assert decode(fields).headers == {}
    with pytest.raises(Undecodable):
        decode(fields | {b"headers": headers})
