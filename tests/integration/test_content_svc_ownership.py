"""What is whose: who may change and delete posts and comments, and that the answer lasts."""

import pytest
from newsfeed.content.v1 import content_service_pb2 as pb

from tests.requests.refusals import refusal
from tests.stacks.content_stack import ContentStack

DENIED = "PERMISSION_DENIED PERMISSION_DENIED"
POST_NOT_FOUND = "NOT_FOUND POST_NOT_FOUND"
COMMENT_NOT_FOUND = "NOT_FOUND COMMENT_NOT_FOUND"


async def test_anothers_post_is_not_for_changing(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    moderator = await content_stack.moderator()
    post = await author.publish("mine")
    before = await content_stack.digest()
    for caller in (other, moderator):
        assert (await refusal(caller.edit(post, content="yours"))).says == DENIED
        assert (await refusal(caller.edit(post))).says == DENIED
    assert (await refusal(other.delete(post))).says == DENIED
    assert await content_stack.digest() == before


@pytest.mark.parametrize("is_share", [False, True])
async def test_a_moderator_deletes_any_post(content_stack: ContentStack, *, is_share: bool) -> None:
    author, moderator = await content_stack.sign_up(), await content_stack.moderator()
    shared = await moderator.publish("first")
    post = await (author.share(shared) if is_share else author.publish("bad"))
    deleted_at = await moderator.delete(post)
    for caller in (author, moderator):
        assert await caller.delete(post) == deleted_at
    other = await content_stack.sign_up()
    assert (await refusal(other.delete(post))).says == DENIED
    assert (await refusal(author.edit(post, content="back"))).says == POST_NOT_FOUND


async def test_sharing_a_post_gives_no_right_to_it(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("mine")
    share = await other.share(post)
    assert (await refusal(other.delete(post))).says == DENIED
    assert (await refusal(author.delete(share))).says == DENIED
    assert (await refusal(author.edit(share, content="mine"))).says == DENIED


async def test_who_deletes_a_comment(content_stack: ContentStack) -> None:
    author, writer = await content_stack.sign_up(), await content_stack.sign_up()
    other, moderator = await content_stack.sign_up(), await content_stack.moderator()
    post = await author.publish("talk")
    for caller in (writer, author, moderator):
        comment = await writer.comment(post)
        await other.comment(post)  # which gives no right to others
        before = await content_stack.digest()
        assert (await refusal(other.delete_comment(comment))).says == DENIED
        assert await content_stack.digest() == before
        deleted_at = await caller.delete_comment(comment)
        for again in (writer, author, moderator):
            assert await again.delete_comment(comment) == deleted_at
        assert (await refusal(other.delete_comment(comment))).says == DENIED


async def test_a_comment_belongs_to_its_post(content_stack: ContentStack) -> None:
    """Naming one's own post gives no right to comments elsewhere."""
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    post, own = await author.publish("talk"), await other.publish("own")
    comment = await author.comment(post)
    before = await content_stack.digest()
    elsewhere = pb.Comment(comment_id=comment.comment_id, post_id=own.post_id)
    for caller in (author, other):
        assert (await refusal(caller.delete_comment(elsewhere))).says == COMMENT_NOT_FOUND
    unknown = pb.Comment(comment_id=post.post_id, post_id=post.post_id)
    assert (await refusal(author.delete_comment(unknown))).says == COMMENT_NOT_FOUND
    nowhere = pb.Comment(comment_id=comment.comment_id, post_id=comment.comment_id)
    assert (await refusal(author.delete_comment(nowhere))).says == POST_NOT_FOUND
    assert await content_stack.digest() == before
