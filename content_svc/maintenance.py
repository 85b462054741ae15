"""Removes what a deleted post or person leaves behind, in batches, beside the calls.

Any number of processes may run it: each step is bounded and does no harm when it is done twice or
cut off. A purge is over when nothing was left to remove after every transaction that was under way
at the deletion had to be over.
"""

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from content_svc import events, metrics
from content_svc.comment_store import CommentStore
from content_svc.like_store import LikeStore
from content_svc.model import (
    NEWEST,
    Comment,
    CommentId,
    Post,
    PostId,
    Purge,
    PurgeKind,
    UserId,
)
from content_svc.posts import Posts
from content_svc.purge_store import PurgeStore
from content_svc.store import Change, Changes, PostStore
from svckit.errors import DomainError

logger = logging.getLogger(__name__)

INTERVAL_S = 0.5
PURGES_AT_ONCE = 1_000
BATCH = 200
# Longer than a transaction may take, with its repetitions.
SETTLED_MS = 10_000


class Maintenance:
    """The task of the role `relay`, beside the relay itself."""

    def __init__(
        self,
        changes: Changes,
        posts: Posts,
        post_store: PostStore,
        comments: CommentStore,
        likes: LikeStore,
        purges: PurgeStore,
        clock_ms: Callable[[], int],
    ) -> None:
        self._changes = changes
        self._posts = posts
        self._post_store = post_store
        self._comments = comments
        self._likes = likes
        self._purges = purges
        self._clock_ms = clock_ms
        self._begun: set[Purge] = set()

    async def run(self) -> None:
        """For ever. A step that fails is logged and tried again at its next turn."""
        while True:
            try:
                await self.purge()
            except DomainError as error:
                logger.warning("purge_failed", extra={"error": repr(error)})
            await asyncio.sleep(INTERVAL_S)

    async def purge(self) -> None:
        """Works on the oldest purges: when they are new, and once more before they end."""
        purges = await self._purges.oldest(PURGES_AT_ONCE)
        metrics.PURGES_WAITING.set(len(purges))
        self._begun.intersection_update(purges)
        for purge in purges:
            is_settled = self._clock_ms() > purge.since_ms + SETTLED_MS
            if purge in self._begun and not is_settled:
                continue
            while removed := await self._remove_some(purge):
                metrics.PURGED.labels(purge.kind).inc(removed)
            self._begun.add(purge)
            if is_settled:
                await self._purges.done(purge)

    async def _remove_some(self, purge: Purge) -> int:
        if purge.kind is PurgeKind.POST:
            return await self._remove_of_post(PostId(purge.of_id))
        return await self._remove_of_user(UserId(purge.of_id))

    async def _remove_of_post(self, post_id: PostId) -> int:
        """Comments and likes go without events of their own; shares are posts and have theirs."""
        shares = await self._post_store.shares_of(post_id, BATCH)
        for share in shares:
            await self._delete_post(share.post_id)
        comments = await self._comments.purge_post(post_id, BATCH)
        return len(shares) + comments + await self._likes.purge_post(post_id, BATCH)

    async def _remove_of_user(self, user_id: UserId) -> int:
        posts = await self._post_store.by_author(user_id, NEWEST, BATCH)
        for post in posts:
            await self._delete_post(post.post_id)
        comments = await self._comments.made_by(user_id, BATCH)
        for comment in comments:
            await self._delete_comment(comment.comment_id)
        likes = await self._likes.made_by(user_id, BATCH)
        for like in likes:
            await self._take_back(like.post_id, user_id)
        return len(posts) + len(comments) + len(likes)

    async def _delete_post(self, post_id: UUID) -> None:
        async def write(change: Change) -> None:
            post = await self._post_store.changed(change, PostId(post_id))
            if isinstance(post, Post):
                await self._posts.remove(change, post, self._clock_ms())

        await self._changes.run(write)

    async def _delete_comment(self, comment_id: CommentId) -> None:
        async def write(change: Change) -> None:
            comment = await self._comments.changed(change, comment_id)
            if isinstance(comment, Comment):
                now_ms = self._clock_ms()
                await self._comments.delete(change, comment, now_ms)
                change.emit(events.comment_deleted(comment, now_ms))

        await self._changes.run(write)

    async def _take_back(self, post_id: PostId, user_id: UserId) -> None:
        async def write(change: Change) -> None:
            like = await self._likes.remove(change, post_id, user_id)
            if like is not None:
                change.emit(events.post_unliked(like, self._clock_ms()))

        await self._changes.run(write)
