"""A feed of 5,000 posts to its very end: all of them, once, in order, from all that it is made of.

The posts are in MongoDB before anybody reads, some with the same time, and none was delivered.
"""

import statistics
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from content_svc.model import Post, PostId, UserId
from content_svc.store import POSTS, document_of
from devstack import valkey
from svckit.ids import new_id
from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_events import user_id
from tests.stacks.feed_stack import FeedStack, Reader, open_feed_stack
from tests.stores import throwaway
from tests.troubles.feed_load import patient

AUTHORS = 8
POSTS_TOTAL = 5_000
POSTS_PER_MS = 3
PAGE_ITEMS = 25
PAGES = POSTS_TOTAL // PAGE_ITEMS  # 200
MEASURED = 15
PULLED_FROM = 2  # followers


@pytest.fixture(scope="module")
async def stack(
    redis_url: str, content_stack: ContentStack, keys_folder: Path
) -> AsyncIterator[FeedStack]:
    async with (
        throwaway(valkey.STORE) as feed_redis_url,
        open_feed_stack(
            feed_redis_url,
            redis_url,
            content_stack,
            keys_folder,
            PUSH_FOLLOWERS_MAX=str(PULLED_FROM),
        ) as stack,
    ):
        yield stack


async def test_all_once_in_order_and_far_down_as_fast_as_on_top(stack: FeedStack) -> None:
    viewer, other = await stack.sign_up("viewer"), await stack.sign_up("other")
    authors = [await stack.sign_up("author") for _ in range(AUTHORS)]
    expected = await insert_posts(stack, authors)
    for author in authors:
        await viewer.act("Follow", author)
    await other.act("Follow", authors[0])  # who is pulled from now on
    await stack.settle()
    tokens = [""]
    found = []
    for number in range(PAGES):
        page = await patient(viewer, PAGE_ITEMS, tokens[-1])
        found += [item.post.post_id for item in page.items]
        tokens.append(page.next_page_token)
        if number == 0:
            await stack.has_window(viewer)
            window = await stack.app.windows.info(user_id(viewer))
            assert window.floor is not None
            assert window.pull_author_count == 1
        if number % 20 == 1:
            await authors[number // 20 % AUTHORS].publish("newer than what is being read")
    assert found == expected
    assert not tokens.pop()

    first_s, last_s = [], []
    for _ in range(MEASURED):
        await stack.app.windows.evict(user_id(viewer))
        first_s.append(await seconds(viewer, ""))
        await stack.has_window(viewer)
        last_s.append(await seconds(viewer, tokens[-1]))
    ratio = statistics.median(last_s) / statistics.median(first_s)
    print(f"page {PAGES} takes {ratio:.2f} x the first cold one")  # noqa: T201
    assert ratio <= 3


async def insert_posts(stack: FeedStack, authors: Sequence[Reader]) -> list[str]:
    """Straight into the store; returns their ids as they stand in a feed."""
    random, now_ms = Random(POSTS_TOTAL), time.time_ns() // 1_000_000
    posts = []
    for number in range(POSTS_TOTAL):
        time_ms = now_ms - 1000 - number // POSTS_PER_MS
        posts.append(
            Post(
                post_id=PostId(new_id()),
                author_id=UserId(UUID(random.choice(authors).user_id)),
                content=f"{number}",
                create_time_ms=time_ms,
                update_time_ms=time_ms,
            )
        )
    await stack.contents.app.mongo.collection(POSTS).insert(*map(document_of, posts))
    places = sorted(((post.create_time_ms, str(post.post_id)) for post in posts), reverse=True)
    return [post_id for _, post_id in places]


async def seconds(viewer: Reader, token: str) -> float:
    started_s = time.perf_counter()
    page = await patient(viewer, PAGE_ITEMS, token)
    took_s = time.perf_counter() - started_s
    assert len(page.items) == PAGE_ITEMS
    return took_s
