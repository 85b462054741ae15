"""An event on its way out of a store, and what the relay needs from the outbox that holds it.

A use case writes its change and an `OutboxRecord` in one transaction; the relay reads the records
in an order that is safe to publish, hands them to the bus and marks them. Each kind of store has
its own outbox (`svckit.postgres.outbox`, `svckit.mongo.outbox`).
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from svckit.events.bus import BusRecord

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRecord(BusRecord):
    """A record for the bus, and what it is about: the aggregate stays in the outbox."""

    aggregate_type: str
    aggregate_id: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to publish: `token` rises with every change of owner.

    `bus_epoch` is the bus that has been filled, by whichever owner.
    """

    token: int
    bus_epoch: str | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """The records that wait to be published; `rows` is counted up to a bound."""

    rows: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """How much an outbox reads at once."""

    read_again_records_max: int = 500
    backlog_rows_max: int = 10_000  # beyond it the backlog is not counted


class OutboxSource(Protocol[Key]):
    """One store's outbox; `Key` is how it finds a record again."""

    async def hold_lease(self, owner: str, ttl_s: float) -> Lease | None:
        """Take or renew the lease by the store's clock; None = another holds it."""

    async def release_lease(self, owner: str) -> None:
        """Let the next one in at once; harmless when it is another's."""

    async def set_bus_epoch(self, token: int, bus_epoch: str) -> None:
        """Note that this bus has all that is kept, unless the lease has moved on."""

    async def unpublished(self, limit: int) -> Sequence[tuple[Key, OutboxRecord]]:
        """The first records that may be published now, in the order to publish them."""

    async def mark_published(self, token: int, keys: Sequence[Key]) -> bool:
        """Mark them; False = the lease has moved on and nothing is marked."""

    def published(self, last_s: float | None) -> AsyncGenerator[Sequence[OutboxRecord], None]:
        """Published records that are kept, in order: all, or the `last_s` before the last mark."""

    async def backlog(self) -> Backlog:
        """The records that wait, for the metrics."""

    async def maintain(self) -> None:
        """Drop what is old enough and make room ahead; called now and then by the lease's owner."""
