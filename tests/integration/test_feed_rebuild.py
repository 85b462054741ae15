"""Windows are built from the truth while the world goes on, and end up in line with it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import pytest

from feed_svc.clients import Contents
from feed_svc.model import Place, Tier, UserId, WindowState
from svckit.errors import Unavailable
from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_events import (
    PULLED_FROM,
    FeedEventsStack,
    open_feed_events,
    post_id,
    user_id,
)


class ContentsMeanwhile(Contents):
    """Once it has read the truth for a rebuild, something happens before that is used."""

    def __init__(self, contents: Contents, happen: Callable[[], Awaitable[object]]) -> None:
        self.__dict__ |= contents.__dict__
        self.happen: Callable[[], Awaitable[object]] | None = happen
        self.reads = 0

    async def by_authors(
        self, author_ids: Iterable[UserId], before: Place, limit: int
    ) -> list[Place]:
        places = await super().by_authors(author_ids, before, limit)
        happen, self.happen = self.happen, None
        if happen is not None:
            await happen()
        self.reads += 1
        return places


async def test_who_comes_back_finds_everything(feeds: FeedEventsStack) -> None:
    author, other, fan = [await feeds.sign_up(is_active=False) for _ in range(3)]
    await feeds.follow(author, fan)
    await feeds.follow(other, fan)
    for each in (author, other, fan, author):
        await each.publish("hello")
    await feeds.settle()
    await feeds.build(fan)
    await feeds.assert_exact(fan)
    assert len(await feeds.ids_in_window(fan)) == 4


async def test_more_than_fits(feed_redis_url: str, content_stack: ContentStack) -> None:
    async with open_feed_events(feed_redis_url, content_stack, window_entries_max=3) as feeds:
        author = await feeds.sign_up(is_active=False)
        posts = [await author.publish(f"{number}") for number in range(4)]
        await feeds.build(author)
        ids, floor = await feeds.hot(author)
        assert ids == [post_id(each) for each in reversed(posts[1:])]
        assert floor is not None
        await author.delete(posts[0])
        await author.delete(posts[1])
        await feeds.build(author)
        assert await feeds.hot(author) == ([post_id(posts[3]), post_id(posts[2])], None)


async def test_pulled_authors_are_marked_and_not_copied(feeds: FeedEventsStack) -> None:
    author = await feeds.sign_up("author")
    fans = [await feeds.sign_up(is_active=False) for _ in range(PULLED_FROM)]
    await feeds.follow(author, *fans)
    post = await author.publish("hello")
    await feeds.settle()
    await feeds.build(author, *fans)
    assert await feeds.ids_in_window(author) == [post_id(post)]
    assert await feeds.ids_in_window(fans[0]) == []
    assert await feeds.pulled_by(fans[0]) == {user_id(author)}
    await feeds.assert_exact(author, *fans)


async def test_nobody_and_who_was_deleted_have_no_window(feeds: FeedEventsStack) -> None:
    viewer = await feeds.sign_up()
    await viewer.person.delete()
    assert await feeds.rebuilds.rebuild(user_id(viewer)) is WindowState.MISSING
    assert await feeds.state(viewer) is WindowState.MISSING
    assert await feeds.rebuilds.rebuild(UserId(b"nobody in here !")) is WindowState.MISSING


async def test_a_graph_that_was_read_is_kept(feeds: FeedEventsStack) -> None:
    viewer = await feeds.sign_up()
    assert await feeds.caches.graph(user_id(viewer)) is not None


async def test_a_follow_meanwhile(feeds: FeedEventsStack) -> None:
    """The graph was read before it, and the window was touched by it: the truth is read again."""
    author, fan = [await feeds.sign_up(is_active=False) for _ in range(2)]
    await author.publish("hello")
    await feeds.settle()

    async def follow() -> None:
        await feeds.follow(author, fan)
        await feeds.settle()

    feeds.contents = ContentsMeanwhile(feeds.contents, follow)
    await feeds.build(fan)
    await feeds.assert_exact(fan)
    assert len(await feeds.ids_in_window(fan)) == 1


async def test_a_post_meanwhile(feeds: FeedEventsStack) -> None:
    author, fan = [await feeds.sign_up(is_active=False) for _ in range(2)]
    await feeds.follow(author, fan)
    await author.publish("before")
    await feeds.settle()

    async def publish() -> None:
        await author.publish("meanwhile")
        await feeds.settle()

    feeds.contents = ContentsMeanwhile(feeds.contents, publish)
    await feeds.build(fan)
    await feeds.assert_exact(fan)
    assert len(await feeds.ids_in_window(fan)) == 2


async def test_an_unfollow_meanwhile(feeds: FeedEventsStack) -> None:
    """With a post that was delivered into what is being built, and must not stay there."""
    author, fan = [await feeds.sign_up(is_active=False) for _ in range(2)]
    await feeds.follow(author, fan)
    await feeds.settle()

    async def leave() -> None:
        await author.publish("hello")
        await feeds.settle()
        await feeds.unfollow(author, fan)
        await feeds.settle()

    feeds.contents = ContentsMeanwhile(feeds.contents, leave)
    assert await feeds.rebuilds.rebuild(user_id(fan)) is WindowState.BUILDING
    assert await feeds.state(fan) is WindowState.MISSING
    await feeds.build(fan)
    assert await feeds.ids_in_window(fan) == []


@pytest.mark.parametrize("to", [Tier.PULL, Tier.PUSH])
async def test_a_tier_change_meanwhile(feeds: FeedEventsStack, to: Tier) -> None:
    author = await feeds.sign_up("author")
    fans = [await feeds.sign_up(is_active=False) for _ in range(PULLED_FROM)]
    await feeds.follow(author, *fans[1:])
    if to is Tier.PUSH:
        await feeds.follow(author, fans[0])
    await author.publish("before")
    await feeds.settle()

    async def change() -> None:
        if to is Tier.PULL:
            await feeds.follow(author, fans[0])
        else:
            await feeds.unfollow(author, fans[0])
        await feeds.settle()
        assert await feeds.authors.tier(user_id(author)) is to
        await author.publish("after")
        await feeds.settle()

    real, feeds.contents = feeds.contents, ContentsMeanwhile(feeds.contents, change)
    await feeds.build(fans[1])
    feeds.contents = real
    await feeds.assert_exact(fans[1])
    assert len((await feeds.hot(fans[1]))[0]) == 2


async def test_one_build_at_a_time(feeds: FeedEventsStack) -> None:
    viewer = await feeds.sign_up(is_active=False)
    states: list[WindowState] = []

    async def another() -> None:
        states.append(await feeds.rebuilds.rebuild(user_id(viewer)))

    feeds.contents = ContentsMeanwhile(feeds.contents, another)
    await feeds.build(viewer)
    assert states == [WindowState.BUILDING]


async def test_who_is_never_left_alone_is_let_go(feeds: FeedEventsStack) -> None:
    """Bounded, and no window is left that claims to be being built."""
    author, fan = [await feeds.sign_up(is_active=False) for _ in range(2)]

    async def touch() -> None:
        await feeds.windows.set_pull(feeds.fence, user_id(fan), user_id(author), on=True)
        contents.happen = touch

    feeds.contents = contents = ContentsMeanwhile(feeds.contents, touch)
    assert await feeds.rebuilds.rebuild(user_id(fan)) is WindowState.BUILDING
    assert await feeds.state(fan) is WindowState.MISSING
    assert contents.reads < 10


async def test_in_the_background_each_once(feeds: FeedEventsStack) -> None:
    viewer = await feeds.sign_up(is_active=False)
    contents = ContentsMeanwhile(feeds.contents, lambda: asyncio.sleep(0))
    feeds.contents = contents
    rebuilds = feeds.rebuilds
    for _ in range(5):
        rebuilds.kick(user_id(viewer))
    assert len(feeds.background._tasks) == 1
    await feeds.background.idle()
    assert await feeds.state(viewer) is WindowState.READY
    assert contents.reads == 1
    rebuilds.kick(user_id(viewer))
    await feeds.background.idle()
    assert contents.reads == 2


async def test_one_that_fails_may_be_begun_again(feeds: FeedEventsStack) -> None:
    viewer = await feeds.sign_up(is_active=False)
    rebuilds = feeds.rebuilds
    async with feeds.without_user_svc():
        rebuilds = feeds.rebuilds
        with pytest.raises(Unavailable):
            await rebuilds.rebuild(user_id(viewer))
        rebuilds.kick(user_id(viewer))
        await feeds.background.idle()
        assert rebuilds._kicked == set()
