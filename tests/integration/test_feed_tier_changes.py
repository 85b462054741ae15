"""Authors that become large and small again: nobody misses a post, nobody sees one twice."""

from collections.abc import AsyncGenerator

import pytest

from feed_svc.clients import People
from feed_svc.followers import BatchLimits
from feed_svc.model import ID_BYTES, Tier, UserId, WindowState
from feed_svc.tiers import PushSettings
from svckit.errors import Unavailable
from tests.stacks.content_stack import Author
from tests.stacks.feed_events import (
    PULLED_FROM,
    FeedEventsStack,
    post_id,
    user_id,
)


class BreakingPeople(People):
    """Follower by follower; breaks off behind so many, as long as `is_broken`."""

    def __init__(self, people: People, behind: int) -> None:
        self.__dict__ |= people.__dict__
        self.behind = behind
        self.is_broken = True

    async def follower_ids(self, user_id: UserId) -> AsyncGenerator[bytes]:
        count = 0
        async for chunk in super().follower_ids(user_id):
            for at in range(0, len(chunk), ID_BYTES):
                if self.is_broken and count == self.behind:
                    raise Unavailable
                yield chunk[at : at + ID_BYTES]
                count += 1
        if self.is_broken:
            raise Unavailable


async def tier(feeds: FeedEventsStack, author: Author) -> Tier:
    return await feeds.authors.tier(user_id(author))


async def test_push_to_pull_and_back(feeds: FeedEventsStack) -> None:
    author = await feeds.sign_up("author")
    fans = [await feeds.sign_up() for _ in range(PULLED_FROM)]
    late = await feeds.sign_up("late", is_active=False)
    await feeds.follow(author, *fans[1:])
    await author.publish("pushed")
    await feeds.settle()
    assert await tier(feeds, author) is Tier.PUSH

    await feeds.follow(author, fans[0])
    await feeds.settle()
    assert await tier(feeds, author) is Tier.PULL
    assert await feeds.authors.pulled() >= {user_id(author)}
    await feeds.assert_exact(author, *fans)

    pulled = await author.publish("pulled")
    await feeds.settle()
    assert post_id(pulled) in await feeds.ids_in_window(author)
    for fan in fans:
        assert post_id(pulled) not in await feeds.ids_in_window(fan)
        assert await feeds.pulled_by(fan) == {user_id(author)}
    await feeds.follow(author, late)
    await feeds.build(late)
    await feeds.settle()
    await feeds.assert_exact(author, late, *fans)

    await feeds.unfollow(author, fans[0])
    await feeds.settle()
    assert await tier(feeds, author) is Tier.PULL
    await feeds.unfollow(author, fans[1])
    await feeds.settle()
    assert await tier(feeds, author) is Tier.PUSH
    assert user_id(author) not in await feeds.authors.pulled()
    for fan in (late, *fans):
        assert await feeds.pulled_by(fan) == frozenset()
    await author.publish("pushed again")
    await feeds.settle()
    await feeds.assert_exact(author, late, *fans)
    assert len(await feeds.ids_in_window(late)) == 3


async def test_a_change_at_a_post(feeds: FeedEventsStack) -> None:
    """With no follow event before it: counts change in the background, too."""
    author = await feeds.sign_up("author")
    fans = [await feeds.sign_up() for _ in range(PULLED_FROM)]
    await feeds.follow(author, *fans)
    follows = await feeds.waiting()
    await author.publish("hello")
    await feeds.settle()
    assert await tier(feeds, author) is Tier.PULL
    await feeds.hand_over(follows)
    await feeds.assert_exact(author, *fans)


async def test_between_the_bounds_nothing_changes(feeds: FeedEventsStack) -> None:
    feeds.push = PushSettings(followers_max=5)
    author = await feeds.sign_up("author", is_active=False)
    fans = [await feeds.sign_up(is_active=False) for _ in range(5)]
    await feeds.follow(author, *fans[1:])
    await author.publish("hello")
    await feeds.settle()
    assert await tier(feeds, author) is Tier.PUSH
    await feeds.follow(author, fans[0])
    await feeds.settle()
    assert await tier(feeds, author) is Tier.PULL
    await feeds.unfollow(author, fans[0])
    await author.publish("hello")
    await feeds.settle()
    assert await tier(feeds, author) is Tier.PULL
    await author.person.delete()
    await feeds.settle()
    assert user_id(author) not in await feeds.authors.pulled()


async def test_few_followers_and_many_posts(feeds: FeedEventsStack) -> None:
    feeds.push = PushSettings(deliveries_per_hour_max=4)
    author = await feeds.sign_up("author")
    fans = [await feeds.sign_up() for _ in range(2)]
    await feeds.follow(author, *fans)
    for number, expected in enumerate((Tier.PUSH, Tier.PUSH, Tier.PULL)):
        await author.publish(f"{number}")
        await feeds.settle()
        assert await tier(feeds, author) is expected
    await feeds.unfollow(author, fans[0])  # 3 deliveries an hour by now
    await feeds.settle()
    assert await tier(feeds, author) is Tier.PUSH
    await feeds.assert_exact(author, *fans)


async def test_a_follow_and_an_unfollow_of_a_pulled_author(feeds: FeedEventsStack) -> None:
    author = await feeds.sign_up("author")
    fans = [await feeds.sign_up() for _ in range(PULLED_FROM + 1)]
    await author.publish("one")
    await feeds.follow(author, *fans[:-1])
    await feeds.settle()
    await author.publish("two")
    await feeds.follow(author, fans[-1])
    await feeds.settle()
    assert await feeds.pulled_by(fans[-1]) == {user_id(author)}
    await feeds.assert_exact(*fans)
    await feeds.unfollow(author, fans[-1], fans[0])
    await feeds.settle()
    for fan in (fans[-1], fans[0]):
        assert await feeds.pulled_by(fan) == frozenset()
        assert await feeds.ids_in_window(fan) == []
    await feeds.assert_exact(*fans)


@pytest.mark.parametrize("behind", range(PULLED_FROM + 1))
async def test_a_change_to_pull_that_is_broken_off(feeds: FeedEventsStack, behind: int) -> None:
    """Some followers are marked and some not: without a second pass those would miss posts."""
    author = await feeds.sign_up("author")
    fans = [await feeds.sign_up() for _ in range(PULLED_FROM)]
    await feeds.follow(author, *fans)
    await feeds.waiting()
    await author.publish("hello")
    told = await feeds.waiting()
    feeds.people = breaking = BreakingPeople(feeds.people, behind)
    with pytest.raises(Unavailable):
        await feeds.hand_over(told)
    assert await tier(feeds, author) is Tier.CHANGING
    assert await feeds.authors.pulled() >= {user_id(author)}
    breaking.is_broken = False
    await feeds.hand_over(told)
    assert await tier(feeds, author) is Tier.PULL
    await author.publish("more")
    await feeds.settle()
    for fan in fans:
        assert await feeds.pulled_by(fan) == {user_id(author)}
    await feeds.build(*fans)
    await feeds.assert_exact(author, *fans)


@pytest.mark.parametrize("behind", range(PULLED_FROM))
async def test_a_change_to_push_that_is_broken_off(feeds: FeedEventsStack, behind: int) -> None:
    author = await feeds.sign_up("author")
    fans = [await feeds.sign_up() for _ in range(PULLED_FROM)]
    await feeds.follow(author, *fans)
    await author.publish("one")
    await feeds.settle()
    await author.publish("two")
    await feeds.settle()
    await feeds.unfollow(author, fans[0])
    told = await feeds.waiting()
    feeds.people = breaking = BreakingPeople(feeds.people, behind)
    with pytest.raises(Unavailable):
        await feeds.hand_over(told)
    # Meanwhile there are many again: who was made ready for pushes is not any more.
    await feeds.follow(author, fans[0])
    breaking.is_broken = False
    await feeds.hand_over(told)
    assert await tier(feeds, author) is Tier.PULL
    await feeds.settle()
    await author.publish("three")
    await feeds.settle()
    await feeds.assert_exact(author, *fans)
    await feeds.unfollow(author, fans[0])
    await feeds.settle()
    assert await tier(feeds, author) is Tier.PUSH
    await author.publish("four")
    await feeds.settle()
    await feeds.assert_exact(author, *fans)


async def test_a_push_that_is_broken_off_is_made_up_for(feeds: FeedEventsStack) -> None:
    author = await feeds.sign_up("author")
    fans = [await feeds.sign_up() for _ in range(PULLED_FROM - 1)]
    await feeds.follow(author, *fans)
    await feeds.settle()
    await author.publish("hello")
    told = await feeds.waiting()
    feeds.people = breaking = BreakingPeople(feeds.people, 1)
    with pytest.raises(Unavailable):
        await feeds.hand_over(told)
    breaking.is_broken = False
    await feeds.hand_over(told)
    await feeds.assert_exact(author, *fans)


async def test_an_emptied_redis(feeds: FeedEventsStack) -> None:
    """It is not known any more who is pulled; the next event tells."""
    author = await feeds.sign_up("author")
    fans = [await feeds.sign_up() for _ in range(PULLED_FROM + BatchLimits().batches_at_once_max)]
    await feeds.follow(author, *fans)
    await author.publish("one")
    await feeds.settle()
    await feeds.redis.run([("FLUSHALL",)])
    await feeds.build(*fans[1:])
    assert await feeds.state(fans[0]) is WindowState.MISSING
    await author.publish("two")
    told = await feeds.waiting()
    with pytest.raises(Unavailable):  # no fence
        await feeds.hand_over(told)
    await feeds.hand_over(told)
    assert await tier(feeds, author) is Tier.PULL
    await feeds.assert_exact(*fans[1:])
    assert await feeds.state(fans[0]) is WindowState.MISSING
