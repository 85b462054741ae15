"""The unit of work of a service: what it changes in its store, and its events, in one transaction.

Each kind of store has its own `Changes` (`svckit.postgres.changes`, `svckit.mongo.changes`).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from svckit.events.outbox import OutboxRecord

T = TypeVar("T")
Transaction = TypeVar("Transaction")
Transaction_co = TypeVar("Transaction_co", covariant=True)


class Store(Protocol[Transaction_co]):
    """Does `work` in a transaction, again from its start when others were in the way."""

    async def run(self, work: Callable[[Transaction_co], Awaitable[T]]) -> T: ...


class Change(Generic[Transaction]):
    """One attempt at a transaction, and the events that are written with it, last."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.events: list[OutboxRecord] = []

    def emit(self, *events: OutboxRecord) -> None:
        self.events += events


class Changes(Generic[Transaction]):
    """Runs the changes of all stores of a service; `on_commit` is told of each that has events."""

    def __init__(
        self,
        store: Store[Transaction],
        append: Callable[[Transaction, Sequence[OutboxRecord]], Awaitable[None]],
        on_commit: Callable[[], None],
    ) -> None:
        self._store = store
        self._append = append
        self._on_commit = on_commit

    async def run(self, work: Callable[[Change[Transaction]], Awaitable[T]]) -> T:
        """Commits what is changed and the events together, or, when `work` raises, none of them.

        `work` is done again from its start, with a new `Change`, when other transactions were in
        the way: it calls no other service and changes nothing outside of its `Change`.
        """

        async def attempt(transaction: Transaction) -> tuple[T, bool]:
            change = Change(transaction)
            result = await work(change)
            await self._append(transaction, change.events)
            return result, bool(change.events)

        result, has_events = await self._store.run(attempt)
        if has_events:
            self._on_commit()
        return result
