"""Posts that are published at once: one transaction, and nobody answers for another's post."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

import pytest

from content_svc.creations import Creations
from content_svc.model import Post, PostId, PostIdTaken, UserId
from svckit.errors import Unavailable
from svckit.events.outbox import OutboxRecord

AUTHOR_ID = UserId(uuid4())
BAD, TAKEN = "bad", "taken"
TOGETHER = 7


class Attempt:
    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.events: list[OutboxRecord] = []

    def emit(self, *events: OutboxRecord) -> None:
        self.events += events


class Database:
    """Stands for the transactions and the store: refuses bad posts, can be gone."""

    def __init__(self) -> None:
        self.committed: list[Attempt] = []
        self.attempts = 0
        self.is_gone = False

    async def run(self, work: Callable[[Attempt], Awaitable[None]]) -> None:
        self.attempts += 1
        attempt = Attempt()
        await asyncio.sleep(0)
        await work(attempt)
        self.committed.append(attempt)

    async def insert(self, attempt: Attempt, *posts: Post) -> None:
        if self.is_gone:
            raise Unavailable(dependency="mongodb")
        for post in posts:
            if post.content == TAKEN:
                raise PostIdTaken(post_id=str(post.post_id))
            if post.content == BAD:
                raise ValueError(post)
        attempt.posts += posts


def post(content: str = "good") -> Post:
    return Post(PostId(uuid4()), AUTHOR_ID, content, 1, 1)


def event_of(post: Post) -> OutboxRecord:
    return OutboxRecord(
        post.post_id, str(AUTHOR_ID), "PostCreated", b"", aggregate_type="post", aggregate_id=""
    )


async def create(database: Database, posts: Sequence[Post]) -> list[BaseException | None]:
    creations = Creations(database, database, TOGETHER)  # type: ignore[arg-type]
    return await asyncio.gather(
        *(creations.create(each, [event_of(each)]) for each in posts), return_exceptions=True
    )


async def test_posts_of_one_moment_share_a_transaction() -> None:
    database, posts = Database(), [post() for _ in range(TOGETHER)]
    assert await create(database, posts) == [None] * TOGETHER
    assert database.attempts == 1
    assert database.committed[0].posts == posts
    assert database.committed[0].events == [event_of(each) for each in posts]


async def test_a_transaction_is_bounded() -> None:
    database = Database()
    await create(database, [post() for _ in range(TOGETHER * 3)])
    assert max(len(attempt.posts) for attempt in database.committed) == TOGETHER


@pytest.mark.parametrize(("content", "error"), [(TAKEN, PostIdTaken), (BAD, ValueError)])
async def test_one_bad_post_fails_alone(content: str, error: type[Exception]) -> None:
    database, good = Database(), [post() for _ in range(5)]
    outcomes = await create(database, [*good[:3], post(content), *good[3:]])
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 3 + [error] + [type(None)] * 2
    assert [attempt.posts for attempt in database.committed] == [[each] for each in good]
    assert [attempt.events for attempt in database.committed] == [[event_of(each)] for each in good]


async def test_without_a_database_nothing_is_tried_one_by_one() -> None:
    database = Database()
    database.is_gone = True
    outcomes = await create(database, [post() for _ in range(5)])
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert database.attempts == 1
