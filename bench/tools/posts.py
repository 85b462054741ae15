"""A world of posts and shares in MongoDB: the same for the same size, in the store's own shape.

A few authors wrote most of them; one in ten shares a recent one.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from random import Random
from uuid import UUID

from content_svc.app import COMPONENT
from content_svc.model import Post, PostId, UserId
from content_svc.store import POSTS, document_of
from content_svc.texts import tags_in
from devstack.dataset import SEED, START, YEAR_S, Progress
from svckit.mongo.client import MongoSettings, open_mongo
from svckit.mongo.migrations import migrate
from svckit.mongo.outbox import COMPONENT as OUTBOX_COMPONENT

START_MS = int(START.timestamp()) * 1000
YEAR_MS = YEAR_S * 1000
WORDS = [f"word{number}" for number in range(2_000)]
WORDS_PER_POST = 8
RECENT_POSTS = 1_000
CHUNK_POSTS = 2_000
PROGRESS_POSTS = 20_000
INDEX_TIMEOUT_S = 300.0


async def load_posts(
    settings: MongoSettings, authors: Sequence[UUID], count: int, progress: Progress
) -> list[Post]:
    """Migrates an empty database and fills it; returns the latest posts."""
    await migrate(settings, [OUTBOX_COMPONENT, COMPONENT])
    latest: deque[Post] = deque(maxlen=RECENT_POSTS)
    documents = map(document_of, _posts(authors, count, latest))
    async with open_mongo(replace(settings, call_timeout_s=INDEX_TIMEOUT_S)) as mongo:
        indexes = (await mongo.command({"listIndexes": POSTS}))["cursor"]["firstBatch"]
        await mongo.command({"dropIndexes": POSTS, "index": "*"})  # far faster made at the end
        collection = mongo.collection(POSTS)
        async with asyncio.TaskGroup() as inserts:
            inserting: asyncio.Task[None] | None = None
            for start in range(0, count, CHUNK_POSTS):
                chunk = list(islice(documents, CHUNK_POSTS))
                if inserting is not None:
                    await inserting
                inserting = inserts.create_task(collection.insert(*chunk))
                await asyncio.sleep(0)  # it is under way while the next chunk is made
                if start % PROGRESS_POSTS == 0:
                    progress(POSTS, start, count)
        await mongo.command({"createIndexes": POSTS, "indexes": indexes})
    progress(POSTS, count, count)
    return list(latest)


def _posts(authors: Sequence[UUID], count: int, latest: deque[Post]) -> Iterator[Post]:
    """In the order of their times, over a year; `latest` has the last ones."""
    random = Random(SEED)
    for number in range(count):
        time_ms = START_MS + YEAR_MS * number // count
        author_id = UserId(authors[int(len(authors) * random.random() ** 2.5)])
        shared = random.choice(latest) if number % 10 == 9 else None
        if shared is not None and (shared.shared_post_id or shared.author_id == author_id):
            shared = None
        content = text(random)
        post = Post(
            post_id=PostId(_id(time_ms, random)),
            author_id=author_id,
            content=content,
            create_time_ms=time_ms,
            update_time_ms=time_ms,
            tags=tuple(tags_in(content)),
            shared_post_id=shared.post_id if shared else None,
            shared_author_id=shared.author_id if shared else None,
        )
        latest.append(post)
        yield post


def text(random: Random) -> str:
    return f"{' '.join(random.choices(WORDS, k=WORDS_PER_POST))} #tag{random.randrange(1000)}"


def _id(time_ms: int, random: Random) -> UUID:
    """As a UUIDv7 of that time."""
    return UUID(int=time_ms << 80 | 0x7 << 76 | 0b10 << 62 | random.getrandbits(62))
