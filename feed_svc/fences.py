"""The numbers with which this process writes into feeds, by partition of the bus.

Redis refuses numbers lower than the highest that it has seen. So a former owner of a partition
can't write any more, nor can a call of our own that was given up: its number is not used again, and
should the call reach Redis late, behind what was written since, it is refused.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from svckit.events.bus import Fence, Fenced


class FenceNumber(NamedTuple):
    """The token of a partition's lease, and an epoch of ours that rises within it."""

    token: int
    epoch: int

    def __str__(self) -> str:
        """Digits of equal length: they order as text, which is how Redis compares them."""
        return f"{self.token:016d}{self.epoch:09d}"


class FenceRefused(Exception):
    """Redis has no number for the partition, or a higher one, of the owner with this token."""

    def __init__(self, newest_token: int) -> None:
        super().__init__(newest_token)
        self.newest_token = newest_token

    @classmethod
    def of(cls, error: Exception) -> "FenceRefused | None":
        """From what a function in Redis says; None = it is about something else."""
        word, _, rest = str(error).partition(" ")
        if word == "FENCED":
            return cls(int(rest[:16]))
        return cls(0) if word == "UNFENCED" else None


@dataclass(slots=True)
class _Held:
    number: FenceNumber
    is_raised: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Fences:
    """`raise_number` returns when no lower number of the partition can write anywhere."""

    def __init__(self, raise_number: Callable[[Fence, FenceNumber], Awaitable[None]]) -> None:
        self._raise_number = raise_number
        self._held: dict[int, _Held] = {}

    async def raise_(self, fence: Fence) -> None:
        """The partition is ours: when this returns no former owner can write any more."""
        self._of(fence).is_raised = False
        await self.number(fence)

    async def number(self, fence: Fence) -> FenceNumber:
        held = self._of(fence)
        if not held.is_raised:
            async with held.lock:
                if not held.is_raised:
                    held.number = held.number._replace(epoch=held.number.epoch + 1)
                    await self._raise_number(fence, held.number)
                    held.is_raised = True
        return held.number

    def distrust(self, fence: Fence, number: FenceNumber) -> None:
        """A call with this number did not end well: the next call has a higher one."""
        held = self._held.get(fence.partition)
        if held is not None and held.number == number:
            held.is_raised = False

    def _of(self, fence: Fence) -> _Held:
        held = self._held.get(fence.partition)
        if held is None or held.number.token < fence.token:
            held = self._held[fence.partition] = _Held(FenceNumber(fence.token, 0))
        elif held.number.token > fence.token:
            raise Fenced(held.number.token)
        return held
