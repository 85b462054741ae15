"""A client's own ids, and states that many set at once: sent fifty times is done once."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from newsfeed.content.v1 import content_service_pb2 as pb
from newsfeed.events.v1 import events_pb2

from tests.requests.refusals import refusal
from tests.stacks.content_stack import ContentStack

R = TypeVar("R")
A = TypeVar("A")

TIMES = 50
PEOPLE = 20
ROUNDS = 10  # of each person, who first likes and then unlikes


def kinds(events: list[events_pb2.Event]) -> list[str]:
    return [str(event.WhichOneof("payload")) for event in events]


def new_id() -> str:
    return str(uuid.uuid4())


async def many(call: Callable[[R], Awaitable[A]], request: R) -> list[A]:
    return await asyncio.gather(*(call(request) for _ in range(TIMES)))


async def test_a_post_sent_fifty_times_is_one(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    metadata = pb.PostMetadata(tags=["once"], location=pb.Location(latitude=1.5))
    request = pb.CreatePostRequest(post_id=new_id(), content="#one", metadata=metadata)
    async with content_stack.emitted() as emitted:
        answers = await many(author.calls.CreatePost, request)
    assert answers == [answers[0]] * TIMES
    assert kinds(emitted) == ["post_created", "activity_occurred"]
    assert await content_stack.references(author) == [request.post_id]


async def test_a_share_sent_fifty_times_is_one(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("to share")
    request = pb.CreatePostRequest(post_id=new_id(), shared_post_id=post.post_id)
    async with content_stack.emitted() as emitted:
        answers = await many(other.calls.CreatePost, request)
    assert {answer.post.post_id for answer in answers} == {request.post_id}
    assert kinds(emitted) == ["post_created", "activity_occurred"]


async def test_a_comment_sent_fifty_times_is_one(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    post = await author.publish("hello")
    request = pb.CreateCommentRequest(post_id=post.post_id, comment_id=new_id(), content="one")
    async with content_stack.emitted() as emitted:
        answers = await many(author.calls.CreateComment, request)
    assert answers == [answers[0]] * TIMES
    assert kinds(emitted) == ["comment_created", "activity_occurred"]
    listed = await author.calls.ListComments(pb.ListCommentsRequest(post_id=post.post_id))
    assert [comment.comment_id for comment in listed.comments] == [request.comment_id]


@pytest.mark.parametrize(
    "other",
    [
        {"content": "other"},
        {"content": "same "},  # white space around is no other body
        {"content": "same", "metadata": pb.PostMetadata(tags=["tag"])},
        {"content": "same", "metadata": pb.PostMetadata(location=pb.Location())},
    ],
)
async def test_a_post_id_has_one_body(content_stack: ContentStack, other: dict[str, Any]) -> None:
    author, post_id = await content_stack.sign_up(), new_id()
    post = await author.publish("same", post_id=post_id)
    before = await content_stack.digest()
    request = pb.CreatePostRequest(post_id=post_id, **other)
    if other == {"content": "same "}:
        assert (await author.calls.CreatePost(request)).post == post
    else:
        refused = await refusal(author.calls.CreatePost(request))
        assert refused.says == "ALREADY_EXISTS POST_ID_TAKEN"
        assert refused.metadata == {"post_id": post_id}
    assert await content_stack.digest() == before


async def test_fifty_bodies_for_one_post_id(content_stack: ContentStack) -> None:
    author, post_id = await content_stack.sign_up(), new_id()
    answers = await asyncio.gather(
        *(author.publish(f"body {number}", post_id=post_id) for number in range(TIMES)),
        return_exceptions=True,
    )
    assert len([each for each in answers if isinstance(each, pb.Post)]) == 1
    assert len(await content_stack.references(author)) == 1


async def test_ids_are_one_persons(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("mine", post_id=new_id())
    comment = await author.comment(post, comment_id=new_id())
    before = await content_stack.digest()
    refused = await refusal(other.publish("mine", post_id=post.post_id))
    assert refused.says == "ALREADY_EXISTS POST_ID_TAKEN"
    refused = await refusal(other.comment(post, comment_id=comment.comment_id))
    assert refused.says == "ALREADY_EXISTS COMMENT_ID_TAKEN"
    refused = await refusal(author.comment(post, "other", comment_id=comment.comment_id))
    assert refused.says == "ALREADY_EXISTS COMMENT_ID_TAKEN"
    elsewhere = await author.publish("elsewhere")
    refused = await refusal(author.comment(elsewhere, comment_id=comment.comment_id))
    assert refused.says == "ALREADY_EXISTS COMMENT_ID_TAKEN"
    await author.delete(elsewhere)
    assert (await content_stack.digest())["comments"] == before["comments"]


async def test_an_id_is_never_given_again(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    post, on = await author.publish("gone", post_id=new_id()), await author.publish("stays")
    comment = await author.comment(on, comment_id=new_id())
    await author.delete_comment(comment)
    await author.delete(post)
    for _ in range(2):
        refused = await refusal(author.publish("gone", post_id=post.post_id))
        assert refused.says == "ALREADY_EXISTS POST_ID_TAKEN"
        refused = await refusal(author.comment(on, comment_id=comment.comment_id))
        assert refused.says == "ALREADY_EXISTS COMMENT_ID_TAKEN"
        await content_stack.purge()


async def test_sent_again_across_a_block_it_is_still_the_first(
    content_stack: ContentStack,
) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("hello")
    share_id, comment_id = new_id(), new_id()
    share = await other.share(post, post_id=share_id)
    comment = await other.comment(post, comment_id=comment_id)
    await author.person.act("Block", other.person)
    assert await other.share(post, post_id=share_id) == share
    assert await other.comment(post, comment_id=comment_id) == comment
    for call in (other.share(post, post_id=new_id()), other.comment(post, comment_id=new_id())):
        assert (await refusal(call)).reason == "BLOCKED"


async def test_sent_again_after_an_edit_it_is_still_the_first(content_stack: ContentStack) -> None:
    author, post_id = await content_stack.sign_up(), new_id()
    edited = await author.edit(await author.publish("first", post_id=post_id), content="second")
    async with content_stack.emitted() as emitted:
        assert await author.publish("first", post_id=post_id) == edited
        await refusal(author.publish("second", post_id=post_id))
    assert emitted == []


async def test_likes_and_unlikes_of_many_at_once(content_stack: ContentStack) -> None:
    """Each person's last word counts; others are in nobody's way."""
    author = await content_stack.sign_up()
    post = await author.publish("loved")
    people = [await content_stack.sign_up("fan") for _ in range(PEOPLE)]
    async with content_stack.emitted() as emitted, asyncio.TaskGroup() as group:
        for person in people:
            for number in range(ROUNDS):
                act = person.unlike if number % 2 else person.like
                group.create_task(act(post))
    rows = {each["user_id"] for each in await content_stack.documents("likes")}
    told: dict[str, list[str]] = defaultdict(list)
    for event in emitted:
        told[event.lane].append(str(event.WhichOneof("payload")))
    for person in people:
        changes = [kind for kind in told[person.user_id] if kind != "activity_occurred"]
        assert changes[::2] == ["post_liked"] * len(changes[::2])
        assert changes[1::2] == ["post_unliked"] * len(changes[1::2])
        assert (uuid.UUID(person.user_id) in rows) == (changes[-1:] == ["post_liked"])
        assert told[person.user_id].count("activity_occurred") == len(changes[::2])


async def test_the_last_state_stays(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    post = await author.publish("loved")
    people = [await content_stack.sign_up("fan") for _ in range(PEOPLE)]
    for act in ("like", "like", "unlike", "unlike", "like"):
        async with asyncio.TaskGroup() as group:
            for person in people:
                group.create_task(getattr(person, act)(post))
    listed = await author.calls.ListLikes(pb.ListLikesRequest(post_id=post.post_id, page_size=100))
    assert {like.user_id for like in listed.likes} == {person.user_id for person in people}
