"""What the suites of the event bus share: the engine under test, events, and handlers that note."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID, uuid4

import pytest

from svckit.errors import Unavailable
from svckit.events.bus import (
    BatchHandler,
    BusEvent,
    BusRecord,
    Consumer,
    DeadLetter,
    DeadLetters,
    Fence,
    Groups,
    Handler,
    Position,
    Publisher,
    partition_of,
)
from svckit.events.delivery import DeliverySettings

PARTITIONS = 4
DELIVERY = DeliverySettings(backoff_min_s=0.005, backoff_max_s=0.02)


class BusEngine(Protocol):
    """One bus of `PARTITIONS`, empty at first, that rebalances and trims all the time.

    It keeps events for `expected_groups` from the start.
    """

    expected_groups: Sequence[str]

    def publisher(self) -> AbstractAsyncContextManager[Publisher]:
        """Not yet connected."""

    def consumer(
        self, group: str, handler: Handler | BatchHandler, delivery: DeliverySettings
    ) -> Consumer: ...

    def member(self, *, short_leases: bool) -> Sequence[str]:
        """What tells `tests.contract.bus_process` of this bus, on its command line."""

    def dead_letters(self) -> DeadLetters: ...

    def groups(self) -> Groups: ...

    async def damage(self, partition: int) -> None:
        """Append something that is not an event."""

    async def kept(self) -> int:
        """How many events the bus still has; one in each partition may be there for good."""

    async def cut(self) -> None:
        """Break all connections."""

    async def empty(self) -> None:
        """Make the bus forget everything; for the `BusMemorySuite` alone."""


def record(lane: str, number: int = 0) -> BusRecord:
    return BusRecord(uuid4(), lane, "PostCreated", str(number).encode())


def records(lanes: Sequence[str], each: int) -> list[BusRecord]:
    """Numbers 0, 1, 2, ... in every lane; the lanes are mixed."""
    order = [lane for lane in lanes for _ in range(each)]
    random.Random(1).shuffle(order)
    count: Counter[str] = Counter()
    made = []
    for lane in order:
        made.append(record(lane, count[lane]))
        count[lane] += 1
    return made


def lanes_of(partition: int, count: int) -> list[str]:
    names = (f"lane-{number}" for number in range(10_000))
    mine = (name for name in names if partition_of(name, PARTITIONS) == partition)
    return [next(mine) for _ in range(count)]


async def _nothing(_: BusEvent) -> None:
    """An effect that takes no time and does not fail."""


@dataclass
class Recorder(Handler):
    """Writes down what comes; `effect` may wait or fail."""

    effect: Callable[[BusEvent], Awaitable[object]] = _nothing
    done: list[BusEvent] = field(default_factory=list)
    tries: list[tuple[UUID, int]] = field(default_factory=list)
    fences: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    under_way: Counter[str] = field(default_factory=Counter)
    most_under_way: int = 0
    clashes: list[str] = field(default_factory=list)

    async def assigned(self, fence: Fence) -> Position | None:
        self.fences[fence.partition].append(fence.token)
        return None

    async def handle(self, event: BusEvent, fence: Fence) -> None:
        self.tries.append((event.event_id, event.attempt))
        if self.under_way[event.lane] or self.fences[event.partition][-1:] != [fence.token]:
            self.clashes.append(event.lane)
        self.under_way[event.lane] += 1
        self.most_under_way = max(self.most_under_way, self.under_way.total())
        try:
            await self.effect(event)
        finally:
            self.under_way[event.lane] -= 1
        self.done.append(event)

    def ids(self) -> list[UUID]:
        return [event.event_id for event in self.done]

    def has(self, different: int) -> bool:
        return len(set(self.ids())) == different

    def numbers(self, lane: str) -> list[int]:
        return [int(event.payload) for event in self.done if event.lane == lane]


@dataclass
class BatchRecorder(BatchHandler):
    """Keeps its place beside its effect, as analytics does."""

    batches: list[list[BusEvent]] = field(default_factory=list)
    places: dict[int, Position] = field(default_factory=dict)
    poison: bytes | None = None
    batches_max: int = 1_000_000

    async def assigned(self, fence: Fence) -> Position | None:
        return self.places.get(fence.partition)

    async def handle_batch(self, events: Sequence[BusEvent], fence: Fence) -> None:
        if self.poison in {event.payload for event in events}:
            raise ValueError
        if len(self.batches) == self.batches_max:
            raise Unavailable
        self.batches.append(list(events))
        assert {event.partition for event in events} == {fence.partition}
        self.places[fence.partition] = events[-1].position

    def done(self) -> list[BusEvent]:
        return [event for batch in self.batches for event in batch]


@asynccontextmanager
async def running(consumer: Consumer) -> AsyncIterator[None]:
    """Ends it as a program does, and shows what it died of."""
    task = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            await task


async def letters(engine: BusEngine) -> list[DeadLetter]:
    return [letter async for letter in engine.dead_letters().read()]


class BusTests:
    """The base of the suites: needs the fixture `engine`."""

    @pytest.fixture
    async def publisher(self, engine: BusEngine) -> AsyncIterator[Publisher]:
        async with engine.publisher() as publisher:
            await publisher.epoch()
            yield publisher
