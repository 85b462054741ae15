"""Things that many viewers look at: from memory, else from Redis, else from who owns them.

Memory is bounded in entries, in bytes and in age. Entries in use are read again before they are too
old, many at once and with nobody waiting, so a thing that is read all the time is always there. The
absence of a thing is not remembered: readers see at once that it came into being.

Redis and the owner are asked for all readers of a moment together, and apart from each other: a
reader that finds everything in Redis does not wait for a slow owner.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from feed_svc.background import Background
from svckit.batches import Coalescer
from svckit.bounded import Bounded
from svckit.errors import Unavailable
from svckit.patience import Patience

I = TypeVar("I")  # noqa: E741
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class ReadThroughSettings:
    entries_max: int = 20_000
    bytes_max: int = 128 * 1024 * 1024
    age_s_max: float = 1.0
    refresh_pause_s: float = 0.1
    asked_max: int = 500  # in a call to the owner


class _Entry(NamedTuple, Generic[V]):
    value: V
    read_at_s: float


class ReadThrough(Generic[I, V]):
    """`stored` tells what Redis knows (None = it is gone), `asked` what the owner has.

    Both may be away.
    """

    def __init__(
        self,
        owner: Patience,
        stored: Callable[[Sequence[I]], Awaitable[Mapping[I, V | None]]],
        asked: Callable[[Sequence[I]], Awaitable[Mapping[I, V]]],
        bytes_of: Callable[[V], int],
        background: Background,
        clock_s: Callable[[], float] = time.monotonic,
        settings: ReadThroughSettings | None = None,
    ) -> None:
        settings = settings or ReadThroughSettings()
        self._owner = owner
        self._stored: Coalescer[I, V | None] = Coalescer(stored)
        self._asked: Coalescer[I, V] = Coalescer(
            _in_parts(asked, settings.asked_max, owner.settings.long_s)
        )
        self._background = background
        self._clock_s = clock_s
        self._age_s_max = settings.age_s_max
        self._refresh_pause_s = settings.refresh_pause_s
        self._entries: Bounded[I, _Entry[V]] = Bounded(
            settings.entries_max, settings.bytes_max, lambda entry: bytes_of(entry.value)
        )
        self._ageing: set[I] = set()
        self._is_refreshing = False
        self._forgot_at_s = -math.inf

    async def get(self, ids: Collection[I]) -> dict[I, V]:
        """The things that exist; raises Unavailable when of some it can't be told."""
        found, unknown = await self.get_known(ids)
        if unknown:
            raise Unavailable(dependency=self._owner.service)
        return found

    async def get_known(self, ids: Collection[I]) -> tuple[dict[I, V], Sequence[I]]:
        """The things that exist, and the ids of which it can't be told, as their owner is away."""
        now_s = self._clock_s()
        too_old_s, ageing_s = now_s - self._age_s_max, now_s - self._age_s_max / 2
        entry_of = self._entries.get
        found: dict[I, V] = {}
        missing: list[I] = []
        for each in ids:
            entry = entry_of(each)
            if entry is None or entry.read_at_s < too_old_s:
                missing.append(each)
                continue
            found[each] = entry.value
            if entry.read_at_s < ageing_s:
                self._ageing.add(each)
        if self._ageing and not self._is_refreshing:
            self._is_refreshing = self._background.start(self._refresh())
        if not missing:
            return found, ()
        loaded, unknown = await self._load(tuple(missing))
        return found | loaded, unknown

    def remembered(self, one: I) -> V | None:
        """However old it is."""
        entry = self._entries.get(one)
        return entry.value if entry is not None else None

    def forget(self, one: I) -> None:
        """It has changed: a reader from now on gets it as it is read from now on."""
        self._entries.drop(one)
        self._forgot_at_s = self._clock_s()

    async def fresh(self, one: I) -> V | None:
        """As its owner has it now."""
        started_s = self._clock_s()
        found = await self._ask((one,))
        self._remember(found, started_s)
        if not found:
            self._entries.drop(one)
        return found.get(one)

    async def _load(self, ids: tuple[I, ...]) -> tuple[dict[I, V], Sequence[I]]:
        started_s = self._clock_s()
        stored: Mapping[I, V | None] = {}
        with suppress(Unavailable):  # without Redis the owner is asked for everything
            stored = await self._stored.get_all(ids)
        found: dict[I, V] = {}
        unknown: list[I] = []
        for each in ids:
            if each not in stored:
                unknown.append(each)
            elif (value := stored[each]) is not None:
                found[each] = value
        if unknown:
            with suppress(Unavailable):
                found |= await self._ask(tuple(unknown))
                unknown.clear()
        self._remember(found, started_s)
        return found, unknown

    async def _ask(self, ids: tuple[I, ...]) -> dict[I, V]:
        """Patience counts from here: also while an earlier question is in the way."""
        async with self._owner.limit():
            answer = await self._asked.get_all(ids)
        return {each: answer[each] for each in ids if each in answer}

    async def _refresh(self) -> None:
        try:
            while self._ageing:
                await asyncio.sleep(self._refresh_pause_s)  # until there are many
                ids = tuple(self._ageing)
                self._ageing.clear()
                found, unknown = await self._load(ids)
                for gone in set(ids) - found.keys() - set(unknown):
                    self._entries.drop(gone)
        finally:
            self._is_refreshing = False

    def _remember(self, found: Mapping[I, V], read_at_s: float) -> None:
        """The oldest stand first: an entry that is not read again is the first to go.

        A value that may have been read before one of them changed is not remembered.
        """
        if read_at_s <= self._forgot_at_s:
            return
        for each, value in found.items():
            self._entries.put(each, _Entry(value, read_at_s))

    def __len__(self) -> int:
        return len(self._entries)


def _in_parts(
    load: Callable[[Sequence[I]], Awaitable[Mapping[I, V]]], asked_max: int, timeout_s: float
) -> Callable[[Sequence[I]], Awaitable[Mapping[I, V]]]:
    async def load_parts(ids: Sequence[I]) -> Mapping[I, V]:
        found: dict[I, V] = {}
        async with asyncio.timeout(timeout_s):  # its callers wait no longer
            for start in range(0, len(ids), asked_max):
                found |= await load(ids[start : start + asked_max])
        return found

    return load_parts
