"""The event bus on Redis Streams, for the suites of the bus."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

from svckit.events.bus import BatchHandler, Handler
from svckit.events.delivery import ConsumerSettings, DeliverySettings
from svckit.events.redis.bus import RedisBus
from svckit.events.redis.consumer import RedisConsumer
from svckit.events.redis.dead_letters import RedisDeadLetters
from svckit.events.redis.publisher import RedisPublisher
from svckit.events.settings import BusSettings
from svckit.settings import Secret
from tests.contract.bus_engine import PARTITIONS

QUICK = ConsumerSettings(
    lease_renew_s=0.1, backoff_min_s=0.01, backoff_max_s=0.05, trim_every_s=0.02
)
SHORT_LEASES = replace(QUICK, lease_ttl_s=1.0)


@dataclass
class RedisEngine:
    """A `BusEngine`, under a prefix of its own in the Redis at `url`."""

    url: str
    prefix: str = field(default_factory=lambda: f"test-{uuid.uuid4().hex}")
    expected_groups: Sequence[str] = ()
    opened: list[RedisBus] = field(default_factory=list)

    def settings(self) -> BusSettings:
        return BusSettings(
            redis_url=Secret(self.url),
            partitions=PARTITIONS,
            groups=",".join(self.expected_groups),
            prefix=self.prefix,
        )

    def bus(self) -> RedisBus:
        self.opened.append(RedisBus(self.settings()))
        return self.opened[-1]

    @asynccontextmanager
    async def publisher(self) -> AsyncIterator[RedisPublisher]:
        async with aclosing(RedisPublisher(self.settings())) as publisher:
            yield publisher

    def consumer(
        self, group: str, handler: Handler | BatchHandler, delivery: DeliverySettings
    ) -> RedisConsumer:
        settings = replace(QUICK, delivery=delivery)
        return RedisConsumer(self.settings(), group, handler, settings)

    def dead_letters(self) -> RedisDeadLetters:
        return RedisDeadLetters(self.bus())

    def groups(self) -> RedisBus:
        return self.bus()

    async def damage(self, partition: int) -> None:
        bus = self.bus()
        await bus.redis.xadd(bus.streams[partition], {"id": b"\xff", "dead_group": "x"})

    async def kept(self) -> int:
        bus = self.bus()
        return sum([await bus.redis.xlen(stream) for stream in bus.streams])

    async def cut(self) -> None:
        redis = self.bus().redis
        await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        for _ in range(3):  # by then the others know
            await redis.ping()

    async def empty(self) -> None:
        redis = self.bus().redis
        keys = [key async for key in redis.scan_iter(f"{self.prefix}:*", count=1000)]
        await redis.delete(*keys)

    def member(self, *, short_leases: bool) -> Sequence[str]:
        return ("redis", self.url, self.prefix, "short" if short_leases else "usual")

    async def close(self) -> None:
        for bus in self.opened:
            await bus.aclose()
