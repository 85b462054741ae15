"""What the state of things forbids, and changes that race: never half a change."""

import asyncio
import uuid
from collections.abc import Awaitable

import pytest
from newsfeed.content.v1 import content_service_pb2 as pb

from tests.requests.bad_values import INVALID_FIELD, OK
from tests.requests.refusals import refusal, refusal_of
from tests.stacks.content_stack import Author, ContentStack

POST_NOT_FOUND = "NOT_FOUND POST_NOT_FOUND"
SHARE_NOT_ALLOWED = "FAILED_PRECONDITION SHARE_NOT_ALLOWED"
BLOCKED = "FAILED_PRECONDITION BLOCKED"
TRIES = 20

UNKNOWN = pb.Post(post_id="01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7")


async def test_what_is_not_shared(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("one's own")
    share, deleted = await other.share(post), await author.publish("deleted")
    await author.delete(deleted)
    before = await content_stack.digest()
    for caller, shared, says in (
        (author, post, SHARE_NOT_ALLOWED),
        (author, share, SHARE_NOT_ALLOWED),
        (other, share, SHARE_NOT_ALLOWED),
        (other, deleted, POST_NOT_FOUND),
        (other, UNKNOWN, POST_NOT_FOUND),
    ):
        refused = await refusal(caller.share(shared))
        assert (refused.says, refused.metadata["post_id"]) == (says, shared.post_id)
    itself = str(uuid.uuid4())
    refused = await refusal(author.publish(post_id=itself, shared_post_id=itself))
    assert refused.says == POST_NOT_FOUND
    assert await content_stack.digest() == before


@pytest.mark.parametrize("purged", [False, True])
async def test_nothing_happens_to_a_deleted_post(
    content_stack: ContentStack, *, purged: bool
) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("deleted")
    comment = await other.comment(post)
    await other.like(post)
    deleted_at = await author.delete(post)
    if purged:
        await content_stack.purge()
    before = await content_stack.digest()
    calls: list[Awaitable[object]] = [
        other.comment(post),
        other.like(post),
        other.unlike(post),
        other.share(post),
        author.edit(post, content="back"),
        other.delete_comment(comment),
        other.calls.ListLikes(pb.ListLikesRequest(post_id=post.post_id)),
        other.calls.ListComments(pb.ListCommentsRequest(post_id=post.post_id)),
        content_stack.get(post),
    ]
    for call in calls:
        assert (await refusal(call)).says == POST_NOT_FOUND
    assert await author.delete(post) == deleted_at
    assert await content_stack.digest() == before


async def test_nothing_happens_to_an_unknown_post(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    before = await content_stack.digest()
    for call in (
        author.comment(UNKNOWN),
        author.like(UNKNOWN),
        author.unlike(UNKNOWN),
        author.delete(UNKNOWN),
        author.edit(UNKNOWN, content="new"),
        content_stack.get(UNKNOWN),
    ):
        assert (await refusal(call)).says == POST_NOT_FOUND
    assert await content_stack.digest() == before


@pytest.mark.parametrize("author_blocks", [False, True])
async def test_nothing_happens_across_a_block(
    content_stack: ContentStack, *, author_blocks: bool
) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post, liked = await author.publish("mine"), await author.publish("liked")
    await other.like(liked)
    comment = await other.comment(liked)
    blocker, blocked = (author, other) if author_blocks else (other, author)
    await blocker.person.act("Block", blocked.person)
    before = await content_stack.digest()
    for call in (other.like(post), other.comment(post), other.share(post)):
        refused = await refusal(call)
        assert (refused.says, refused.metadata) == (BLOCKED, {"user_id": author.user_id})
    assert await content_stack.digest() == before
    await other.unlike(liked)  # taking back is free
    await other.delete_comment(comment)
    await blocker.person.act("Unblock", blocked.person)
    await other.like(post)


async def test_nothing_happens_to_posts_of_who_is_gone(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("mine")
    await author.person.delete()
    before = await content_stack.digest()
    for call in (other.like(post), other.comment(post), other.share(post)):
        assert (await refusal(call)).says == "NOT_FOUND USER_NOT_FOUND"
    assert await content_stack.digest() == before


async def test_an_empty_post_is_none(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("text")
    before = await content_stack.digest()
    place = pb.PostMetadata(tags=["tag"], location=pb.Location(latitude=1))
    for call in (
        author.publish(),
        author.publish(" \n\t "),
        author.publish(metadata=place),
        author.edit(post, content=""),
        author.edit(post, content=" ", metadata=place),
    ):
        refused = await refusal(call)
        assert (refused.says, refused.fields) == (INVALID_FIELD, ("content",))
    assert await content_stack.digest() == before
    share = await other.share(post, content="look")
    assert (await other.edit(share, content="")).content == ""


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except Exception as error:  # noqa: BLE001 its status is asked for
        return refusal_of(error).says  # type: ignore[arg-type]
    return OK


async def test_an_edit_that_races_the_end(content_stack: ContentStack) -> None:
    """Edited and then deleted, or not found; in the end the post is gone."""
    author = await content_stack.sign_up()
    for _ in range(TRIES):
        post = await author.publish("old #tag")
        async with content_stack.emitted() as emitted:
            edited, deleted = await asyncio.gather(
                outcome(author.edit(post, content="new #tag")), outcome(author.delete(post))
            )
        assert deleted == OK
        assert edited in {OK, POST_NOT_FOUND}
        await check_gone(content_stack, author, post)
        told = [event.WhichOneof("payload") for event in emitted]
        assert told == ["post_updated"] * (edited == OK) + ["post_deleted"]


async def test_many_ends_are_one(content_stack: ContentStack) -> None:
    author, moderator = await content_stack.sign_up(), await content_stack.moderator()
    post = await author.publish("old")
    async with content_stack.emitted() as emitted:
        times = await asyncio.gather(*(each.delete(post) for each in [author, moderator] * TRIES))
    assert len(set(times)) == 1
    assert [event.WhichOneof("payload") for event in emitted] == ["post_deleted"]


async def test_edits_at_once_are_all_done(content_stack: ContentStack) -> None:
    """Each changes another field, and none of them is lost."""
    author = await content_stack.sign_up()
    post = await author.publish("old")
    location = pb.PostMetadata(location=pb.Location(latitude=1))
    tags = pb.PostMetadata(tags=["new"])
    for _ in range(TRIES):
        await asyncio.gather(
            author.edit(post, content="new"),
            author.edit(post, metadata=tags, update_mask={"paths": ["metadata.tags"]}),
            author.edit(post, metadata=location, update_mask={"paths": ["metadata.location"]}),
        )
        found = await content_stack.get(post)
        assert (found.content, list(found.metadata.tags)) == ("new", ["new"])
        assert found.metadata.location.latitude == 1
        post = await author.publish("old")


async def test_reactions_that_race_the_end_leave_nothing(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    for _ in range(TRIES):
        post = await author.publish("old")
        answers = await asyncio.gather(
            outcome(other.like(post)),
            outcome(other.comment(post)),
            outcome(other.share(post)),
            outcome(author.delete(post)),
        )
        assert set(answers) <= {OK, POST_NOT_FOUND}
        assert answers[3] == OK
    await content_stack.purge()
    for name in ("likes", "comments"):
        left = await content_stack.documents(name)
        assert not [each for each in left if each["post_author_id"] == uuid.UUID(author.user_id)]
    assert await content_stack.references(other) == []


async def check_gone(stack: ContentStack, author: Author, post: pb.Post) -> None:
    assert (await refusal(stack.get(post))).says == POST_NOT_FOUND
    assert await stack.batch(post) == []
    assert await stack.references(author) == []
    listed = await author.calls.ListPostsByAuthor(
        pb.ListPostsByAuthorRequest(user_id=author.user_id)
    )
    assert not listed.posts
    tagged = await author.calls.ListPostsByTag(pb.ListPostsByTagRequest(tag="tag"))
    assert post.post_id not in {each.post_id for each in tagged.posts}
