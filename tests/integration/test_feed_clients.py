"""What feed_svc learns from the other two services, as it is there."""

import uuid

from newsfeed.feed.v1 import feed_service_pb2 as pb

from feed_svc.clients import ClientLimits, Contents, People, decode_post, graph_of_copy
from feed_svc.model import TOP, Hidden, PostId, UserId
from tests.stacks.feed_events import FeedEventsStack, post_id, user_id

NOBODY = UserId(uuid.uuid4().bytes)


async def test_posts(feeds: FeedEventsStack) -> None:
    contents = Contents(feeds.content_svc, ClientLimits(posts_per_call_max=2))
    author, other = [await feeds.sign_up(is_active=False) for _ in range(2)]
    posts = [await author.publish(f"{number}") for number in range(4)]
    share = await other.share(posts[0])
    await author.delete(posts[3])
    ids = [post_id(each) for each in (*posts, share)]
    found = await contents.posts([*ids, PostId(NOBODY)])
    assert found.keys() == {*ids} - {ids[3]}
    for each in (posts[1], share):
        post = found[post_id(each)]
        assert post.encoded == each.SerializeToString()
        assert post.create_time_ms == each.create_time.ToMilliseconds()
        assert decode_post(post.encoded) == post
    assert found[ids[0]].shared_post_id is None
    assert found[ids[0]].author_id == user_id(author)
    assert found[ids[4]].shared_post_id == ids[0]
    assert await contents.posts([]) == {}


async def test_posts_of_authors(feeds: FeedEventsStack) -> None:
    contents = Contents(feeds.content_svc, ClientLimits(places_per_call_max=2))
    author, other, third = [await feeds.sign_up(is_active=False) for _ in range(3)]
    posts = [await each.publish("hello") for each in (author, other, author, third, author)]
    newest = [(each.create_time.ToMilliseconds(), post_id(each)) for each in reversed(posts)]
    del newest[1]
    authors = [user_id(author), user_id(other), NOBODY]
    for limit in range(1, 7):
        assert await contents.by_authors(authors, TOP, limit) == newest[:limit]
        assert await contents.by_authors(authors, newest[1], limit) == newest[2:][:limit]
    assert await contents.by_authors([NOBODY], TOP, 10) == []
    assert await contents.by_authors([], TOP, 10) == []


async def test_who_follows_whom(feeds: FeedEventsStack) -> None:
    author, fan = [await feeds.sign_up(is_active=False) for _ in range(2)]
    await feeds.follow(author, fan)
    people = feeds.people
    assert await people.follower_count(user_id(author)) == 1
    assert await people.follower_count(user_id(fan)) == 0
    assert await people.follower_count(NOBODY) is None
    assert await people.is_following(user_id(fan), user_id(author))
    assert not await people.is_following(user_id(author), user_id(fan))
    assert not await people.is_following(user_id(fan), NOBODY)
    assert not await people.is_following(NOBODY, user_id(author))
    assert [each async for each in people.follower_ids(user_id(author))] == [user_id(fan)]
    assert [each async for each in people.follower_ids(NOBODY)] == []


async def test_who_is_hidden(feeds: FeedEventsStack) -> None:
    viewer, followed, blocked, blocker, muted = [
        await feeds.sign_up(is_active=False) for _ in range(5)
    ]
    await feeds.follow(followed, viewer)
    await viewer.person.act("Block", blocked.person)
    await blocker.person.act("Block", viewer.person)
    await viewer.person.act("Mute", muted.person)
    viewer_id, hidden_ids = user_id(viewer), {user_id(each) for each in (blocked, blocker, muted)}
    hidden = Hidden(frozenset(hidden_ids), truncated=False)
    nothing = Hidden(frozenset(), truncated=False)
    asked = [user_id(followed), viewer_id, NOBODY]
    assert await feeds.people.hidden(asked) == {
        user_id(followed): nothing,
        viewer_id: hidden,
        NOBODY: nothing,
    }
    others = {user_id(followed), NOBODY}
    assert await feeds.people.hidden_among(viewer_id, hidden_ids | others) == hidden_ids
    graph, copy = await feeds.people.graph(viewer_id)
    assert graph.exists
    assert graph.followee_ids == {user_id(followed)}
    assert graph_of_copy(copy) == (graph, hidden)
    assert not (await feeds.people.graph(NOBODY))[0].exists


async def test_cards(feeds: FeedEventsStack) -> None:
    people = People(feeds.user_svc, ClientLimits(people_per_call_max=2))
    ada, bob, gone = [await feeds.sign_up(name, is_active=False) for name in ("ada", "bob", "eve")]
    await gone.person.delete()
    cards = await people.cards([user_id(each) for each in (ada, bob, gone)])
    assert cards.keys() == {user_id(ada), user_id(bob)}
    card = pb.UserCard.FromString(cards[user_id(ada)])
    assert (card.user_id, card.username) == (ada.user_id, ada.person.user.username)
    assert card.display_name == ada.person.user.display_name
