"""The event bus as its writers and readers see it; its engines stand beside.

An event belongs to a lane, and a lane to one of a fixed number of partitions. Readers form groups:
every group gets every event, at least once. Inside a group each partition has one owner at a time,
and every change of owner comes with a higher fencing token. A group keeps one position for each
partition, behind which everything was handled; after a crash the events from there on come again.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NewType, Protocol
from uuid import UUID
from zlib import crc32

Position = NewType("Position", str)
"""Where an event stands in its partition: can be stored, and orders as text.

One of another memory of the bus stands before everything that is there now.
"""


def partition_of(lane: str, partitions: int) -> int:
    """CRC-32 of the lane in UTF-8, modulo the number of partitions: simple to do elsewhere too."""
    return crc32(lane.encode()) % partitions


@dataclass(frozen=True, slots=True)
class BusRecord:
    """One event: `payload` is the serialized message, `lane` the key of its order."""

    event_id: UUID
    lane: str
    type: str
    payload: bytes
    headers: Mapping[str, str] = field(default_factory=dict)  # traceparent travels here


@dataclass(frozen=True, slots=True)
class Epoch:
    """A memory of the bus: what is under another name may lack what was taken before.

    That is what was taken in the last `lacks_s` at most; None = all of it.
    """

    name: str
    lacks_s: float | None = field(compare=False)


class Publisher(Protocol):
    """Takes events for the bus.

    An engine whose bus can forget never reconnects in silence and never writes into a memory other
    than the one whose `epoch` it told last: it raises, so that the relay can first fill in what may
    have been lost.
    """

    async def publish(self, records: Sequence[BusRecord]) -> None:
        """Returns once the bus has taken all of them, each lane in the order given.

        When it raises, any of them may have been taken.
        """

    async def epoch(self) -> Epoch | None:
        """Connects; the memory that the bus has now, or None = a bus that does not forget."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to act on a partition's events, until somebody has one with a higher token.

    Tokens keep rising when the bus comes back empty.
    """

    partition: int
    token: int


class Fenced(Exception):
    """The partition has a newer owner: raised by a handler whose store has seen a higher token."""

    def __init__(self, newest_token: int = 0) -> None:
        super().__init__(newest_token)
        self.newest_token = newest_token


class BusMismatch(Exception):
    """The bus is not as it must be, or not as the settings say."""


class Undecodable(Exception):
    """An event that cannot be understood, now or later; a handler may raise it too."""


@dataclass(frozen=True, slots=True)
class BusEvent:
    """An event as it is handed over; `attempt` counts from 1, and again after a crash."""

    event_id: UUID
    lane: str
    type: str
    payload: bytes
    headers: Mapping[str, str]
    partition: int
    position: Position
    published_at_ms: int
    attempt: int = 1


class _OfGroup:
    """What every handler has for its group."""

    types: frozenset[str] | None = None
    """Only events of these types are handed over; None = all."""

    async def assigned(self, fence: Fence) -> Position | None:  # noqa: ARG002
        """A partition is ours: called before its first event is handed over.

        Returns the position behind which to start, where the handler keeps it beside the effect;
        None = the position of the group.
        """
        return None


class Handler(_OfGroup, ABC):
    """Takes events one by one: of one lane in order, of different lanes side by side.

    What it raises decides: `Unavailable` and its kin (`svckit.events.delivery.TRANSIENT`) = again,
    for as long as it takes; `Undecodable` = a dead letter; anything else = a dead letter after some
    more tries. It bounds its own time, and may see every event more than once.
    """

    @abstractmethod
    async def handle(self, event: BusEvent, fence: Fence) -> None:
        """The event counts as handled once this returns."""


class BatchHandler(_OfGroup, ABC):
    """Takes events in batches: of one partition in order, of different partitions side by side.

    Takes all of a batch or raises as a `Handler` does; then its events come one by one, so that
    one bad event does not keep the others.
    """

    @abstractmethod
    async def handle_batch(self, events: Sequence[BusEvent], fence: Fence) -> None:
        """The events count as handled once this returns."""


class Consumer(Protocol):
    """One member of a group; the partitions are shared out over all that run."""

    async def run(self) -> None:
        """Hand events to the handler until cancelled; survives whatever happens to the bus."""

    async def ping(self) -> None:
        """Raises `Unavailable` while the bus does not answer."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a group could not handle; `event` is None if not even the bus can read it."""

    letter_id: str
    group: str
    kind: str
    text: str
    set_aside_at_ms: int
    event: BusRecord | None


class DeadLetters(Protocol):
    """The events that all groups have set aside, until somebody decides."""

    def read(self) -> AsyncGenerator[DeadLetter, None]:
        """All of them, the oldest first."""

    async def redrive(self, letters: Sequence[DeadLetter]) -> int:
        """Put them back, each at the end of its lane and for its group alone; returns how many.

        Those without an event stay.
        """

    async def drop(self, letters: Sequence[DeadLetter]) -> int:
        """Forget them; returns how many there were."""


@dataclass(frozen=True, slots=True)
class GroupState:
    """How a group stands: its members that are alive, and the events that it has yet to do."""

    name: str
    members: int
    lag: int


class GroupIsAlive(Exception):
    """The group has members, and is not retired therefore."""


class Groups(Protocol):
    """The groups that events are kept for."""

    async def group_states(self) -> Sequence[GroupState]:
        """All of them, by name."""

    async def retire(self, group: str) -> None:
        """Forget its positions and keep no events for it; harmless twice.

        Should it ever come back, it is a new one.
        """
