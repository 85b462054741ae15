"""What the oracle does to the bus, and how it knows that everything has been handled."""

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, cast

from svckit.events.redis.bus import START, Entry, RedisBus, decode, position_of
from svckit.events.settings import BusSettings


class BusTricks:
    """On the bus of these settings, which somebody else opens."""

    def __init__(self, settings: BusSettings) -> None:
        self._bus = RedisBus(settings)
        self._redis = self._bus.redis

    async def has_handled_all(self, groups: Iterable[str]) -> bool:
        """All of these groups are past everything that is on the bus."""
        tails, positions = await self._hash(self._bus._tails_key), await self._positions()
        return all(
            positions.get(f"{group}/{partition}", "") >= tail
            for partition, tail in tails.items()
            for group in groups
        )

    async def lag(self) -> str:
        """Where the bus and its groups are, by partition."""
        return f"{await self._hash(self._bus._tails_key)} {await self._positions()}"

    async def dead_letters(self) -> int:
        return int(await self._redis.xlen(self._bus.dead_key))

    async def repeat(self, count: int, partitions: Sequence[int]) -> None:
        """Append the last events of some partitions again, in their order."""
        streams = [self._bus.streams[number] for number in partitions]
        entries = [await self._last(stream, count) for stream in streams]
        records = [decode(fields) for some in entries for _, fields in some]
        await self._bus.publish((await self._bus.epoch()).name, records)

    async def rewind(self, group: str, count: int, partitions: Sequence[int]) -> None:
        """Move the group's positions back to before the last events of some partitions."""
        positions = await self._positions()
        for number in partitions:
            entries = await self._last(self._bus.streams[number], count + 1)
            field = f"{group}/{number}"
            position = position_of(entries[0][0]) if len(entries) > count else START
            if position < positions.get(field, ""):
                await self._redis.hset(self._bus._positions_key, field, position)

    async def _last(self, stream: str, count: int) -> list[Entry]:
        """The oldest of them first."""
        return cast("list[Entry]", await self._redis.xrevrange(stream, count=count))[::-1]

    async def _positions(self) -> dict[str, str]:
        """By group and partition."""
        return await self._hash(self._bus._positions_key)

    async def _hash(self, key: str) -> dict[str, str]:
        found = cast("dict[bytes, bytes]", await self._redis.hgetall(key))
        return {field.decode(): value.decode() for field, value in found.items()}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._bus.aclose()
