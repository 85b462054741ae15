"""content_svc's stores on a database of their own, and what tests put into them."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import content_svc
from content_svc.comment_store import CommentStore
from content_svc.like_store import LikeStore
from content_svc.model import (
    NEWEST,
    Comment,
    CommentId,
    DeletedPost,
    Like,
    Page,
    Place,
    Post,
    PostId,
    UserId,
)
from content_svc.purge_store import PurgeStore
from content_svc.store import PostStore, StoreLimits
from content_svc.texts import all_tags
from svckit.events.outbox import OutboxRecord
from svckit.migration_files import Component
from svckit.mongo.changes import Changes
from svckit.mongo.client import Mongo, MongoSettings, open_mongo
from svckit.mongo.migrations import migrate
from svckit.mongo.outbox import COMPONENT as OUTBOX_COMPONENT
from svckit.mongo.outbox import append

COMPONENT = Component("content_svc", Path(content_svc.__file__).parent / "migrations")
ADA, BOB, EVE = (UserId(uuid.UUID(int=number)) for number in (1, 2, 3))
NOW_MS = 1_900_000_000_000

T = TypeVar("T")


@dataclass
class Stores:
    mongo: Mongo
    changes: Changes
    posts: PostStore
    comments: CommentStore
    likes: LikeStore
    purges: PurgeStore
    commits: list[None]

    async def add(self, *posts: Post) -> None:
        for post in posts:
            await self.changes.run(lambda change, post=post: self.posts.insert(change, post))  # type: ignore[misc]

    async def delete(self, post: Post) -> DeletedPost:
        return await self.changes.run(lambda change: self.posts.delete(change, post, NOW_MS))

    async def comment(self, *comments: Comment) -> None:
        for each in comments:
            await self.changes.run(lambda change, each=each: self.comments.insert(change, each))  # type: ignore[misc]

    async def like(self, like: Like) -> bool:
        return await self.changes.run(lambda change: self.likes.add(change, like))

    async def unlike(self, like: Like) -> Like | None:
        return await self.changes.run(
            lambda change: self.likes.remove(change, like.post_id, like.user_id)
        )


@asynccontextmanager
async def open_stores(mongodb_url: str) -> AsyncIterator[Stores]:
    """On a database of their own, which is gone when the block ends."""
    settings = MongoSettings(
        mongodb_url, f"test_{uuid.uuid4().hex}", call_timeout_s=10.0, transaction_timeout_s=20.0
    )
    await migrate(settings, [OUTBOX_COMPONENT, COMPONENT])
    commits: list[None] = []
    async with open_mongo(settings) as mongo:
        yield Stores(
            mongo,
            Changes(mongo, append, lambda: commits.append(None)),
            PostStore(mongo, StoreLimits()),
            CommentStore(mongo),
            LikeStore(mongo),
            PurgeStore(mongo),
            commits,
        )
        await mongo.command({"dropDatabase": 1})


def post_of(author_id: UserId = ADA, content: str = "hello", time_ms: int = NOW_MS) -> Post:
    tags = all_tags([], content)
    return Post(PostId(uuid.uuid4()), author_id, content, time_ms, time_ms, tags=tags)


def share_of(post: Post, author_id: UserId) -> Post:
    return replace(post_of(author_id), shared_post_id=post.post_id, shared_author_id=post.author_id)


def comment_on(post: Post, author_id: UserId, time_ms: int = NOW_MS) -> Comment:
    comment_id = CommentId(uuid.uuid4())
    return Comment(comment_id, post.post_id, post.author_id, author_id, "well said", time_ms)


def like_of(post: Post, user_id: UserId, time_ms: int = NOW_MS) -> Like:
    return Like(post.post_id, post.author_id, user_id, time_ms)


def event(lane: str = "lane") -> OutboxRecord:
    return OutboxRecord(
        uuid.uuid4(), lane, "PostCreated", b"payload", aggregate_type="post", aggregate_id="1"
    )


def place(post: Post) -> Place:
    return post.create_time_ms, post.post_id


def newest_first(posts: Sequence[Post]) -> list[Post]:
    return sorted(posts, key=place, reverse=True)


async def all_pages(
    page: Callable[[Place, int], Awaitable[Page[T]]], key: Callable[[T], Place], size: int
) -> list[T]:
    found: list[T] = []
    before: Place | None = NEWEST
    while before is not None:
        more, before = await page(before, size)
        assert before in (None, *map(key, more[-1:]))
        found += more
    return found
