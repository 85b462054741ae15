"""Removals that are due after a post or a person was deleted, in MongoDB.

A purge is written with the deletion and goes when its work is done, so that who is cut off leaves
the rest to the next one.
"""

from content_svc.model import Purge, PurgeKind
from svckit.mongo.changes import Change
from svckit.mongo.client import Mongo

PURGES = "purges"


class PurgeStore:
    """All calls about purges."""

    def __init__(self, mongo: Mongo) -> None:
        self._purges = mongo.collection(PURGES)

    async def add(self, change: Change, purge: Purge) -> None:
        """Adding it again changes nothing."""
        document = {"_id": purge.of_id, "kind": purge.kind, "since_ms": purge.since_ms}
        await change.transaction.collection(PURGES).insert_if_absent(document)

    async def due(self, now_ms: int, limit: int) -> list[Purge]:
        """New ones first, then those that were put off until now, in the order of that."""
        is_due = {"due_ms": {"$not": {"$gt": now_ms}}}  # a new one has no time
        found = await self._purges.find(is_due, sort={"due_ms": 1}, limit=limit)
        return [Purge(PurgeKind(each["kind"]), each["_id"], each["since_ms"]) for each in found]

    async def put_off(self, purge: Purge, due_ms: int) -> None:
        await self._purges.update({"_id": purge.of_id}, {"$set": {"due_ms": due_ms}})

    async def done(self, purge: Purge) -> None:
        await self._purges.delete({"_id": purge.of_id})
