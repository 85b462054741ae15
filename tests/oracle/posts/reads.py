"""What the read rpcs have to say: a replica, looked through by brute force."""

import asyncio
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc
from newsfeed.content.v1 import content_service_pb2 as pb

from tests.oracle.posts.replica import Key, Replica, expect, expect_same
from tests.requests.refusals import refusal_of
from tests.stacks.content_stack import Author, ContentStack

Listing: TypeAlias = (
    pb.ListPostsByAuthorRequest
    | pb.ListPostsByTagRequest
    | pb.SearchPostsRequest
    | pb.ListCommentsRequest
    | pb.ListLikesRequest
)
Item: TypeAlias = pb.Post | pb.Comment | pb.Like
Place: TypeAlias = tuple[int, str]

PAGES_MAX = 500
BATCH_MAX = 500
RECENT = 100  # of those that are deleted, too


def place_of(item: Item) -> Place:
    match item:
        case pb.Post():
            made_id = item.post_id
        case pb.Comment():
            made_id = item.comment_id
        case _:
            made_id = item.user_id
    return item.create_time.ToMilliseconds(), made_id


def listed(request: Listing, replica: Replica, hidden: frozenset[str]) -> list[Item]:
    """All that a list has for somebody from whom these people are hidden, newest first."""
    items: Iterable[Item]
    match request:
        case pb.ListPostsByAuthorRequest():
            items = _seen(replica, hidden, lambda post: post.author_id == request.user_id)
        case pb.ListPostsByTagRequest():
            items = _seen(replica, hidden, lambda post: request.tag in post.metadata.tags)
        case pb.SearchPostsRequest():
            words = set(request.query.split())
            items = _seen(replica, hidden, lambda post: words <= set(post.content.split()))
        case pb.ListCommentsRequest():
            made = (each for each in replica.comments() if each.post_id == request.post_id)
            items = [each for each in made if each.author_id not in hidden]
        case pb.ListLikesRequest():
            items = _likes(request.post_id, replica, hidden)
    return sorted(items, key=place_of, reverse=True)


def _seen(
    replica: Replica, hidden: frozenset[str], is_meant: Callable[[pb.Post], bool]
) -> Iterator[pb.Post]:
    for post in replica.posts.values():
        authors = {post.author_id}
        if post.shared_post_id:
            authors.add(replica.created[post.shared_post_id].author_id)
        if is_meant(post) and authors.isdisjoint(hidden):
            yield post


def _likes(post_id: str, replica: Replica, hidden: frozenset[str]) -> Iterator[pb.Like]:
    for (liked_id, user_id), when_ms in replica.likes().items():
        if liked_id == post_id and user_id not in hidden:
            like = pb.Like(user_id=user_id)
            like.create_time.FromMilliseconds(when_ms)
            yield like


async def walk(viewer: Author, request: Listing, sizes: Iterator[int]) -> list[Item]:
    """All pages of a list, of these sizes, to the very end."""
    name = type(request).__name__.removesuffix("Request")
    call: Callable[[Listing], object] = getattr(viewer.calls, name)
    asked, items = type(request)(), list[Item]()
    asked.CopyFrom(request)  # type: ignore[arg-type]
    for _ in range(PAGES_MAX):
        asked.page_size = next(sizes)
        answer = await call(asked)  # type: ignore[misc]
        [field] = {"posts", "comments", "likes"}.intersection(answer.DESCRIPTOR.fields_by_name)
        page = getattr(answer, field)
        expect(len(page) <= asked.page_size, f"{len(page)} items on a page of {asked.page_size}")
        items += page
        asked.page_token = answer.next_page_token
        if not asked.page_token:
            return items
    raise AssertionError(f"no end of {request}")


@dataclass
class Walk:
    """Somebody who reads a list while others write."""

    viewer: Author
    request: Listing
    items: list[Item] | None = None  # None = was refused

    async def go(self, sizes: Iterator[int]) -> None:
        try:
            self.items = await walk(self.viewer, self.request, sizes)
        except grpc.aio.AioRpcError as error:
            says = refusal_of(error).reason
            expect(says != "INTERNAL", f"{self.request}: {error.details()}")

    def check(self, before: Replica, after: Replica, hidden: frozenset[str]) -> None:
        """Nothing comes twice, and what was there all the time is not left out."""
        if self.items is None:
            return
        places = [place_of(item) for item in self.items]
        expect(places == sorted(set(places), reverse=True), f"out of order, or twice: {places}")
        touched = {
            post_id for post_id, post in after.posts.items() if post != before.posts.get(post_id)
        }
        then, now = (
            {place_of(each) for each in listed(self.request, replica, hidden)}
            for replica in (before, after)
        )
        steady = {place for place in then & now if place[1] not in touched}
        expect(steady <= set(places), f"{self.request} has left out {steady - set(places)}")
        people = {
            each.user_id if isinstance(each, pb.Like) else each.author_id for each in self.items
        }
        expect(people.isdisjoint(hidden), f"{self.request} shows {people & hidden}")


@dataclass
class Look:
    """Reads everything at rest, and compares it with a replica."""

    stack: ContentStack
    replica: Replica
    sizes: Iterator[int]

    async def check_posts(self) -> None:
        """One by one, in batches, and as what feeds are made of."""
        posts = self.replica.posts
        asked = [*posts, *[*self.replica.created][-RECENT:]]
        expect_same("GetPost", await self.one_by_one(asked), posts)
        expect_same("BatchGetPosts", await self.batch(asked), posts)
        newest = sorted(map(place_of, posts.values()), reverse=True)
        references = await self.references({post.author_id for post in posts.values()})
        expect(references == newest, f"ListPostsByAuthors: {references}, not {newest}")

    async def check_lists(
        self, viewer: Author, requests: Sequence[Listing], hidden: frozenset[str]
    ) -> None:
        lists = await asyncio.gather(*(walk(viewer, each, self.sizes) for each in requests))
        for request, found in zip(requests, lists, strict=True):
            expected = listed(request, self.replica, hidden)
            places = [place_of(each) for each in found], [place_of(each) for each in expected]
            expect(places[0] == places[1], f"{request}: {places[0]}, not {places[1]}")
            expect(found == expected, f"{request}: {found}, not {expected}")

    async def check_viewer_state(self, viewer_id: str) -> None:
        post_ids = [*self.replica.posts]
        request = pb.BatchGetViewerStateRequest(viewer_id=viewer_id, post_ids=_packed(post_ids))
        answer = await self.stack.service.BatchGetViewerState(request)
        likes = self.replica.likes()
        shares = {
            post.shared_post_id
            for post in self.replica.posts.values()
            if post.author_id == viewer_id
        }
        for post_id, state in zip(post_ids, answer.states, strict=True):
            expected = (post_id, viewer_id) in likes, post_id in shares
            expect((state.liked, state.shared) == expected, f"{viewer_id} {post_id}: {state}")

    async def check_collections(self) -> None:
        """Nothing is left of what is gone, and there is nothing that no event has told of."""
        replica, documents = self.replica, self.stack.documents
        posts = {str(each["_id"]): "place" in each for each in await documents("posts")}
        expected = {post_id: post_id in replica.posts for post_id in replica.created}
        expect_same("posts", posts, expected)
        comments = {_key(each, "_id"): "place" in each for each in await documents("comments")}
        there = {
            key: key not in replica.uncommented
            for key in replica.commented
            if key[0] in replica.posts
        }
        expect_same("comments", comments, there)
        likes = {_key(each, "user_id") for each in await documents("likes")}
        expect(likes == replica.likes().keys(), f"likes: {likes ^ replica.likes().keys()}")

    async def one_by_one(self, post_ids: Iterable[str]) -> dict[str, pb.Post]:
        posts = await asyncio.gather(*map(self._post, post_ids))
        return {post.post_id: post for post in posts if post is not None}

    async def _post(self, post_id: str) -> pb.Post | None:
        try:
            answer = await self.stack.nobody.GetPost(pb.GetPostRequest(post_id=post_id))
        except grpc.aio.AioRpcError as error:
            expect(refusal_of(error).reason == "POST_NOT_FOUND", f"{post_id}: {error}")
            return None
        return answer.post

    async def batch(self, post_ids: Iterable[str]) -> dict[str, pb.Post]:
        found: dict[str, pb.Post] = {}
        post_ids = [*dict.fromkeys(post_ids)]
        for start in range(0, len(post_ids), BATCH_MAX):
            request = pb.BatchGetPostsRequest(post_ids=_packed(post_ids[start : start + BATCH_MAX]))
            answer = await self.stack.service.BatchGetPosts(request)
            found |= {post.post_id: post for post in answer.posts}
        return found

    async def references(self, author_ids: Iterable[str]) -> list[Place]:
        """All that these have written, some at a time."""
        request = pb.ListPostsByAuthorsRequest(author_ids=_packed(author_ids))
        places: list[Place] = []
        while True:
            request.limit = next(self.sizes)
            posts = (await self.stack.service.ListPostsByAuthors(request)).posts
            places += [(each.create_time_ms, str(uuid.UUID(bytes=each.post_id))) for each in posts]
            if len(posts) < request.limit:
                return places
            request.before.create_time_ms = posts[-1].create_time_ms
            request.before.post_id = posts[-1].post_id


def _key(document: Mapping[str, object], other: str) -> Key:
    return str(document["post_id"]), str(document[other])


def _packed(ids: Iterable[str]) -> bytes:
    return b"".join(uuid.UUID(each).bytes for each in ids)
