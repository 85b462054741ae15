"""A member of a group as a process of its own, to be killed and frozen.

    python -m tests.contract.bus_process ENGINE URL PREFIX short|usual EFFECTS_URL KEY STEP

Its effects go to a list in another Redis, if its fence is still the newest there, as those of
feed_svc do. At the twentieth event it stays before (STEP `read`) or after (`effect`) the effect for
ever; otherwise (`none`) an event takes a moment. SIGTERM ends it cleanly.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress

from redis.asyncio import Redis

from svckit.events.bus import BusEvent, Fence, Fenced, Handler, Position
from svckit.events.delivery import ConsumerSettings
from svckit.events.redis.consumer import RedisConsumer
from tests.contract.redis_engine import SHORT_LEASES, RedisEngine

GROUP = "group"
STAYS_AT_EVENT = 20
EVENT_TAKES_S = 0.1  # so that something is always under way

EFFECT = """
-- KEYS: effects, fences, refusals.  ARGV: partition, token, effect
local newest = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
if newest > tonumber(ARGV[2]) then
  redis.call('INCR', KEYS[3])
  return newest
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if ARGV[3] ~= '' then
  redis.call('RPUSH', KEYS[1], ARGV[3])
end
return 0
"""


class Effects(Handler):
    def __init__(self, redis: Redis, key: str, step: str) -> None:
        self._redis = redis
        self._key = key
        self._step = step
        self._effect = redis.register_script(EFFECT)
        self._events = 0

    async def assigned(self, fence: Fence) -> Position | None:
        await self._write(fence, "")
        return None

    async def handle(self, event: BusEvent, fence: Fence) -> None:
        self._events += 1
        stays = self._events == STAYS_AT_EVENT
        if self._step == "read" and stays:
            await self._stay()
        number = event.payload.decode()
        effect = f"{os.getpid()} {fence.partition} {fence.token} {event.lane} {number}"
        if self._step == "none":
            await asyncio.shield(self._write_late(fence, effect))
        else:
            await self._write(fence, effect)
        if self._step == "effect" and stays:
            await self._stay()

    async def _write_late(self, fence: Fence, effect: str) -> None:
        """Like a command that has left: nobody calls it back, not even for a lost lease."""
        await asyncio.sleep(EVENT_TAKES_S)
        await self._write(fence, effect)

    async def _write(self, fence: Fence, effect: str) -> None:
        keys = [self._key, f"{self._key}:fences", f"{self._key}:refusals"]
        newest: int = await self._effect(keys=keys, args=[fence.partition, fence.token, effect])
        if newest:
            raise Fenced(newest)

    async def _stay(self) -> None:
        await self._redis.incr(f"{self._key}:stays")
        await asyncio.Event().wait()


async def main(
    engine: str, url: str, prefix: str, leases: str, effects_url: str, key: str, step: str
) -> None:
    assert engine == "redis"
    settings = SHORT_LEASES if leases == "short" else ConsumerSettings()
    async with Redis.from_url(effects_url) as redis:
        handler = Effects(redis, key, step)
        bus = RedisEngine(url, prefix).settings()
        consumer = RedisConsumer(bus, GROUP, handler, settings)
        running = asyncio.create_task(consumer.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        with suppress(asyncio.CancelledError):
            await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
