"""Comments in MongoDB. Those of a deleted post go with it, without a trace."""

from dataclasses import asdict

from content_svc.model import (
    Comment,
    CommentId,
    CommentIdTaken,
    DeletedComment,
    Page,
    Place,
    PostId,
    UserId,
    comment_digest,
)
from content_svc.store import NEWEST_FIRST, packed, page_of, to_mentions, unpacked
from svckit.mongo.changes import Change
from svckit.mongo.client import Document, DuplicateKey, Expression, Mongo

COMMENTS = "comments"

_LIVE: Expression = {"place": {"$exists": True}}


class CommentStore:
    """All calls about comments."""

    def __init__(self, mongo: Mongo) -> None:
        self._comments = mongo.collection(COMMENTS)

    async def insert(self, change: Change, comment: Comment) -> None:
        """Claims the id; `CommentIdTaken` must end the transaction."""
        mentions = [asdict(each) for each in comment.mentions]
        document = {
            "_id": comment.comment_id,
            "post_id": comment.post_id,
            "post_author_id": comment.post_author_id,
            "author_id": comment.author_id,
            "place": packed((comment.create_time_ms, comment.comment_id)),
            "digest": comment_digest(comment),
            "content": comment.content,
            **({"mentions": mentions} if mentions else {}),
        }
        try:
            await change.transaction.collection(COMMENTS).insert(document)
        except DuplicateKey as error:
            raise CommentIdTaken(comment_id=str(comment.comment_id)) from error

    async def first_of(self, comment: Comment) -> Comment | None:
        """The live comment that was made with this id by this author from this body."""
        query = {
            "_id": comment.comment_id,
            "author_id": comment.author_id,
            "digest": comment_digest(comment),
        }
        document = await self._comments.find_one({**query, **_LIVE})
        return _to_comment(document) if document else None

    async def in_change(
        self, change: Change, comment_id: CommentId
    ) -> Comment | DeletedComment | None:
        """The comment as the transaction sees it."""
        comments = change.transaction.collection(COMMENTS)
        document = await comments.find_one({"_id": comment_id})
        if document is None:
            return None
        return _to_comment(document) if "place" in document else _to_deleted(document)

    async def delete(self, change: Change, comment: Comment, now_ms: int) -> DeletedComment:
        """Leaves the id and whose it was, of a comment that the transaction has seen alive."""
        left = {
            "_id": comment.comment_id,
            "post_id": comment.post_id,
            "post_author_id": comment.post_author_id,
            "author_id": comment.author_id,
            "delete_time_ms": now_ms,
        }
        comments = change.transaction.collection(COMMENTS)
        await comments.replace({"_id": comment.comment_id, **_LIVE}, left)
        return _to_deleted(left)

    async def of_post(self, post_id: PostId, before: Place, limit: int) -> Page[Comment]:
        """Newest first."""
        query = {"post_id": post_id, "place": {"$lt": packed(before)}}
        found = await self._comments.find(query, sort=NEWEST_FIRST, limit=limit)
        return page_of(found, limit, _to_comment)

    async def made_by(self, author_id: UserId, limit: int) -> list[Comment]:
        """Some of a person's live comments; none = none is left."""
        found = await self._comments.find({"author_id": author_id, **_LIVE}, limit=limit)
        return [_to_comment(document) for document in found]

    async def purge_post(self, post_id: PostId, limit: int) -> int:
        """Removes some of the comments of a post, the deleted ones too; 0 = none is left."""
        found = await self._comments.find({"post_id": post_id}, fields={"_id": 1}, limit=limit)
        if not found:
            return 0
        return await self._comments.delete({"_id": {"$in": [each["_id"] for each in found]}})


def _to_comment(document: Document) -> Comment:
    return Comment(
        comment_id=document["_id"],
        post_id=document["post_id"],
        post_author_id=document["post_author_id"],
        author_id=document["author_id"],
        content=document["content"],
        create_time_ms=unpacked(document["place"])[0],
        mentions=to_mentions(document),
    )


def _to_deleted(document: Document) -> DeletedComment:
    return DeletedComment(
        comment_id=document["_id"],
        post_id=document["post_id"],
        post_author_id=document["post_author_id"],
        author_id=document["author_id"],
        delete_time_ms=document["delete_time_ms"],
    )
