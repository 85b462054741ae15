"""The unit of work of a service on PostgreSQL: its rows and its events in one transaction."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from svckit.events.outbox import OutboxRecord
from svckit.postgres.client import Connection, Database
from svckit.postgres.outbox import append

T = TypeVar("T")


class Change:
    """One attempt at a transaction, and the events that are written with it, last."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.events: list[OutboxRecord] = []

    def emit(self, *events: OutboxRecord) -> None:
        self.events += events


class Changes:
    """Runs the changes of all stores of a service; `on_commit` is told of each that has events."""

    def __init__(self, database: Database, on_commit: Callable[[], None]) -> None:
        self._database = database
        self._on_commit = on_commit

    async def run(self, work: Callable[[Change], Awaitable[T]]) -> T:
        """Commits rows and events together, or, when `work` raises, none of them.

        `work` is done again from its start, with a new `Change`, after a deadlock or a
        serialization failure: it calls no other service and changes nothing outside of its
        `Change`.
        """

        async def attempt(connection: Connection) -> tuple[T, bool]:
            change = Change(connection)
            result = await work(change)
            await append(connection, change.events)
            return result, bool(change.events)

        result, has_events = await self._database.run(attempt)
        if has_events:
            self._on_commit()
        return result
