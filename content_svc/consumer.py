"""Events of others, handled: when a person is deleted, so are their posts, comments and likes."""

from collections.abc import Callable
from uuid import UUID

from content_svc.model import Purge, PurgeKind
from content_svc.purge_store import PurgeStore
from svckit.events.bus import BusEvent, Fence, Handler
from svckit.events.envelope import decoded
from svckit.mongo.changes import Change, Changes

GROUP = "content_svc"


class PeopleEvents(Handler):
    """Notes that there is something to purge; the work is `Maintenance`'s."""

    types = frozenset({"UserDeleted"})

    def __init__(self, changes: Changes, purges: PurgeStore, clock_ms: Callable[[], int]) -> None:
        self._changes = changes
        self._purges = purges
        self._clock_ms = clock_ms

    async def handle(self, event: BusEvent, fence: Fence) -> None:  # noqa: ARG002 harmless twice
        user_id = UUID(decoded(event).user_deleted.user_id)
        purge = Purge(PurgeKind.USER, user_id, self._clock_ms())

        async def note(change: Change) -> None:
            await self._purges.add(change, purge)

        await self._changes.run(note)
