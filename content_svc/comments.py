"""Commenting on posts."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from content_svc import events
from content_svc.clients import People, Viewer
from content_svc.comment_store import CommentStore
from content_svc.model import (
    Comment,
    CommentId,
    CommentIdTaken,
    CommentNotFound,
    DeletedComment,
    Page,
    Place,
    Post,
    PostId,
    PostNotFound,
    UserId,
)
from content_svc.paging import filled_page
from content_svc.posts import Posts
from content_svc.store import PostStore
from content_svc.texts import names_in
from svckit.errors import PermissionDenied
from svckit.ids import new_id
from svckit.mongo.changes import Change, Changes


class Comments:
    """Use cases about comments."""

    def __init__(
        self,
        changes: Changes,
        store: CommentStore,
        post_store: PostStore,
        posts: Posts,
        people: People,
        clock_ms: Callable[[], int],
        page_refills_max: int,
    ) -> None:
        self._changes = changes
        self._store = store
        self._post_store = post_store
        self._posts = posts
        self._people = people
        self._clock_ms = clock_ms
        self._page_refills_max = page_refills_max

    async def create(
        self, author_id: UserId, post_id: PostId, comment_id: CommentId | None, content: str
    ) -> Comment:
        """With the client's own id: the same id and body give the first comment, and make one."""
        post = await self._posts.get(post_id)
        comment = Comment(
            comment_id=comment_id or CommentId(new_id()),
            post_id=post_id,
            post_author_id=post.author_id,
            author_id=author_id,
            content=content,
            create_time_ms=self._clock_ms(),
        )
        if comment_id is not None and (first := await self._store.first_of(comment)) is not None:
            return first
        await self._posts.require_reachable(author_id, post.author_id)
        comment = replace(comment, mentions=await self._people.mentioned(names_in(content)))

        async def insert(change: Change) -> None:
            if not isinstance(await self._post_store.in_change(change, post_id), Post):
                raise PostNotFound(post_id=str(post_id))
            await self._store.insert(change, comment)
            change.emit(*events.comment_created(comment))

        try:
            await self._changes.run(insert)
        except CommentIdTaken:
            first = await self._store.first_of(comment)
            if first is None:
                raise
            return first
        return comment

    async def delete(
        self, caller_id: UserId, post_id: PostId, comment_id: CommentId, *, is_moderator: bool
    ) -> int:
        """By who wrote it, by whose post it is on, or by a moderator; returns when it was first."""
        await self._posts.get(post_id)
        now_ms = self._clock_ms()

        async def write(change: Change) -> int:
            comment = await self._store.in_change(change, comment_id)
            if comment is None or comment.post_id != post_id:
                raise CommentNotFound(comment_id=str(comment_id))
            may_delete = caller_id in {comment.author_id, comment.post_author_id} or is_moderator
            if not may_delete:
                raise PermissionDenied
            if isinstance(comment, DeletedComment):
                return comment.delete_time_ms
            await self._store.delete(change, comment, now_ms)
            change.emit(events.comment_deleted(comment, now_ms))
            return now_ms

        return await self._changes.run(write)

    async def of_post(
        self, viewer_id: UserId, post_id: PostId, before: Place, limit: int
    ) -> Page[Comment]:
        """Newest first, without people across a block."""
        await self._posts.get(post_id)
        viewer = Viewer(self._people, viewer_id)

        async def keep(comments: list[Comment]) -> list[Comment]:
            authors = [each.author_id for each in comments]
            hidden = await viewer.hidden(authors)
            return [each for each in comments if each.author_id not in hidden]

        fetch = partial(self._store.of_post, post_id)
        return await filled_page(fetch, keep, before, limit, self._page_refills_max)
