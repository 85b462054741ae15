"""One reads one's own writes: the next page has them, though nothing is delivered here at all."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.feed.v1 import feed_service_pb2 as pb

from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_stack import FeedStack, Reader, open_feed_stack


@pytest.fixture(scope="module")
async def stack(
    redis_url: str, content_stack: ContentStack, keys_folder: Path
) -> AsyncIterator[FeedStack]:
    opened = open_feed_stack(redis_url, redis_url, content_stack, keys_folder, has_traffic=False)
    async with opened as feed_stack:
        yield feed_stack


async def circle(stack: FeedStack) -> tuple[Reader, Reader, content_pb.Post]:
    """A viewer with a window that holds an author's post."""
    viewer, author = await stack.sign_up("viewer"), await stack.sign_up("author")
    await viewer.act("Follow", author)
    post = await author.publish("older")
    assert shown(await viewer.page()) == ids(post)
    await stack.has_window(viewer)
    return viewer, author, post


def shown(page: pb.ListHomeFeedResponse) -> list[str]:
    return [item.post.post_id for item in page.items]


def ids(*posts: content_pb.Post) -> list[str]:
    return [post.post_id for post in posts]


async def test_the_first_page_has_the_post_in_its_place(stack: FeedStack) -> None:
    viewer, _, older = await circle(stack)
    own = await viewer.publish("just now")
    assert shown(await viewer.page()) == ids(older)
    page = await viewer.page(after_post_id=own.post_id)
    assert shown(page) == ids(own, older)
    assert not page.next_page_token


async def test_it_pushes_the_last_one_to_the_next_page(stack: FeedStack) -> None:
    viewer, _, older = await circle(stack)
    own = await viewer.publish("just now")
    page = await viewer.page(1, after_post_id=own.post_id)
    assert shown(page) == ids(own)
    rest = await viewer.page(1, page.next_page_token, after_post_id=own.post_id)
    assert shown(rest) == ids(older)
    assert not rest.next_page_token


async def test_a_page_that_is_full_above_its_place_does_not_have_it(stack: FeedStack) -> None:
    viewer, author, older = await circle(stack)
    own = await viewer.publish("not so new any more")
    await stack.evict(viewer)
    newer = await author.publish("newer")
    assert shown(await viewer.page()) == ids(newer, own, older)
    await stack.has_window(viewer)
    page = await viewer.page(1, after_post_id=own.post_id)
    assert shown(page) == ids(newer)
    rest = await viewer.page(2, page.next_page_token)
    assert shown(rest) == ids(own, older)


async def test_it_is_as_it_was_written_last(stack: FeedStack) -> None:
    viewer, _, older = await circle(stack)
    own = await viewer.publish("wrogn")
    await viewer.page(after_post_id=own.post_id)
    await viewer.edit(own, content="right")
    page = await viewer.page(after_post_id=own.post_id)
    assert shown(page) == ids(own, older)
    assert page.items[0].post.content == "right"


async def test_a_post_that_is_deleted_has_no_effect(stack: FeedStack) -> None:
    viewer, _, older = await circle(stack)
    own = await viewer.publish("regretted")
    await viewer.page(after_post_id=own.post_id)
    await viewer.delete(own)
    assert shown(await viewer.page(after_post_id=own.post_id)) == ids(older)


async def test_a_share_shows_what_it_shares_and_not_what_is_hidden(stack: FeedStack) -> None:
    viewer, author, older = await circle(stack)
    share = await viewer.share(older)
    page = await viewer.page(after_post_id=share.post_id)
    assert shown(page) == ids(share, older)
    assert page.items[0].shared_post == older
    await viewer.act("Mute", author)
    assert shown(await viewer.page(after_post_id=share.post_id)) == []


async def test_what_is_not_ones_own_post_has_no_effect(stack: FeedStack) -> None:
    viewer, author, older = await circle(stack)
    stranger = await stack.sign_up("stranger")
    for post_id in (
        (await stranger.publish("of a stranger")).post_id,
        (await author.publish("of somebody followed")).post_id,
        str(uuid.uuid4()),
    ):
        assert shown(await viewer.page(after_post_id=post_id)) == ids(older)


async def test_an_id_asked_for_before_it_exists_is_found_once_it_does(stack: FeedStack) -> None:
    viewer, _, older = await circle(stack)
    post_id = str(uuid.uuid4())
    assert shown(await viewer.page(after_post_id=post_id)) == ids(older)
    own = await viewer.publish("by my own id", post_id=post_id)
    assert shown(await viewer.page(after_post_id=post_id)) == ids(own, older)
