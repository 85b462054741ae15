"""New posts on their way into the database: those of the same moment in one transaction.

A transaction of many posts costs little more than one of a single post, so a busy service publishes
several times as many, and a quiet one as fast as without.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from content_svc.model import Post
from content_svc.store import Change, Changes, PostStore
from svckit.batches import Batches
from svckit.errors import DeadlineExceeded, Unavailable
from svckit.events.outbox import OutboxRecord

TOGETHER_MAX = 64


@dataclass(frozen=True, slots=True, eq=False)
class _NewPost:
    post: Post
    events: Sequence[OutboxRecord]


class Creations:
    """Each post is committed with its events, or neither is."""

    def __init__(self, changes: Changes, store: PostStore) -> None:
        self._changes = changes
        self._store = store
        self._together = Batches(self._insert_all, keys_max=TOGETHER_MAX, interval_s=0)

    async def create(self, post: Post, events: Sequence[OutboxRecord]) -> None:
        """Raises `PostIdTaken`."""
        error = await self._together.get(_NewPost(post, events))
        if error is not None:
            raise error

    async def _insert_all(self, new: Sequence[_NewPost]) -> dict[_NewPost, BaseException]:
        """Returns what went wrong with each. One bad post does no harm to the others."""
        if len(new) > 1:
            try:
                await self._insert(new)
            except (Unavailable, DeadlineExceeded):
                raise
            except Exception:  # noqa: BLE001, S110 whose fault it was is seen when each goes alone
                pass
            else:
                return {}
        outcomes = await asyncio.gather(
            *(self._insert([each]) for each in new), return_exceptions=True
        )
        return {each: error for each, error in zip(new, outcomes, strict=True) if error}

    async def _insert(self, new: Sequence[_NewPost]) -> None:
        async def write(change: Change) -> None:
            await self._store.insert(change, *(each.post for each in new))
            for each in new:
                change.emit(*each.events)

        await self._changes.run(write)
