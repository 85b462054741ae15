"""The groups of the Redis bus: how they stand, and how one is forgotten."""

from collections.abc import Sequence

from svckit.events.bus import GroupIsAlive, GroupState
from svckit.events.redis.bus import RedisBus, bus_errors


class RedisGroups:
    """`Groups`."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus

    async def read(self) -> Sequence[GroupState]:
        with bus_errors():
            await self._bus.open()
            return await self._bus.groups()

    async def retire(self, group: str) -> None:
        with bus_errors():
            await self._bus.open()
            if not await self._bus.retire(group):
                raise GroupIsAlive(group)
