"""The event bus as its writers see it; its engines and readers stand beside this port."""

from collections.abc import Sequence
from typing import Protocol

from svckit.outbox import OutboxRecord


class Publisher(Protocol):
    """Takes events for the bus.

    An engine never reconnects in silence and never writes into a memory other than the one whose
    `epoch` it told last: it raises, so that the relay can first fill in what may have been lost.
    """

    async def publish(self, records: Sequence[OutboxRecord]) -> None:
        """Returns once the bus has taken all of them, each lane in the order given.

        When it raises, any of them may have been taken.
        """

    async def epoch(self) -> str | None:
        """The identity of the bus's memory: another value than before = it came back empty.

        None = a bus that does not forget.
        """
