"""Likes in MongoDB: a document each, whose id is made of the post's and the person's.

So there is never a second one, and "do I like these posts" is a look-up of ids.
"""

from collections.abc import Iterable
from uuid import UUID

from content_svc.model import Like, Page, Place, PostId, UserId
from content_svc.store import NEWEST_FIRST, packed, page_of, unpacked
from svckit.ids import ID_BYTES
from svckit.mongo.changes import Change
from svckit.mongo.client import Document, Mongo

LIKES = "likes"


class LikeStore:
    """All calls about likes."""

    def __init__(self, mongo: Mongo) -> None:
        self._likes = mongo.collection(LIKES)

    async def add(self, change: Change, like: Like) -> bool:
        """False = there was one already, and nothing has changed."""
        document = {
            "_id": _like_id(like.post_id, like.user_id),
            "post_id": like.post_id,
            "post_author_id": like.post_author_id,
            "user_id": like.user_id,
            "place": packed((like.create_time_ms, like.user_id)),
        }
        return await change.transaction.collection(LIKES).insert_if_absent(document)

    async def remove(self, change: Change, post_id: PostId, user_id: UserId) -> Like | None:
        """The like that was removed; None = there was none."""
        likes = change.transaction.collection(LIKES)
        document = await likes.find_and_delete({"_id": _like_id(post_id, user_id)})
        return _to_like(document) if document else None

    async def of_post(self, post_id: PostId, before: Place, limit: int) -> Page[Like]:
        """Newest first."""
        query = {"post_id": post_id, "place": {"$lt": packed(before)}}
        found = await self._likes.find(query, sort=NEWEST_FIRST, limit=limit)
        return page_of(found, limit, _to_like)

    async def made_by(self, user_id: UserId, limit: int) -> list[Like]:
        """Some of a person's likes; none = none is left."""
        found = await self._likes.find({"user_id": user_id}, limit=limit)
        return [_to_like(document) for document in found]

    async def liked_by(self, viewer_id: UserId, post_ids: Iterable[UUID]) -> set[UUID]:
        """Which of the posts the viewer likes."""
        ids = [_like_id(post_id, viewer_id) for post_id in post_ids]
        found = await self._likes.find({"_id": {"$in": ids}}, fields={"_id": 1})
        return {UUID(bytes=each["_id"][:ID_BYTES]) for each in found}

    async def purge_post(self, post_id: PostId, limit: int) -> int:
        """Removes some of the likes of a post; 0 = none is left."""
        found = await self._likes.find({"post_id": post_id}, fields={"_id": 1}, limit=limit)
        if not found:
            return 0
        return await self._likes.delete({"_id": {"$in": [each["_id"] for each in found]}})


def _like_id(post_id: UUID, user_id: UUID) -> bytes:
    return post_id.bytes + user_id.bytes


def _to_like(document: Document) -> Like:
    return Like(
        post_id=document["post_id"],
        post_author_id=document["post_author_id"],
        user_id=document["user_id"],
        create_time_ms=unpacked(document["place"])[0],
    )
