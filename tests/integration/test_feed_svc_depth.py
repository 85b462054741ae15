"""Feeds that reach far below their windows, and authors who are not in windows.

Windows hold four posts here, and from two followers on an author is pulled.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from newsfeed.content.v1 import content_service_pb2 as content_pb

from devstack import valkey
from feed_svc.model import UserId
from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_stack import FeedStack, Reader, open_feed_stack
from tests.stores import throwaway

ENTRIES_MAX = 4
SMALL: Mapping[str, Any] = {"WINDOW_ENTRIES_MAX": str(ENTRIES_MAX), "PUSH_FOLLOWERS_MAX": "2"}
SIZES = (1, 2, 3, 4, 5, 100)


@pytest.fixture(scope="module")
async def stack(
    redis_url: str, content_stack: ContentStack, keys_folder: Path
) -> AsyncIterator[FeedStack]:
    async with (
        throwaway(valkey.STORE) as feed_redis_url,
        open_feed_stack(feed_redis_url, redis_url, content_stack, keys_folder, **SMALL) as opened,
    ):
        yield opened


async def ready(stack: FeedStack, viewer: Reader) -> None:
    await stack.settle()
    await viewer.page()
    await stack.has_window(viewer)


async def made_pulled(stack: FeedStack, author: Reader) -> None:
    for _ in range(2):
        await (await stack.sign_up("fan")).act("Follow", author)
    await stack.settle()


async def check_pages(viewer: Reader, posts: Sequence[content_pb.Post]) -> None:
    """In pages of any size it is these posts, newest first."""
    expected = [post.post_id for post in reversed(posts)]
    for size in SIZES:
        feed = await viewer.feed(size)
        assert feed.post_ids == expected, size
        assert not feed.is_degraded


async def test_a_feed_goes_on_below_its_window(stack: FeedStack) -> None:
    viewer, author = await stack.sign_up("viewer"), await stack.sign_up("author")
    await viewer.act("Follow", author)
    posts = [await author.publish(str(number)) for number in range(3)]
    await ready(stack, viewer)
    assert (await stack.info(viewer)).floor is None
    await check_pages(viewer, posts)
    posts += [await author.publish(str(number)) for number in range(3, 11)]
    await stack.settle()
    info = await stack.info(viewer)
    assert info.entry_count == ENTRIES_MAX
    assert info.floor is not None
    await check_pages(viewer, posts)


async def test_pulled_authors_are_merged_with_the_window(stack: FeedStack) -> None:
    viewer, author, star, other_star = [
        await stack.sign_up(name) for name in ("viewer", "author", "star", "other_star")
    ]
    posts = [await star.publish("old")]
    for each in (star, other_star):
        await made_pulled(stack, each)
    for each in (author, star, other_star):
        await viewer.act("Follow", each)
    await ready(stack, viewer)
    assert (await stack.info(viewer)).pull_author_count == 2
    await check_pages(viewer, posts)
    for number in range(9):
        by = (author, star, other_star)[number % 3]
        posts.append(await by.publish(str(number)))
    await stack.settle()
    assert (await stack.info(viewer)).entry_count <= ENTRIES_MAX
    await check_pages(viewer, posts)
    await stack.evict(viewer)
    await check_pages(viewer, posts)


async def test_recents_that_are_gone_are_read_from_content_svc(stack: FeedStack) -> None:
    viewer, star = await stack.sign_up("viewer"), await stack.sign_up("star")
    await made_pulled(stack, star)
    await viewer.act("Follow", star)
    posts = [await star.publish(str(number)) for number in range(6)]
    await ready(stack, viewer)
    redis = stack.app.redis
    await redis.run([("DEL", *redis.keys.recents(UserId(star.id_bytes)))])
    stack.forget()
    await check_pages(viewer, posts)


async def test_becoming_pulled_and_pushed_again_changes_nothing_in_a_feed(
    stack: FeedStack,
) -> None:
    viewer, author = await stack.sign_up("viewer"), await stack.sign_up("author")
    await viewer.act("Follow", author)
    posts = [await author.publish("while pushed")]
    await ready(stack, viewer)
    fan = await stack.sign_up("fan")
    await fan.act("Follow", author)
    await stack.settle()
    assert (await stack.info(viewer)).pull_author_count == 1
    posts += [await author.publish(f"while pulled {number}") for number in range(5)]
    await stack.settle()
    await check_pages(viewer, posts)
    await fan.act("Unfollow", author)
    await stack.settle()
    assert (await stack.info(viewer)).pull_author_count == 0
    await check_pages(viewer, posts)
