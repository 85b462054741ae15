"""Posts, follows and unfollows arrive in windows: whole, once, and however often they are told."""

import uuid

import pytest
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.events.v1 import events_pb2
from newsfeed.user.v1 import user_service_pb2 as user_pb

from feed_svc.app import Limits
from feed_svc.fanout import FanoutLimits
from feed_svc.model import Source, UserId, WindowState
from svckit.errors import Unavailable
from svckit.events.bus import Fence, Fenced, Undecodable
from tests.stacks.content_stack import ContentStack, bus_event
from tests.stacks.feed_events import (
    FeedEventsStack,
    kind_of,
    open_feed_events,
    post_id,
    user_id,
)


async def test_a_post_is_in_the_windows_of_author_and_followers(feeds: FeedEventsStack) -> None:
    author, fan, other = [await feeds.sign_up() for _ in range(3)]
    await feeds.follow(author, fan)
    await feeds.settle()
    post = await author.publish("hello")
    await feeds.settle()
    assert await feeds.ids_in_window(author) == [post_id(post)]
    assert await feeds.ids_in_window(fan) == [post_id(post)]
    assert await feeds.ids_in_window(other) == []


async def test_who_is_not_active_gets_no_window(feeds: FeedEventsStack) -> None:
    author, fan = [await feeds.sign_up(is_active=False) for _ in range(2)]
    await feeds.follow(author, fan)
    await author.publish("hello")
    await feeds.settle()
    assert await feeds.state(author) is WindowState.MISSING
    assert await feeds.state(fan) is WindowState.MISSING
    await feeds.build(fan)
    await feeds.assert_exact(fan)


async def test_a_follow_brings_what_is_there_already(feeds: FeedEventsStack) -> None:
    """To the follower: an event that were handled for the followee would fill the wrong window."""
    author, fan = [await feeds.sign_up() for _ in range(2)]
    posts = [await author.publish(f"{number}") for number in range(3)]
    own = await fan.publish("mine")
    await feeds.settle()
    await feeds.follow(author, fan)
    await feeds.settle()
    assert await feeds.ids_in_window(fan) == [post_id(each) for each in (own, *reversed(posts))]
    assert post_id(own) not in await feeds.ids_in_window(author)


async def test_an_unfollow_takes_it_away_and_nothing_else(feeds: FeedEventsStack) -> None:
    author, other, fan = [await feeds.sign_up() for _ in range(3)]
    await feeds.follow(author, fan)
    await feeds.follow(other, fan)
    await author.publish("one")
    kept = await other.publish("two")
    await author.publish("three")
    await feeds.settle()
    assert len(await feeds.ids_in_window(fan)) == 3
    await feeds.unfollow(author, fan)
    await feeds.settle()
    assert await feeds.ids_in_window(fan) == [post_id(kept)]
    await feeds.assert_exact(fan, author, other)


async def test_a_block_ends_both_follows(feeds: FeedEventsStack) -> None:
    ada, bob = [await feeds.sign_up() for _ in range(2)]
    await feeds.follow(ada, bob)
    await feeds.follow(bob, ada)
    ada_post, bob_post = await ada.publish("a"), await bob.publish("b")
    await feeds.settle()
    await ada.person.act("Block", bob.person)
    await feeds.settle()
    assert await feeds.ids_in_window(ada) == [post_id(ada_post)]
    assert await feeds.ids_in_window(bob) == [post_id(bob_post)]


async def test_what_was_undone_meanwhile_is_not_done(feeds: FeedEventsStack) -> None:
    """The present counts, not the event: also when the two come in the wrong order."""
    author, fan = [await feeds.sign_up() for _ in range(2)]
    await author.publish("hello")
    await feeds.settle()
    await feeds.follow(author, fan)
    await feeds.unfollow(author, fan)
    followed, unfollowed = await feeds.waiting()
    assert (kind_of(followed), kind_of(unfollowed)) == ("FollowAdded", "FollowRemoved")
    await feeds.hand_over([followed])
    assert await feeds.ids_in_window(fan) == []
    await feeds.follow(author, fan)
    await feeds.hand_over([unfollowed])
    await feeds.assert_exact(fan)
    await feeds.hand_over([unfollowed, followed])
    await feeds.assert_exact(fan)
    assert len(await feeds.ids_in_window(fan)) == 1


async def test_a_post_of_whom_one_left_before_its_event(feeds: FeedEventsStack) -> None:
    author, fan = [await feeds.sign_up() for _ in range(2)]
    await feeds.follow(author, fan)
    await feeds.settle()
    await author.publish("hello")
    posted = await feeds.waiting()
    await feeds.hand_over(posted)
    await feeds.unfollow(author, fan)
    left = await feeds.waiting()
    await feeds.hand_over([*left, *posted])
    assert await feeds.ids_in_window(fan) == []


async def test_every_event_may_come_twice_and_all_again(feeds: FeedEventsStack) -> None:
    author, fan, leaver, gone = [await feeds.sign_up() for _ in range(4)]
    await feeds.follow(author, fan, leaver, gone)  # pulled by then
    first = await author.publish("first")
    await feeds.follow(fan, author)
    told = await feeds.settle()
    await feeds.unfollow(author, leaver)
    await gone.person.delete()  # pushed again
    await author.publish("second")
    await author.edit(first, content="edited")
    third = await author.publish("third")
    await author.delete(third)
    await fan.publish("mine")
    told += await feeds.settle()
    assert {kind_of(each) for each in told} >= feeds.events.types - {"UserUpdated"}
    before = [await feeds.ids_in_window(each) for each in (author, fan, leaver)]
    for event in told:
        await feeds.hand_over([event, event])
    await feeds.hand_over(told)
    third_id = post_id(third)
    after = [await feeds.ids_in_window(each) for each in (author, fan, leaver)]
    without = [[each for each in ids if each != third_id] for ids in after]
    assert without == [[each for each in ids if each != third_id] for ids in before]
    assert (await feeds.caches.posts.known([third_id])) == {third_id: b""}
    assert await feeds.state(gone) is WindowState.MISSING


async def test_a_window_that_is_full_stays_a_gapless_piece(
    feed_redis_url: str, content_stack: ContentStack
) -> None:
    async with open_feed_events(feed_redis_url, content_stack, window_entries_max=4) as feeds:
        await feeds.waiting()
        author, other, fan = [await feeds.sign_up() for _ in range(3)]
        await feeds.follow(author, fan)
        for number in range(5):
            await author.publish(f"{number}")
            await other.publish(f"{number}")
        await feeds.settle()
        assert len(await feeds.ids_in_window(fan)) == 4
        await feeds.follow(other, fan)
        await feeds.settle()
        await feeds.assert_exact(fan)
        await feeds.unfollow(author, fan)
        await feeds.settle()
        ids, floor = await feeds.hot(fan)
        assert len(ids) == 2
        assert floor is not None
        await feeds.assert_exact(fan)
        await feeds.unfollow(other, fan)
        await feeds.settle()
        # Not an empty feed: nobody knows what was below.
        assert await feeds.state(fan) is WindowState.MISSING


async def test_a_purge_that_would_have_to_look_far_drops_the_window(
    feeds: FeedEventsStack,
) -> None:
    feeds.limits = Limits(fanout=FanoutLimits(purged_posts_max=3))
    author, fan = [await feeds.sign_up() for _ in range(2)]
    await feeds.follow(author, fan)
    for number in range(4):
        await author.publish(f"{number}")
    await feeds.settle()
    await feeds.unfollow(author, fan)
    await feeds.settle()
    assert await feeds.state(fan) is WindowState.MISSING


async def test_who_is_deleted_has_no_window_and_no_recents(feeds: FeedEventsStack) -> None:
    author, fan = [await feeds.sign_up() for _ in range(2)]
    await feeds.follow(author, fan)
    post = await author.publish("hello")
    posted = await feeds.settle()
    assert await feeds.authors.recents([user_id(author)])
    await author.person.delete()
    deleted = await feeds.settle()
    assert [kind_of(each) for each in deleted] == ["UserDeleted"]
    assert await feeds.state(author) is WindowState.MISSING
    assert await feeds.caches.cards.known([user_id(author)]) == {user_id(author): b""}
    assert await feeds.authors.recents([user_id(author)]) == {}
    await feeds.hand_over(posted)
    assert await feeds.authors.recents([user_id(author)]) == {}
    await feeds.content.tell_of_deletion(author)
    await feeds.content.purge()
    assert [kind_of(each) for each in await feeds.settle()] == ["PostDeleted"]
    assert await feeds.caches.posts.known([post_id(post)]) == {post_id(post): b""}


async def test_caches_hold_what_is_true_now(feeds: FeedEventsStack) -> None:
    """An event that was put aside and comes late does not bring the past back."""
    author = await feeds.sign_up()
    post = await author.publish("one")
    await author.edit(post, content="two")
    latest = await author.edit(post, content="three")
    await author.person.users.UpdateMe(user_pb.UpdateMeRequest(display_name="Ada L."))
    told = await feeds.settle()
    edits = [each for each in told if kind_of(each) == "PostUpdated"]

    async def cached() -> content_pb.Post:
        return content_pb.Post.FromString(
            (await feeds.caches.posts.known([post_id(post)]))[post_id(post)]
        )

    assert await cached() == latest
    await feeds.hand_over(edits[:1])
    assert await cached() == latest
    cards = await feeds.caches.cards.known([user_id(author)])
    assert b"Ada L." in cards[user_id(author)]
    await author.delete(post)
    await feeds.settle()
    await feeds.hand_over(edits)
    assert await feeds.caches.posts.known([post_id(post)]) == {post_id(post): b""}
    assert await feeds.ids_in_window(author) == []
    recents = await feeds.authors.recents([user_id(author)])
    assert recents == {user_id(author): Source([], None)}


async def test_a_former_owner_writes_nothing(
    feed_redis_url: str, content_stack: ContentStack
) -> None:
    async with (
        open_feed_events(feed_redis_url, content_stack, fence=Fence(9, 1)) as former,
        open_feed_events(feed_redis_url, content_stack, fence=Fence(9, 2)) as owner,
    ):
        author, fan = [await owner.sign_up() for _ in range(2)]
        await owner.waiting()
        await owner.follow(author, fan)
        await author.publish("hello")
        told = await owner.waiting()
        for event in told:
            with pytest.raises(Fenced) as fenced:
                await former.hand_over([event])
            assert fenced.value.newest_token == 2
        assert await owner.ids_in_window(fan) == []
        await owner.hand_over(told)
        await owner.assert_exact(fan, author)


async def test_without_user_svc_an_event_waits(feeds: FeedEventsStack) -> None:
    author, fan = [await feeds.sign_up() for _ in range(2)]
    await feeds.follow(author, fan)
    await author.publish("hello")
    told = await feeds.waiting()
    async with feeds.without_user_svc():
        for event in told:
            with pytest.raises(Unavailable):
                await feeds.hand_over([event])
    await feeds.hand_over(told)
    await feeds.assert_exact(fan, author)


def events_about_nobody() -> list[events_pb2.Event]:
    ada, bob = str(uuid.uuid4()), str(uuid.uuid4())
    post = content_pb.Post(post_id=str(uuid.uuid4()), author_id=ada)
    post.create_time.FromMilliseconds(1_900_000_000_000)
    events = [
        events_pb2.Event(post_created=events_pb2.PostCreated(post=post)),
        events_pb2.Event(post_updated=events_pb2.PostUpdated(post=post)),
        events_pb2.Event(post_deleted=events_pb2.PostDeleted(post=post)),
        events_pb2.Event(follow_added=events_pb2.FollowAdded(follower_id=ada, followee_id=bob)),
        events_pb2.Event(follow_removed=events_pb2.FollowRemoved(follower_id=ada, followee_id=bob)),
        events_pb2.Event(user_updated=events_pb2.UserUpdated(user=user_pb.User(user_id=ada))),
        events_pb2.Event(user_deleted=events_pb2.UserDeleted(user_id=ada)),
    ]
    for event in events:
        event.event_id, event.lane, event.schema_version = str(uuid.uuid4()), ada, 1
    return events


async def test_people_and_posts_that_nobody_knows_do_no_harm(feeds: FeedEventsStack) -> None:
    events = events_about_nobody()
    assert {kind_of(each) for each in events} == feeds.events.types
    await feeds.hand_over(events)
    author = UserId(uuid.UUID(events[0].lane).bytes)
    assert await feeds.authors.recents([author]) == {}
    assert (await feeds.windows.info(author)).state is WindowState.MISSING


@pytest.mark.parametrize("event", events_about_nobody(), ids=kind_of)
async def test_what_cannot_be_understood_is_told_as_such(
    feeds: FeedEventsStack, event: events_pb2.Event
) -> None:
    newer = events_pb2.Event()
    newer.CopyFrom(event)
    newer.schema_version = 2
    without_payload = events_pb2.Event()
    without_payload.CopyFrom(event)
    without_payload.ClearField("payload")
    without_ids = events_pb2.Event.FromString(
        event.SerializeToString().replace(event.lane.encode(), b"x" * 36)
    )
    without_ids.event_id = event.event_id
    for each in (newer, without_payload, without_ids):
        with pytest.raises(Undecodable):
            await feeds.events.handle(bus_event(each, kind_of(event)), feeds.fence)


async def test_bytes_that_are_no_event(feeds: FeedEventsStack) -> None:
    event = bus_event(events_about_nobody()[0], "PostCreated")
    for payload in (b"", b"\xff\xff\xff", event.payload[:-3]):
        broken = type(event)(
            event.event_id, event.lane, event.type, payload, {}, 0, event.position, 0
        )
        with pytest.raises(Undecodable):
            await feeds.events.handle(broken, feeds.fence)
