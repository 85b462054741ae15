"""content_svc while user_svc is gone: what needs no word of user_svc goes on, the rest says so."""

import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from newsfeed.content.v1 import content_service_pb2 as pb

from tests.polling import LATE_S
from tests.requests.refusals import refusal
from tests.stacks.content_stack import Author, ContentStack, open_content_stack, packed
from tests.stacks.user_stack import open_user_stack

QUICK_S = 0.5


@dataclass(frozen=True)
class Alone:
    stack: ContentStack
    author: Author
    other: Author
    post: pb.Post


@pytest.fixture(scope="module")
async def alone(postgres_dsn: str, mongodb_url: str, keys_folder: Path) -> AsyncIterator[Alone]:
    async with AsyncExitStack() as last, AsyncExitStack() as first:
        people = await first.enter_async_context(open_user_stack(postgres_dsn, keys_folder))
        stack = await last.enter_async_context(open_content_stack(mongodb_url, people, keys_folder))
        author, other = await stack.sign_up(), await stack.sign_up()
        post = await author.publish("hello #world")
        await other.like(post)
        await other.comment(post)
        await first.aclose()
        yield Alone(stack, author, other, post)


async def test_writing_goes_on(alone: Alone) -> None:
    author = alone.author
    post = await author.publish("nobody is named")
    await author.edit(post, content="nobody still")
    await author.like(post)
    await author.unlike(post)
    await author.comment(post)
    await alone.other.unlike(alone.post)
    assert (await alone.stack.get(post)).content == "nobody still"
    assert await alone.stack.batch(post) == [post.post_id]
    assert post.post_id in await alone.stack.references(author)
    await author.delete(post)
    assert await alone.stack.batch(post) == []


async def test_what_needs_others_says_what_is_missing(alone: Alone) -> None:
    author, other, post = alone.author, alone.other, alone.post
    share = pb.CreatePostRequest(shared_post_id=post.post_id)
    calls: list[Awaitable[object]] = [
        author.publish("hello @somebody"),
        author.edit(post, content="hello @somebody"),
        other.like(post),
        other.comment(post),
        other.calls.CreatePost(share),
        other.calls.ListPostsByAuthor(pb.ListPostsByAuthorRequest(user_id=author.user_id)),
        other.calls.ListPostsByTag(pb.ListPostsByTagRequest(tag="world")),
        other.calls.SearchPosts(pb.SearchPostsRequest(query="hello")),
        author.calls.ListComments(pb.ListCommentsRequest(post_id=post.post_id)),
    ]
    before = await alone.stack.digest()
    for call in calls:
        started = time.monotonic()
        refused = await refusal(call)
        assert refused.says == "UNAVAILABLE DEPENDENCY_UNAVAILABLE"
        assert refused.metadata["dependency"] == "user_svc"
        assert time.monotonic() - started < QUICK_S + LATE_S
    assert await alone.stack.digest() == before


async def test_what_one_did_is_known(alone: Alone) -> None:
    request = pb.BatchGetViewerStateRequest(
        viewer_id=alone.author.user_id, post_ids=packed([alone.post])
    )
    assert len((await alone.stack.service.BatchGetViewerState(request)).states) == 1
