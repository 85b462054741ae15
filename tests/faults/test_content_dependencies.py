"""user_svc or MongoDB is gone, or takes everything and answers nothing: who must wait is told soon.

Without user_svc lists go on: who blocks whom is as it was when the viewer last read a page.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import grpc
import pytest
from google.rpc import error_details_pb2
from newsfeed.content.v1 import content_service_pb2 as pb

from svckit.health import require_serving
from svckit.rpc.status import rich_status
from tests.polling import LATE_S, until
from tests.requests.refusals import refusal, refusal_of
from tests.requests.sensible_content_requests import CONTENT_REQUESTS
from tests.stacks.content_stack import Author, ContentStack, open_content_stack
from tests.stacks.user_stack import UserStack
from tests.troubles.gate import Gate, frozen, gate_before, gone

ANSWERED_S_MAX = 1.0
SLOW_S = 0.2
REFUSED_S_MAX = 0.3
FOUND_OUT_S_MAX = 2.0
FOR_SERVICES = {
    f"ContentService.{name}"
    for name in ("BatchGetPosts", "ListPostsByAuthors", "BatchGetViewerState")
}
REFUSED = "UNAVAILABLE DEPENDENCY_UNAVAILABLE"


@dataclass(frozen=True)
class Site:
    stack: ContentStack
    user_svc: Gate
    mongodb: Gate


Trouble = Callable[[Gate], AbstractAsyncContextManager[None]]


both = pytest.mark.parametrize("trouble", [gone, frozen])


@pytest.fixture(scope="module")
async def site(mongodb_url: str, user_stack: UserStack, keys_folder: Path) -> AsyncIterator[Site]:
    """Only content_svc sees the gates."""
    async with (
        gate_before(_port(f"//{user_stack.address}")) as user_svc,
        gate_before(_port(mongodb_url)) as mongodb,
        open_content_stack(
            f"mongodb://{mongodb.address}/?directConnection=true",
            replace(user_stack, address=user_svc.address),
            keys_folder,
        ) as stack,
    ):
        yield Site(stack, user_svc, mongodb)


async def in_time(call: Awaitable[pb.ListPostsByTagResponse]) -> pb.ListPostsByTagResponse:
    started_s = time.perf_counter()
    answer = await call
    assert time.perf_counter() - started_s <= ANSWERED_S_MAX + LATE_S
    return answer


def tagged(viewer: Author, tag: str) -> Awaitable[pb.ListPostsByTagResponse]:
    return viewer.calls.ListPostsByTag(pb.ListPostsByTagRequest(tag=tag))


@both
async def test_lists_go_on_for_who_read_before(site: Site, trouble: Trouble) -> None:
    stack, tag = site.stack, trouble.__name__
    viewer, friend, stranger, blocked, blocker = [await stack.sign_up() for _ in range(5)]
    await viewer.person.act("Block", blocked.person)
    await blocker.person.act("Block", viewer.person)
    posts = [await each.publish(f"#{tag}") for each in (friend, blocked, blocker)]
    for each in (friend, blocked, blocker):
        await each.comment(posts[0])
        await each.like(posts[0])
    assert list((await tagged(viewer, tag)).posts) == posts[:1]
    posts.append(await stranger.publish(f"#{tag}"))
    async with trouble(site.user_svc):
        assert list((await in_time(tagged(viewer, tag))).posts) == [posts[3], posts[0]]
        comments = await viewer.calls.ListComments(pb.ListCommentsRequest(post_id=posts[0].post_id))
        assert [each.author_id for each in comments.comments] == [friend.user_id]
        likes = await viewer.calls.ListLikes(pb.ListLikesRequest(post_id=posts[0].post_id))
        assert [each.user_id for each in likes.likes] == [friend.user_id]
        for author, expected in ((friend, posts[:1]), (stranger, posts[3:]), (blocker, [])):
            request = pb.ListPostsByAuthorRequest(user_id=author.user_id)
            assert list((await viewer.calls.ListPostsByAuthor(request)).posts) == expected
    await viewer.person.act("Block", stranger.person)
    await is_well(viewer, tag, posts[:1])


@both
async def test_the_rest_is_refused_in_time(site: Site, trouble: Trouble) -> None:
    stack, tag = site.stack, f"refused_{trouble.__name__}"
    viewer, author = await stack.sign_up(), await stack.sign_up()
    post = await author.publish(f"#{tag}")
    before = await stack.digest()
    async with trouble(site.user_svc):
        calls: list[Awaitable[object]] = [
            tagged(viewer, tag),
            viewer.like(post),
            viewer.comment(post),
            viewer.share(post),
            viewer.publish("hello @somebody"),
        ]
        for call in calls:
            started_s = time.perf_counter()
            refused = await refusal(call)
            assert time.perf_counter() - started_s <= ANSWERED_S_MAX + LATE_S
            assert (refused.says, refused.metadata) == (REFUSED, {"dependency": "user_svc"})
    assert await stack.digest() == before
    await is_well(viewer, tag, [post])


@both
async def test_without_mongodb_everything_is_refused_soon(site: Site, trouble: Trouble) -> None:
    """Only who finds out waits longer."""
    stack = site.stack
    owner = (await stack.sign_up()).person
    calls = [
        (
            rpc,
            (await make_request(stack, owner)).SerializeToString(),
            (stack.people.service if rpc in FOR_SERVICES else owner).metadata,
        )
        for rpc, make_request in CONTENT_REQUESTS.items()
    ]
    async with trouble(site.mongodb):
        took_s = []
        for rpc, data, metadata in calls:
            started_s = time.perf_counter()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stack.call_raw(rpc, data, metadata)
            took_s.append(time.perf_counter() - started_s)
            assert refusal_of(caught.value).says == REFUSED, rpc
            details = rich_status(caught.value).details
            assert any(each.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for each in details)
        assert statistics.median(took_s) <= REFUSED_S_MAX
        assert max(took_s) <= FOUND_OUT_S_MAX + LATE_S
        await until(lambda: is_ready(stack, expected=False))
    await until(lambda: is_ready(stack, expected=True))
    for rpc, data, metadata in calls:
        await stack.call_raw(rpc, data, metadata)


async def test_a_slow_mongodb_is_waited_for(site: Site) -> None:
    """Every call takes long enough for a look whether the server is still there."""
    author = await site.stack.sign_up()
    post = await author.publish("seen slowly")
    posts = site.stack.app.mongo.collection("posts")
    site.mongodb.delay_s = SLOW_S
    try:
        reads = [posts.find_one({"_id": UUID(post.post_id)}) for _ in range(60)]
        await asyncio.gather(author.like(post), author.publish("slow"), *reads)
    finally:
        site.mongodb.delay_s = 0.0


async def is_ready(stack: ContentStack, *, expected: bool) -> bool:
    try:
        await require_serving(stack.address)
    except (grpc.aio.AioRpcError, ConnectionError):
        return not expected
    return expected


async def is_well(viewer: Author, tag: str, expected: Sequence[pb.Post]) -> None:
    """Waits until the viewer reads what there is."""

    async def is_right() -> bool:
        try:
            return list((await tagged(viewer, tag)).posts) == expected
        except grpc.aio.AioRpcError:
            return False

    await until(is_right, timeout_s=10.0)


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
