"""The unit of work of a service on MongoDB: its documents and its events in one transaction."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from svckit.events.outbox import OutboxRecord
from svckit.mongo.client import Mongo, Transaction
from svckit.mongo.outbox import append

T = TypeVar("T")


class Change:
    """One attempt at a transaction, and the events that are written with it, last."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.events: list[OutboxRecord] = []

    def emit(self, *events: OutboxRecord) -> None:
        self.events += events


class Changes:
    """Runs the changes of all stores of a service; `on_commit` is told of each that has events."""

    def __init__(self, mongo: Mongo, on_commit: Callable[[], None]) -> None:
        self._mongo = mongo
        self._on_commit = on_commit

    async def run(self, work: Callable[[Change], Awaitable[T]]) -> T:
        """Commits documents and events together, or, when `work` raises, none of them.

        `work` is done again from its start, with a new `Change`, when other transactions were in
        the way: it calls no other service and changes nothing outside of its `Change`.
        """

        async def attempt(transaction: Transaction) -> tuple[T, bool]:
            change = Change(transaction)
            result = await work(change)
            await append(transaction, change.events)
            return result, bool(change.events)

        result, has_events = await self._mongo.run(attempt)
        if has_events:
            self._on_commit()
        return result
