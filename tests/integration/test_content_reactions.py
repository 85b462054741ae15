"""Comments, likes and purges on a real MongoDB, and what the schema refuses."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pymongo.errors import OperationFailure

from content_svc.model import (
    NEWEST,
    Comment,
    CommentIdTaken,
    DeletedComment,
    Like,
    Mention,
    Place,
    Purge,
    PurgeKind,
    UserId,
)
from svckit.mongo.changes import Change
from svckit.mongo.client import Document
from svckit.mongo.outbox import OUTBOX
from tests.stacks.content_stores import (
    ADA,
    BOB,
    EVE,
    NOW_MS,
    Stores,
    all_pages,
    comment_on,
    event,
    like_of,
    open_stores,
    post_of,
)


@pytest.fixture
async def stores(mongodb_url: str) -> AsyncIterator[Stores]:
    async with open_stores(mongodb_url) as stores:
        yield stores


async def test_comments(stores: Stores) -> None:
    post, other = post_of(), post_of()
    comments = [comment_on(post, EVE, NOW_MS + number // 2) for number in range(9)]
    comments[0] = replace(comments[0], mentions=(Mention(ADA, "ada"),))
    theirs = comment_on(other, BOB)
    await stores.comment(*comments, theirs)

    def by_time(each: Comment) -> Place:
        return each.create_time_ms, each.comment_id

    for size in (2, 100):
        found = await all_pages(
            lambda at, n: stores.comments.of_post(post.post_id, at, n), by_time, size
        )
        assert found == sorted(comments, key=by_time, reverse=True)
    first = comments[0]
    with pytest.raises(CommentIdTaken):
        await stores.comment(replace(first, content="another"))
    assert await stores.comments.first_of(first) == first
    assert await stores.comments.first_of(replace(first, content="another")) is None
    assert await stores.comments.first_of(replace(first, post_id=other.post_id)) is None
    assert await stores.comments.first_of(replace(first, author_id=BOB)) is None

    gone = await stores.changes.run(lambda change: stores.comments.delete(change, first, NOW_MS))
    assert gone == DeletedComment(first.comment_id, post.post_id, ADA, EVE, NOW_MS)
    seen = await stores.changes.run(
        lambda change: stores.comments.in_change(change, first.comment_id)
    )
    assert seen == gone
    assert len(await stores.comments.made_by(EVE, 100)) == 8
    with pytest.raises(CommentIdTaken):
        await stores.comment(first)

    removed = [await stores.comments.purge_post(post.post_id, 5) for _ in range(3)]
    assert removed == [5, 4, 0]
    assert await stores.comments.made_by(EVE, 100) == []
    assert await stores.comments.made_by(BOB, 100) == [theirs]


async def test_likes_and_unlikes_at_once_leave_as_many_as_their_events_say(
    stores: Stores,
) -> None:
    post, dice = post_of(), random.Random(4)
    people = [UserId(uuid.uuid4()) for _ in range(40)]

    async def like(user_id: UserId) -> None:
        async def write(change: Change) -> None:
            if await stores.likes.add(change, like_of(post, user_id)):
                change.emit(event("like"))

        await stores.changes.run(write)

    async def unlike(user_id: UserId) -> None:
        async def write(change: Change) -> None:
            if await stores.likes.remove(change, post.post_id, user_id):
                change.emit(event("unlike"))

        await stores.changes.run(write)

    do = [dice.choice((like, like, unlike)) for _ in range(200)]
    await asyncio.gather(*(each(dice.choice(people)) for each in do))

    lanes = [each["lane"] for each in await stores.mongo.collection(OUTBOX).find({})]
    likes, _ = await stores.likes.of_post(post.post_id, NEWEST, 500)
    assert len(likes) == len({each.user_id for each in likes})
    assert len(likes) == lanes.count("like") - lanes.count("unlike")


async def test_likes(stores: Stores) -> None:
    posts = [post_of() for _ in range(3)]
    people = [UserId(uuid.uuid4()) for _ in range(9)]
    likes = [like_of(posts[0], person, NOW_MS + n // 2) for n, person in enumerate(people)]
    assert [await stores.like(each) for each in likes] == [True] * 9
    assert not await stores.like(replace(likes[0], create_time_ms=1))
    assert await stores.like(like_of(posts[1], people[0]))

    def by_time(each: Like) -> Place:
        return each.create_time_ms, each.user_id

    for size in (2, 100):
        found = await all_pages(
            lambda at, n: stores.likes.of_post(posts[0].post_id, at, n), by_time, size
        )
        assert found == sorted(likes, key=by_time, reverse=True)
    asked = [post.post_id for post in posts]
    assert await stores.likes.liked_by(people[0], asked) == set(asked[:2])
    assert await stores.likes.liked_by(EVE, asked) == set()
    assert await stores.unlike(likes[1]) == likes[1]
    assert await stores.unlike(likes[1]) is None
    assert len(await stores.likes.made_by(people[0], 10)) == 2
    assert [await stores.likes.purge_post(asked[0], 5) for _ in range(3)] == [5, 3, 0]
    assert await stores.likes.made_by(people[0], 10) == [like_of(posts[1], people[0])]


async def test_purges_are_kept_until_they_are_done(stores: Stores) -> None:
    def by_time(each: Purge) -> int:
        return each.since_ms

    late, early = (
        Purge(kind, uuid.uuid4(), ms) for kind, ms in zip(PurgeKind, (2, 1), strict=True)
    )
    for purge in (late, early, replace(early, since_ms=3)):
        await stores.changes.run(lambda change, purge=purge: stores.purges.add(change, purge))  # type: ignore[misc]
    assert sorted(await stores.purges.due(0, 10), key=by_time) == [early, late]
    await stores.purges.done(early)
    assert await stores.purges.due(0, 10) == [late]


async def test_purges_are_due_new_ones_first_then_in_turn(stores: Stores) -> None:
    first, second, new = (Purge(PurgeKind.USER, uuid.uuid4(), 1) for _ in range(3))
    for purge in (second, first, new):
        await stores.changes.run(lambda change, purge=purge: stores.purges.add(change, purge))  # type: ignore[misc]
    await stores.purges.put_off(second, 1_000)
    await stores.purges.put_off(first, 10)
    assert await stores.purges.due(9, 10) == [new]
    assert await stores.purges.due(10, 10) == [new, first]
    assert await stores.purges.due(1_000, 10) == [new, first, second]
    assert await stores.purges.due(1_000, 2) == [new, first]


@pytest.mark.parametrize(
    ("collection", "change"),
    [
        ("posts", {"$set": {"owner": 1}}),
        ("posts", {"$set": {"content": {"$literal": 1}}}),
        ("posts", {"$set": {"delete_time_ms": 1}}),
        ("posts", {"$unset": {"place": ""}}),
        ("comments", {"$set": {"delete_time_ms": 1}}),
        ("comments", {"$unset": {"place": ""}}),
        ("likes", {"$unset": {"user_id": ""}}),
    ],
)
async def test_schema_refuses_what_the_stores_do_not_write(
    stores: Stores, collection: str, change: Document
) -> None:
    post = post_of()
    await stores.add(post)
    await stores.comment(comment_on(post, BOB))
    await stores.like(like_of(post, BOB))
    with pytest.raises(OperationFailure, match="failed validation"):
        await stores.mongo.collection(collection).update({}, change)
