"""An outbox in memory, for the relay's own tests; it passes the suite of all outboxes."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from svckit.events.outbox import Backlog, Lease, OutboxRecord


@dataclass
class StoredRecord:
    record: OutboxRecord
    created_at: float
    published_at: float | None = None


@dataclass
class MemoryOutbox:
    """An `OutboxSource`; several relays may share it."""

    clock: Callable[[], float]
    rows: list[StoredRecord] = field(default_factory=list)
    owner: str = ""
    token: int = 0
    expires_at: float = 0.0
    bus_epoch: str | None = None
    maintained: int = 0
    maintenance_fails: bool = False

    def add(self, count: int) -> None:
        for _ in range(count):
            number = len(self.rows)
            record = OutboxRecord(
                UUID(int=number),
                "lane",
                "PostCreated",
                b"",
                aggregate_type="post",
                aggregate_id="1",
            )
            self.rows.append(StoredRecord(record, self.clock()))

    async def hold_lease(self, owner: str, ttl_s: float) -> Lease | None:
        if owner != self.owner:
            if self.clock() < self.expires_at:
                return None
            self.owner, self.token = owner, self.token + 1
        self.expires_at = self.clock() + ttl_s
        return Lease(self.token, self.bus_epoch)

    async def release_lease(self, owner: str) -> None:
        if owner == self.owner:
            self.expires_at = 0.0

    async def set_bus_epoch(self, token: int, bus_epoch: str) -> None:
        if token == self.token:
            self.bus_epoch = bus_epoch

    async def unpublished(self, limit: int) -> Sequence[tuple[int, OutboxRecord]]:
        waiting = [
            (key, row.record) for key, row in enumerate(self.rows) if row.published_at is None
        ]
        return waiting[:limit]

    async def mark_published(self, token: int, keys: Sequence[int]) -> bool:
        if token != self.token:
            return False
        for key in keys:
            self.rows[key].published_at = self.clock()
        return True

    async def published(self, last_s: float | None) -> AsyncGenerator[Sequence[OutboxRecord]]:
        marks = [row.published_at for row in self.rows if row.published_at is not None]
        since = 0.0 if last_s is None else max(marks, default=0.0) - last_s
        for row in self.rows:
            if row.published_at is not None and row.published_at >= since:
                yield [row.record]

    async def backlog(self) -> Backlog:
        waiting = [row.created_at for row in self.rows if row.published_at is None]
        return Backlog(len(waiting), self.clock() - min(waiting) if waiting else 0.0)

    async def maintain(self) -> None:
        self.maintained += 1
        if self.maintenance_fails:
            raise RuntimeError
