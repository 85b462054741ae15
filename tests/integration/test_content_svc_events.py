"""What others learn: each change leaves exactly its events, in the lanes of the contract."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from google.protobuf.message import Message
from newsfeed.content.v1 import content_service_pb2 as pb
from newsfeed.events.v1 import events_pb2 as events

from tests.requests.refusals import refusal
from tests.stacks.content_stack import Author, ContentStack

Told: TypeAlias = list[tuple[str, Message]]


def told(emitted: list[events.Event]) -> Told:
    """Each event's lane and payload. What all events have in common is checked here."""
    assert len({event.event_id for event in emitted}) == len(emitted)
    for event in emitted:
        assert event.schema_version == 1
        age = datetime.now(UTC) - event.occur_time.ToDatetime(UTC)
        assert timedelta(0) <= age < timedelta(seconds=5)
    return [(event.lane, getattr(event, str(event.WhichOneof("payload")))) for event in emitted]


def activity(
    actor: Author,
    verb: "events.ActivityVerb.ValueType",
    post: pb.Post,
    target: Author | None = None,
    comment: pb.Comment | None = None,
) -> tuple[str, Message]:
    return actor.user_id, events.ActivityOccurred(
        actor_id=actor.user_id,
        verb=verb,
        target_user_id=target.user_id if target else None,
        post_id=post.post_id,
        comment_id=comment.comment_id if comment else None,
    )


def at(author: Author) -> str:
    return f"@{author.person.user.username}"


async def test_a_post(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    async with content_stack.emitted() as emitted:
        post = await author.publish("hello #world")
    assert told(emitted) == [
        (author.user_id, events.PostCreated(post=post)),
        activity(author, events.ACTIVITY_VERB_POST, post),
    ]


async def test_a_share(content_stack: ContentStack) -> None:
    author, sharer = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("hello")
    async with content_stack.emitted() as emitted:
        share = await sharer.share(post)
    assert told(emitted) == [
        (sharer.user_id, events.PostCreated(post=share, shared_author_id=author.user_id)),
        activity(sharer, events.ACTIVITY_VERB_SHARE, share, author),
    ]


async def test_mentions(content_stack: ContentStack) -> None:
    """Each person once, oneself never; after an edit those who were not named before."""
    author, ada, bob = [await content_stack.sign_up(name) for name in ("me", "ada", "bob")]
    mention = events.ACTIVITY_VERB_MENTION
    async with content_stack.emitted() as emitted:
        post = await author.publish(f"{at(ada)} {at(author)} {at(ada)}")
        edited = await author.edit(post, content=f"{at(bob)} {at(ada)}")
        comment = await bob.comment(post, f"{at(ada)} {at(bob)}")
    assert told(emitted) == [
        (author.user_id, events.PostCreated(post=post)),
        activity(author, events.ACTIVITY_VERB_POST, post),
        activity(author, mention, post, ada),
        (author.user_id, events.PostUpdated(post=edited)),
        activity(author, mention, post, bob),
        (bob.user_id, events.CommentCreated(comment=comment, post_author_id=author.user_id)),
        activity(bob, events.ACTIVITY_VERB_COMMENT, post, author, comment),
        activity(bob, mention, post, ada, comment),
    ]


async def test_an_edit_and_the_end(content_stack: ContentStack) -> None:
    author, moderator = await content_stack.sign_up(), await content_stack.moderator()
    post = await author.publish("hello")
    async with content_stack.emitted() as emitted:
        edited = await author.edit(post, content="good-bye")
        await moderator.delete(post)
    assert told(emitted) == [
        (author.user_id, events.PostUpdated(post=edited)),
        (author.user_id, events.PostDeleted(post=edited)),
    ]


async def test_likes(content_stack: ContentStack) -> None:
    author, fan = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("hello")
    async with content_stack.emitted() as emitted:
        await fan.like(post)
        await fan.unlike(post)
    who = {"post_id": post.post_id, "post_author_id": author.user_id, "user_id": fan.user_id}
    assert told(emitted) == [
        (fan.user_id, events.PostLiked(**who)),
        activity(fan, events.ACTIVITY_VERB_LIKE, post, author),
        (fan.user_id, events.PostUnliked(**who)),
    ]


async def test_comments(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("hello")
    async with content_stack.emitted() as emitted:
        comment = await other.comment(post)
        await author.delete_comment(comment)
    created = events.CommentCreated(comment=comment, post_author_id=author.user_id)
    deleted = events.CommentDeleted(comment=comment, post_author_id=author.user_id)
    assert told(emitted) == [
        (other.user_id, created),
        activity(other, events.ACTIVITY_VERB_COMMENT, post, author, comment),
        (other.user_id, deleted),
    ]


async def test_what_changes_nothing_tells_nothing(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post, gone = await author.publish("hello #world"), await author.publish("gone")
    comment = await other.comment(post)
    await author.delete(gone)
    await other.delete_comment(comment)
    await other.like(post)
    async with content_stack.emitted() as emitted:
        await other.like(post)
        await author.unlike(post)
        await author.delete(gone)
        await author.delete_comment(comment)
        await author.edit(post, content="hello #world")
        await author.edit(post)
        await author.publish("hello #world", post_id=post.post_id)
        await content_stack.app.maintenance.purge()
    assert emitted == []


async def test_what_is_refused_tells_nothing(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("hello")
    async with content_stack.emitted() as emitted:
        await refusal(other.delete(post))
        await refusal(other.edit(post, content="mine"))
        await refusal(author.share(post))
        await refusal(author.publish("\0"))
        await refusal(other.comment(post, ""))
        await refusal(other.publish("hello", post_id=post.post_id))
    assert emitted == []


async def test_an_event_carries_the_trace_of_its_request(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace_id}-00f067aa0ba902b7-01"
    async with content_stack.emitted() as emitted:
        await content_stack.nobody.CreatePost(
            pb.CreatePostRequest(content="traced"),
            metadata=(*author.person.metadata, ("traceparent", parent)),
        )
    assert [event.traceparent.split("-")[1] for event in emitted] == [trace_id] * 2
