"""Removes what a deleted post or person leaves behind, in batches, beside the calls.

Each purge that is due gets one bounded step a turn, and goes behind the others when there is more
to do, or when it failed; so none holds up another. Any number of processes may run it: a step does
no harm when it is done twice or cut off. A purge is over when nothing was left to remove after
every transaction that was under way at the deletion had to be over.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
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
from content_svc.store import PostStore
from svckit.errors import DomainError
from svckit.mongo.changes import Change, Changes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MaintenanceLimits:
    interval_s: float = 0.5
    purges_at_once: int = 1_000
    batch: int = 200
    failed_pause_ms: int = 10_000


class Maintenance:
    """The task of the role `relay`, beside the relay itself.

    `settled_ms` after a deletion nothing more is added to what was deleted.
    """

    def __init__(
        self,
        changes: Changes,
        posts: Posts,
        post_store: PostStore,
        comments: CommentStore,
        likes: LikeStore,
        purges: PurgeStore,
        clock_ms: Callable[[], int],
        settled_ms: int,
        limits: MaintenanceLimits,
    ) -> None:
        self._changes = changes
        self._posts = posts
        self._post_store = post_store
        self._comments = comments
        self._likes = likes
        self._purges = purges
        self._clock_ms = clock_ms
        self._settled_ms = settled_ms
        self._limits = limits

    async def run(self) -> None:
        """For ever. Without the database the turn is logged, and taken again later."""
        while True:
            try:
                found = await self.purge()
            except DomainError as error:
                logger.warning("purges_failed", extra={"error": repr(error)})
                found = 0
            if not found:
                await asyncio.sleep(self._limits.interval_s)

    async def purge(self) -> int:
        """One turn: a step of each purge that is due. Returns how many there were."""
        purges = await self._purges.due(self._clock_ms(), self._limits.purges_at_once)
        metrics.PURGES_WAITING.set(len(purges))
        for purge in purges:
            await self._step(purge)
        return len(purges)

    async def _step(self, purge: Purge) -> None:
        """Each is looked at when it is new, as long as there is something, and once it settled."""
        now_ms, settled_ms = self._clock_ms(), purge.since_ms + self._settled_ms
        try:
            removed = await self._remove_some(purge)
        except Exception:
            metrics.PURGES_FAILED.labels(purge.kind).inc()
            logger.exception("purge_failed", extra={"kind": purge.kind, "of_id": str(purge.of_id)})
            await self._purges.put_off(purge, now_ms + self._limits.failed_pause_ms)
            return
        metrics.PURGED.labels(purge.kind).inc(removed)
        if removed:
            await self._purges.put_off(purge, now_ms)
        elif now_ms <= settled_ms:
            await self._purges.put_off(purge, settled_ms + 1)
        else:
            await self._purges.done(purge)

    async def _remove_some(self, purge: Purge) -> int:
        if purge.kind is PurgeKind.POST:
            return await self._remove_of_post(PostId(purge.of_id))
        return await self._remove_of_user(UserId(purge.of_id))

    async def _remove_of_post(self, post_id: PostId) -> int:
        """Comments and likes go without events of their own; shares are posts and have theirs."""
        shares = await self._post_store.shares_of(post_id, self._limits.batch)
        for share in shares:
            await self._delete_post(share.post_id)
        comments = await self._comments.purge_post(post_id, self._limits.batch)
        return len(shares) + comments + await self._likes.purge_post(post_id, self._limits.batch)

    async def _remove_of_user(self, user_id: UserId) -> int:
        posts, _ = await self._post_store.by_author(user_id, NEWEST, self._limits.batch)
        for post in posts:
            await self._delete_post(post.post_id)
        comments = await self._comments.made_by(user_id, self._limits.batch)
        for comment in comments:
            await self._delete_comment(comment.comment_id)
        likes = await self._likes.made_by(user_id, self._limits.batch)
        for like in likes:
            await self._take_back(like.post_id, user_id)
        return len(posts) + len(comments) + len(likes)

    async def _delete_post(self, post_id: UUID) -> None:
        async def write(change: Change) -> None:
            post = await self._post_store.in_change(change, PostId(post_id))
            if isinstance(post, Post):
                await self._posts.remove(change, post, self._clock_ms())

        await self._changes.run(write)

    async def _delete_comment(self, comment_id: CommentId) -> None:
        async def write(change: Change) -> None:
            comment = await self._comments.in_change(change, comment_id)
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
