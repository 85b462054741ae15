"""New posts on their way into the database: those of the same moment in one transaction.

A transaction of many posts costs little more than one of a single post, so a busy service publishes
several times as many, and a quiet one as fast as without.
"""

import asyncio
from collections.abc import Sequence

from content_svc.model import Post
from content_svc.store import PostStore
from svckit.batches import Gatherer, RoundSettings
from svckit.errors import DeadlineExceeded, Unavailable
from svckit.events.outbox import OutboxRecord
from svckit.mongo.changes import Change, Changes

_NewPost = tuple[Post, Sequence[OutboxRecord]]


class Creations:
    """Each post is committed with its events, or neither is."""

    def __init__(self, changes: Changes, store: PostStore, together_max: int) -> None:
        self._changes = changes
        self._store = store
        self._together = Gatherer(self._insert_all, RoundSettings(together_max, interval_s=0))

    async def create(self, post: Post, events: Sequence[OutboxRecord]) -> None:
        """Raises `PostIdTaken`."""
        await self._together.do((post, events))

    async def _insert_all(self, new: Sequence[_NewPost]) -> Sequence[BaseException | None]:
        """The error of each, or None. One bad post does no harm to the others."""
        if len(new) > 1:
            try:
                await self._insert(new)
            except (Unavailable, DeadlineExceeded):
                raise
            except Exception:  # noqa: BLE001, S110 whose fault it was is seen when each goes alone
                pass
            else:
                return [None] * len(new)
        return await asyncio.gather(*(self._insert([each]) for each in new), return_exceptions=True)

    async def _insert(self, new: Sequence[_NewPost]) -> None:
        async def write(change: Change) -> None:
            await self._store.insert(change, *(post for post, _ in new))
            for _, events in new:
                change.emit(*events)

        await self._changes.run(write)
