"""Questions to the other two services: to user_svc about people, to content_svc about posts.

Ids go in and come out as the 16 bytes they are at rest; text ends here. Every question is about
many at once, but for those of the fan-out, which concern one author.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.content.v1.content_service_pb2_grpc import ContentServiceStub
from newsfeed.feed.v1 import feed_service_pb2 as feed_pb
from newsfeed.user.v1 import user_service_pb2 as user_pb
from newsfeed.user.v1.user_service_pb2_grpc import GraphServiceStub, UserServiceStub

from feed_svc.model import (
    TOP,
    Hidden,
    Place,
    Post,
    PostId,
    Source,
    UserId,
    ViewerGraph,
    unpacked_users,
)
from svckit.events.delivery import TRANSIENT
from svckit.rpc.client import ServiceChannel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClientLimits:
    people_per_call_max: int = 500
    places_per_call_max: int = 500
    posts_per_call_max: int = 32  # the largest that there may be still fit into a message
    resumes_max: int = 3  # of a stream that brings nothing in between


class People:
    """user_svc."""

    def __init__(self, channel: ServiceChannel, limits: ClientLimits | None = None) -> None:
        self._limits = limits or ClientLimits()
        self._users = channel.stub(UserServiceStub)
        self._graph = channel.stub(GraphServiceStub)

    async def follower_count(self, user_id: UserId) -> int | None:
        """None = there is no such person."""
        response = await self._users.BatchGetUsers(
            user_pb.BatchGetUsersRequest(user_ids=[_text(user_id)])
        )
        return response.users[0].follower_count if response.users else None

    async def is_following(self, viewer_id: UserId, author_id: UserId) -> bool:
        response = await self._graph.BatchGetRelationships(
            user_pb.BatchGetRelationshipsRequest(viewer_id=_text(viewer_id), user_ids=author_id)
        )
        return response.relationships[0].is_following

    async def follower_ids(self, user_id: UserId) -> AsyncGenerator[bytes]:
        """All followers in packed chunks, ascending. A stream that breaks is gone on with."""
        request = user_pb.StreamFollowerIdsRequest(user_id=_text(user_id))
        breaks = 0
        while True:
            try:
                async with aclosing(self._graph.StreamFollowerIds(request)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        yield chunk.follower_ids
                        request.after = chunk.position
                        breaks = 0
                return
            except TRANSIENT:
                breaks += 1
                if breaks > self._limits.resumes_max:
                    raise

    async def graph(self, viewer_id: UserId) -> tuple[ViewerGraph, bytes]:
        """And a copy to keep, which `graph_of_copy` reads."""
        response = await self._graph.GetViewerGraph(
            user_pb.GetViewerGraphRequest(viewer_id=_text(viewer_id))
        )
        return _graph_of(response), response.SerializeToString()

    async def hidden(self, viewer_ids: Sequence[UserId]) -> dict[UserId, Hidden]:
        """Whom each of up to 500 viewers does not get to see."""
        response = await self._graph.BatchGetHiddenIds(
            user_pb.BatchGetHiddenIdsRequest(viewer_ids=b"".join(viewer_ids))
        )
        return {
            viewer_id: Hidden(frozenset(unpacked_users(found.user_ids)), found.truncated)
            for viewer_id, found in zip(viewer_ids, response.hidden, strict=True)
        }

    async def hidden_among(self, viewer_id: UserId, user_ids: Iterable[UserId]) -> set[UserId]:
        """The people hidden from the viewer: for viewers whose `hidden` is truncated."""
        hidden: set[UserId] = set()
        for asked in _groups([*user_ids], self._limits.people_per_call_max):
            response = await self._graph.BatchGetRelationships(
                user_pb.BatchGetRelationshipsRequest(
                    viewer_id=_text(viewer_id), user_ids=b"".join(asked)
                )
            )
            for user_id, found in zip(asked, response.relationships, strict=True):
                if found.is_blocking or found.is_blocked_by or found.is_muting:
                    hidden.add(user_id)
        return hidden

    async def cards(self, user_ids: Iterable[UserId]) -> dict[UserId, bytes]:
        """Of those who exist: as much as is shown beside a post, encoded."""
        cards: dict[UserId, bytes] = {}
        for asked in _groups([*user_ids], self._limits.people_per_call_max):
            response = await self._users.BatchGetUsers(
                user_pb.BatchGetUsersRequest(user_ids=[_text(each) for each in asked])
            )
            cards |= {UserId(UUID(user.user_id).bytes): _card(user) for user in response.users}
        return cards


class Contents:
    """content_svc."""

    def __init__(self, channel: ServiceChannel, limits: ClientLimits | None = None) -> None:
        self._limits = limits or ClientLimits()
        self._content = channel.stub(ContentServiceStub)

    async def posts(self, post_ids: Iterable[PostId]) -> dict[PostId, Post]:
        """The posts that are there, by their ids."""
        requests = (
            content_pb.BatchGetPostsRequest(post_ids=b"".join(asked))
            for asked in _groups([*post_ids], self._limits.posts_per_call_max)
        )
        responses = await asyncio.gather(*(self._content.BatchGetPosts(each) for each in requests))
        found = (post_of(post) for response in responses for post in response.posts)
        return {post.post_id: post for post in found}

    async def latest(self, known: Post) -> Post | None:
        """A post as it is now; None = gone.

        content_svc may answer as of a second ago, so the later of its answer and `known` counts.
        """
        response = await self._content.BatchGetPosts(
            content_pb.BatchGetPostsRequest(post_ids=known.post_id)
        )
        if not response.posts:
            return None
        versions = (content_pb.Post.FromString(known.encoded), response.posts[0])
        return post_of(max(versions, key=lambda each: each.update_time.ToMilliseconds()))

    async def newest(self, author_ids: Iterable[UserId], limit: int) -> Source:
        """The newest posts of these authors, from the top."""
        places = await self.by_authors(author_ids, TOP, limit)
        return Source(places, None if len(places) < limit else places[-1])

    async def by_authors(
        self, author_ids: Iterable[UserId], before: Place, limit: int
    ) -> list[Place]:
        """The newest posts of up to 10,001 authors below a place, newest first: the truth of feeds.

        Fewer than `limit` means that there are no more.
        """
        packed = b"".join(author_ids)
        places: list[Place] = []
        while packed and len(places) < limit:
            time_ms, post_id = places[-1] if places else before
            asked = min(limit - len(places), self._limits.places_per_call_max)
            response = await self._content.ListPostsByAuthors(
                content_pb.ListPostsByAuthorsRequest(
                    author_ids=packed,
                    before=content_pb.FeedPosition(create_time_ms=time_ms, post_id=post_id),
                    limit=asked,
                )
            )
            places += [(each.create_time_ms, PostId(each.post_id)) for each in response.posts]
            if len(response.posts) < asked:
                break
        return places


def graph_of_copy(data: bytes) -> tuple[ViewerGraph, Hidden]:
    """The copy that `People.graph` gave to keep, read: the graph, and the hidden people then."""
    response = user_pb.GetViewerGraphResponse.FromString(data)
    hidden = response.blocked_ids + response.blocked_by_ids + response.muted_ids
    return _graph_of(response), Hidden(
        frozenset(unpacked_users(hidden)), response.blocked_by_truncated
    )


def decode_post(data: bytes) -> Post:
    """From `Post.encoded`."""
    return post_of(content_pb.Post.FromString(data), data)


def _card(user: user_pb.User) -> bytes:
    return feed_pb.UserCard(
        user_id=user.user_id,
        username=user.username,
        display_name=user.display_name,
        avatar_url=user.avatar_url,
    ).SerializeToString()


def post_of(message: content_pb.Post, encoded: bytes | None = None) -> Post:
    """`encoded` = the message as bytes, from whoever has them."""
    shared_post_id = None
    if message.HasField("shared_post_id"):
        shared_post_id = PostId(UUID(message.shared_post_id).bytes)
    return Post(
        post_id=PostId(UUID(message.post_id).bytes),
        author_id=UserId(UUID(message.author_id).bytes),
        create_time_ms=message.create_time.ToMilliseconds(),
        shared_post_id=shared_post_id,
        encoded=message.SerializeToString() if encoded is None else encoded,
    )


def _graph_of(response: user_pb.GetViewerGraphResponse) -> ViewerGraph:
    return ViewerGraph(response.exists, frozenset(unpacked_users(response.followee_ids)))


def _text(user_id: UserId) -> str:
    return str(UUID(bytes=user_id))


def _groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
