"""What the Redis of the bus may be: full, set to evict, no longer the one to write to."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from svckit.errors import Unavailable
from svckit.events.bus import BusEvent, BusMismatch, Undecodable
from tests.contract.bus_engine import DELIVERY, PARTITIONS, Recorder, letters, record, running
from tests.contract.redis_engine import RedisEngine
from tests.polling import until
from tests.stacks.redis_servers import SERVERS, server_named
from tests.stores import throwaway

ROOM_BYTES = 2_000_000
BATCH = 100


@pytest.fixture(params=SERVERS)
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    async with throwaway(server_named(request.param)) as url, Redis.from_url(url) as redis:
        yield redis


@pytest.fixture
async def engine(redis: Redis) -> AsyncIterator[RedisEngine]:
    options = redis.connection_pool.connection_kwargs
    engine = RedisEngine(f"redis://{options['host']}:{options['port']}/0")
    yield engine
    await engine.close()


async def connections(redis: Redis) -> set[str]:
    return {each["id"] for each in await redis.client_list()}


async def test_bus_that_is_full_takes_no_more_until_its_readers_have_made_room(
    redis: Redis, engine: RedisEngine
) -> None:
    taken, poisoned = 0, set[int]()

    async def refuse_the_first(event: BusEvent) -> None:
        if event.partition not in poisoned:
            poisoned.add(event.partition)
            raise Undecodable

    async def publish_until_it_is_full() -> None:
        nonlocal taken
        while True:
            await publisher.publish([record(f"lane-{taken}")] * BATCH)
            taken += BATCH

    handler = Recorder(refuse_the_first)
    used_bytes: int = (await redis.info("memory"))["used_memory"]
    await redis.config_set("maxmemory", used_bytes + ROOM_BYTES)
    async with engine.publisher() as publisher:
        await publisher.epoch()
        with pytest.raises(Unavailable):
            await publish_until_it_is_full()
        await redis.config_set("maxmemory", used_bytes + ROOM_BYTES // 2)
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: len(handler.done) == taken - PARTITIONS)

            async def is_trimmed() -> bool:
                return await engine.kept() <= PARTITIONS

            await until(is_trimmed)
        await publisher.epoch()
        await publisher.publish([record("lane")])
    assert len(await letters(engine)) == PARTITIONS


async def test_server_that_would_evict_events_is_refused(redis: Redis, engine: RedisEngine) -> None:
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    async with engine.publisher() as publisher:
        await publisher.epoch()
        await redis.config_set("maxmemory", "1gb")
        with pytest.raises(BusMismatch, match="allkeys-lru"):
            await publisher.epoch()
        with pytest.raises(Unavailable):
            await publisher.publish([record("lane")])
        await redis.config_set("maxmemory-policy", "volatile-lru")
        await publisher.epoch()


async def test_connections_to_a_server_that_was_demoted_are_given_up(
    redis: Redis, engine: RedisEngine
) -> None:
    """A name may lead to another server by now; who stays connected never learns of it."""
    mine = await connections(redis)
    async with engine.publisher() as publisher:
        await publisher.epoch()
        async with running(engine.consumer("group", Recorder(), DELIVERY)):
            before: set[str] = set()

            async def are_connected() -> bool:
                nonlocal before
                before = await connections(redis) - mine
                return len(before) == 3

            async def are_given_up() -> bool:
                return before.isdisjoint(await connections(redis))

            await until(are_connected)
            await redis.replicaof("127.0.0.1", "1")
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await publisher.epoch()
            await until(are_given_up)
            await redis.replicaof("NO", "ONE")
