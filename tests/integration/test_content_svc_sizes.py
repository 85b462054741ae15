"""Posts as large as they may be: pages and batches of them still fit into a message."""

import asyncio
from typing import Any, TypeAlias

import grpc
import pytest
from newsfeed.content.v1 import content_service_pb2 as pb

from svckit.rpc.limits import MESSAGE_BYTES_MAX
from tests.requests.large_posts import WORD, largest
from tests.requests.refusals import Refusal, refusal
from tests.stacks.content_stack import Author, ContentStack

POSTS = 100  # the longest page
FIT_FOR_SURE = 32  # as BatchGetPosts says
AnyPage: TypeAlias = (
    pb.ListPostsByAuthorResponse | pb.ListPostsByTagResponse | pb.SearchPostsResponse
)


@pytest.fixture(scope="module")
async def author(content_stack: ContentStack) -> Author:
    return await content_stack.sign_up()


@pytest.fixture(scope="module")
async def posts(author: Author) -> list[pb.Post]:
    """Newest first, published all at once."""
    published = await asyncio.gather(*(author.publish(**largest()) for _ in range(POSTS)))
    assert sum(post.ByteSize() for post in published) > 1.5 * MESSAGE_BYTES_MAX
    by_place = sorted(published, key=lambda each: (each.create_time.ToMilliseconds(), each.post_id))
    return by_place[::-1]


async def page_of(author: Author, listing: str, page_token: str) -> AnyPage:
    page: dict[str, Any] = {"page_size": POSTS, "page_token": page_token}
    if listing == "author":
        by_author = pb.ListPostsByAuthorRequest(user_id=author.user_id, **page)
        return await author.calls.ListPostsByAuthor(by_author)
    if listing == "tag":
        return await author.calls.ListPostsByTag(pb.ListPostsByTagRequest(tag=WORD, **page))
    return await author.calls.SearchPosts(pb.SearchPostsRequest(query=WORD, **page))


@pytest.mark.parametrize("listing", ["author", "tag", "search"])
async def test_pages(author: Author, posts: list[pb.Post], listing: str) -> None:
    """Shorter ones than asked for, but all of them, each once."""
    pages = [await page_of(author, listing, "")]
    while token := pages[-1].next_page_token:
        pages.append(await page_of(author, listing, token))
    assert [post.post_id for page in pages for post in page.posts] == [
        post.post_id for post in posts
    ]
    assert all(page.ByteSize() > MESSAGE_BYTES_MAX // 3 for page in pages[:-1])


async def test_batches(content_stack: ContentStack, posts: list[pb.Post]) -> None:
    some = posts[:FIT_FOR_SURE]
    assert await content_stack.batch(*some) == [post.post_id for post in some]
    assert await refusal(content_stack.batch(*posts)) == Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", {}, ("post_ids",)
    )
