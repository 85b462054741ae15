"""Home feeds as people see them: what is in them, in which order, and what must not be.

What is read cold (at first, when there is no window yet) and hot must be the same: `both` compares.
"""

import pytest
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.feed.v1 import feed_service_pb2 as pb
from newsfeed.user.v1 import user_service_pb2 as user_pb

from svckit.rpc.limits import MESSAGE_BYTES_MAX
from tests.polling import until
from tests.requests.large_posts import largest
from tests.stacks.feed_stack import Feed, FeedStack, Reader, circle


async def both(stack: FeedStack, viewer: Reader) -> Feed:
    """The feed as it is read cold and, then, hot."""
    await stack.settle()
    await stack.evict(viewer)
    cold = await viewer.feed()
    await stack.has_window(viewer)
    hot = await viewer.feed()
    assert hot == cold
    assert not hot.is_degraded
    return hot


async def hot(stack: FeedStack, viewer: Reader) -> list[str]:
    """The feed as the window has it that was there all the time."""
    await stack.settle()
    await stack.has_window(viewer)
    return (await viewer.feed()).post_ids


def ids(*posts: content_pb.Post) -> list[str]:
    return [post.post_id for post in posts]


async def test_a_feed_has_the_posts_of_the_followed_and_of_oneself(feed_stack: FeedStack) -> None:
    viewer, author = await circle(feed_stack, "viewer", "author")
    stranger = await feed_stack.sign_up("stranger")
    first = await author.publish("one")
    own = await viewer.publish("mine")
    await stranger.publish("not for you")
    share = await author.share(own)
    expected = ids(share, own, first)
    assert await hot(feed_stack, viewer) == expected
    assert (await both(feed_stack, viewer)).post_ids == expected


async def test_large_posts_fit_into_shorter_pages(feed_stack: FeedStack) -> None:
    viewer, author = await circle(feed_stack, "viewer", "author")
    shared = await viewer.publish(**largest())
    shares = [await author.share(shared, **largest()) for _ in range(30)]
    assert sum(share.ByteSize() + shared.ByteSize() for share in shares) > MESSAGE_BYTES_MAX
    assert len((await viewer.page(100)).items) > 10
    assert (await both(feed_stack, viewer)).post_ids == ids(*reversed(shares), shared)


async def test_an_item_has_all_that_is_shown(feed_stack: FeedStack) -> None:
    viewer, author = await circle(feed_stack, "viewer", "author")
    original = await viewer.publish("mine #tag")
    share = await author.share(original, content="look")
    request = user_pb.UpdateMeRequest(display_name="An Author", avatar_url="https://e.org/a.jpg")
    await author.person.users.UpdateMe(request)
    item = (await both(feed_stack, viewer)).items[0]
    assert item.post == share
    assert item.shared_post == original
    assert item.author == pb.UserCard(
        user_id=author.user_id,
        username=author.person.user.username,
        display_name="An Author",
        avatar_url="https://e.org/a.jpg",
    )
    assert item.shared_author.user_id == viewer.user_id
    assert item.HasField("engagement")
    assert item.HasField("viewer")
    own = (await viewer.feed()).items[1]
    assert not own.HasField("shared_post")
    assert not own.HasField("shared_author")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_pages_of_any_size_are_the_feed_cut_into_pieces(
    feed_stack: FeedStack, size: int
) -> None:
    viewer, *authors = await circle(feed_stack, "viewer", "one", "two")
    posts = [await authors[number % 2].publish(str(number)) for number in range(7)]
    await feed_stack.settle()
    assert (await viewer.feed(size)).post_ids == ids(*posts[::-1])
    page = await viewer.page(size)
    assert len(page.items) == min(size, 7)
    assert bool(page.next_page_token) == (size < 7)


async def test_new_posts_do_not_shift_older_pages(feed_stack: FeedStack) -> None:
    viewer, author = await circle(feed_stack, "viewer", "author")
    posts = [await author.publish(str(number)) for number in range(4)]
    await feed_stack.settle()
    first = await viewer.page(2)
    await author.publish("new")
    await feed_stack.settle()
    second = await viewer.page(2, first.next_page_token)
    shown = [item.post.post_id for item in (*first.items, *second.items)]
    assert shown == ids(*posts[::-1])


async def test_an_empty_feed_is_an_empty_last_page(feed_stack: FeedStack) -> None:
    viewer = await feed_stack.sign_up()
    for _ in range(2):
        page = await viewer.page()
        assert page == pb.ListHomeFeedResponse()
        await feed_stack.has_window(viewer)


async def test_follow_and_unfollow_bring_and_take_older_posts(feed_stack: FeedStack) -> None:
    viewer, _ = await circle(feed_stack, "viewer", "friend")
    author = await feed_stack.sign_up("author")
    post = await author.publish("before anybody followed")
    await viewer.act("Follow", author)
    assert await hot(feed_stack, viewer) == ids(post)
    await viewer.act("Unfollow", author)
    assert await hot(feed_stack, viewer) == []


async def test_what_is_deleted_vanishes_with_its_shares_and_leaves_no_hole(
    feed_stack: FeedStack,
) -> None:
    viewer, author, sharer = await circle(feed_stack, "viewer", "author", "sharer")
    posts = [await author.publish(str(number)) for number in range(4)]
    await sharer.share(posts[2])
    await feed_stack.settle()
    await author.delete(posts[2])
    feed_stack.forget()
    page = await viewer.page(2)
    assert [item.post.post_id for item in page.items] == ids(posts[3], posts[1])
    assert page.next_page_token
    assert await hot(feed_stack, viewer) == ids(posts[3], posts[1], posts[0])

    async def is_forgotten() -> bool:
        return (await feed_stack.info(viewer)).entry_count == 3

    await until(is_forgotten)


async def test_an_edit_shows(feed_stack: FeedStack) -> None:
    viewer, author = await circle(feed_stack, "viewer", "author")
    post = await author.publish("wrogn")
    await hot(feed_stack, viewer)
    await author.edit(post, content="right")
    await feed_stack.settle()
    assert [item.post.content for item in (await viewer.feed()).items] == ["right"]


@pytest.mark.parametrize("blocks_first", [True, False])
async def test_a_block_acts_at_once_also_on_shares(
    feed_stack: FeedStack, *, blocks_first: bool
) -> None:
    viewer, author, sharer = await circle(feed_stack, "viewer", "author", "sharer")
    post = await author.publish("soon out of sight")
    shares = [await sharer.share(post), await viewer.share(post)]
    other = await sharer.publish("stays")
    own = await viewer.publish("stays too")
    assert await hot(feed_stack, viewer) == ids(own, other, *shares[::-1], post)
    blocker, blocked = (viewer, author) if blocks_first else (author, viewer)
    await blocker.act("Block", blocked)
    assert (await viewer.feed()).post_ids == ids(own, other)
    assert (await both(feed_stack, viewer)).post_ids == ids(own, other)
    await blocker.act("Unblock", blocked)
    assert (await both(feed_stack, viewer)).post_ids == ids(own, other, *shares[::-1])


async def test_muting_hides_and_unmuting_brings_back(feed_stack: FeedStack) -> None:
    viewer, author = await circle(feed_stack, "viewer", "author")
    post = await author.publish("chatter")
    assert await hot(feed_stack, viewer) == ids(post)
    await viewer.act("Mute", author)
    assert (await viewer.feed()).post_ids == []
    assert (await both(feed_stack, viewer)).post_ids == []
    await viewer.act("Unmute", author)
    assert (await viewer.feed()).post_ids == ids(post)


async def test_a_page_is_filled_over_many_that_are_hidden(feed_stack: FeedStack) -> None:
    viewer, author, noisy = await circle(feed_stack, "viewer", "author", "noisy")
    posts = [await author.publish(str(number)) for number in range(2)]
    for number in range(30):
        await noisy.publish(str(number))
    await viewer.act("Mute", noisy)
    await feed_stack.settle()
    page = await viewer.page(2)
    assert [item.post.post_id for item in page.items] == ids(*posts[::-1])
    assert not page.next_page_token


async def test_deleted_people_take_their_posts_with_them(feed_stack: FeedStack) -> None:
    viewer, author, sharer = await circle(feed_stack, "viewer", "author", "sharer")
    post = await author.publish("last words")
    await sharer.share(post)
    own = await viewer.publish("still here")
    await feed_stack.settle()
    await author.person.delete()
    assert await hot(feed_stack, viewer) == ids(own)
    assert (await both(feed_stack, viewer)).post_ids == ids(own)
