"""Every query of content_svc's stores finds what it wants by an index, and reads no more."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from inspect import getmembers, isfunction
from typing import TypeVar

import pytest

from content_svc import store
from content_svc.comment_store import CommentStore
from content_svc.like_store import LikeStore
from content_svc.model import (
    NEWEST,
    CommentId,
    PostId,
    Purge,
    PurgeKind,
    UserId,
)
from content_svc.purge_store import PurgeStore
from content_svc.store import PostStore
from tests.stacks.content_stores import (
    NOW_MS,
    Stores,
    comment_on,
    like_of,
    open_stores,
    place,
    post_of,
    share_of,
)

T = TypeVar("T")
STORES = (PostStore, CommentStore, LikeStore, PurgeStore)


@pytest.fixture
async def stores(mongodb_url: str) -> AsyncIterator[Stores]:
    async with open_stores(mongodb_url) as stores:
        yield stores


async def test_every_query_reads_by_an_index_no_more_than_it_gives(stores: Stores) -> None:
    authors = await _fill(stores)
    await stores.mongo.command({"profile": 2})
    asked = await _ask_everything(stores, authors)
    await stores.mongo.command({"profile": 0})

    expected = {
        f"{each.__name__}.{name}"
        for each in STORES
        for name, _ in getmembers(each, isfunction)
        if not name.startswith("_")
    }
    assert asked == expected
    profile = await stores.mongo.collection("system.profile").find(
        {"ns": {"$regex": r"\.(posts|comments|likes|purges|outbox)$"}}
    )
    assert len(profile) > 20
    for each in profile:
        query, plan = each["command"], each.get("planSummary", "")
        assert "COLLSCAN" not in plan, query
        assert not each.get("hasSortStage"), query
        given = max(each.get("nreturned", 0), each.get("ndeleted", 0), 1)
        is_reference = "shared_post_id" in query.get("projection", {})
        assert each.get("docsExamined", 0) <= (0 if is_reference else 3 * given), query


async def _fill(stores: Stores) -> list[UserId]:
    """Some thousands of posts, of which each query wants a few."""
    authors = [UserId(uuid.uuid4()) for _ in range(300)]
    posts = [
        post_of(author, f"common word{number} #all #tag{number}", NOW_MS + number)
        for number in range(10)
        for author in authors
    ]
    posts += [share_of(posts[0], author) for author in authors]
    await stores.mongo.collection(store.POSTS).insert(*map(store.document_of, posts))
    await asyncio.gather(*(stores.comment(comment_on(posts[0], author)) for author in authors))
    await asyncio.gather(*(stores.like(like_of(posts[0], author)) for author in authors))
    for number in range(50):
        purge = Purge(PurgeKind.POST, uuid.uuid4(), number)
        await stores.changes.run(lambda change, purge=purge: stores.purges.add(change, purge))  # type: ignore[misc]
    return authors


async def _ask_everything(stores: Stores, authors: Sequence[UserId]) -> set[str]:
    """Calls every method of every store; returns which."""
    asked = set()

    async def ask(method: Callable[..., Awaitable[T]], *args: object) -> T:
        asked.add(method.__qualname__)
        return await method(*args)

    async def change(method: Callable[..., Awaitable[T]], *args: object) -> T:
        return await stores.changes.run(lambda change: ask(method, change, *args))

    posts, comments, likes, purges = stores.posts, stores.comments, stores.likes, stores.purges
    found, _ = await ask(posts.by_author, authors[0], (NOW_MS, uuid.UUID(int=1 << 127)), 1)
    [first] = found or (await posts.by_author(authors[0], NEWEST, 100))[0][-1:]
    mine = (await posts.by_author(authors[0], NEWEST, 20))[0][-1]
    await ask(posts.by_tag, "all", place(first), 20)
    await ask(posts.by_tag, "tag3", NEWEST, 20)
    await ask(posts.search, ["word3", "all"], NEWEST, 20)
    await ask(posts.references, authors, NEWEST, 20)
    await ask(posts.references, authors, (NOW_MS + 5, uuid.UUID(int=0)), 20)
    await ask(posts.post, mine.post_id)
    await ask(posts.posts, [mine.post_id])
    await ask(posts.live_ids, [mine.post_id])
    await ask(posts.first_of, mine)
    await ask(posts.shared_by, authors[1], [mine.post_id, uuid.uuid4()])
    await ask(posts.shares_of, mine.post_id, 20)
    mine = replace(mine, post_id=PostId(uuid.uuid4()))
    await change(posts.insert, mine)
    await change(posts.in_change, mine.post_id)
    await change(posts.update, replace(mine, edited=True))
    await change(posts.delete, mine, NOW_MS)

    [comment] = await ask(comments.made_by, authors[7], 20)
    await ask(comments.of_post, comment.post_id, NEWEST, 20)
    await ask(comments.first_of, comment)
    await change(comments.insert, replace(comment, comment_id=CommentId(uuid.uuid4())))
    await change(comments.in_change, comment.comment_id)
    await change(comments.delete, comment, NOW_MS)
    await ask(comments.purge_post, comment.post_id, 20)

    [like] = await ask(likes.made_by, authors[7], 20)
    await ask(likes.of_post, like.post_id, NEWEST, 20)
    await ask(likes.liked_by, authors[7], [like.post_id])
    await change(likes.remove, like.post_id, like.user_id)
    await change(likes.add, like)
    await ask(likes.purge_post, like.post_id, 20)

    [purge] = await ask(purges.due, NOW_MS, 1)
    await ask(purges.put_off, purge, NOW_MS)
    await ask(purges.done, purge)
    await change(purges.add, purge)
    return asked
