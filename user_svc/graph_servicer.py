"""GraphService: messages in, use case, messages out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from newsfeed.user.v1 import user_service_pb2 as pb

from svckit.ids import ID_BYTES, MAX_ID, NIL_ID, unpack_ids
from svckit.page_tokens import PageTokens, page_size
from svckit.times import timestamp
from user_svc.events import public_user
from user_svc.graph import Graph
from user_svc.model import EdgeKind, Relationship, User, UserId
from user_svc.servicer import calling_user, next_page_token

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = 2**53
_COUNT_MAX = 2**31 - 1

ListPage = Callable[[tuple[datetime, UUID], int], Awaitable[Sequence[tuple[User, datetime]]]]


class GraphServicer:
    """Follows, blocks and mutes."""

    def __init__(self, graph: Graph, page_tokens: PageTokens) -> None:
        self._graph = graph
        self._page_tokens = page_tokens

    async def FollowUser(self, request: pb.FollowUserRequest) -> pb.FollowUserResponse:
        return pb.FollowUserResponse(
            relationship=await _relationship(self._graph.follow, request.user_id)
        )

    async def UnfollowUser(self, request: pb.UnfollowUserRequest) -> pb.UnfollowUserResponse:
        return pb.UnfollowUserResponse(
            relationship=await _relationship(self._graph.unfollow, request.user_id)
        )

    async def BlockUser(self, request: pb.BlockUserRequest) -> pb.BlockUserResponse:
        return pb.BlockUserResponse(
            relationship=await _relationship(self._graph.block, request.user_id)
        )

    async def UnblockUser(self, request: pb.UnblockUserRequest) -> pb.UnblockUserResponse:
        return pb.UnblockUserResponse(
            relationship=await _relationship(self._graph.unblock, request.user_id)
        )

    async def MuteUser(self, request: pb.MuteUserRequest) -> pb.MuteUserResponse:
        return pb.MuteUserResponse(
            relationship=await _relationship(self._graph.mute, request.user_id)
        )

    async def UnmuteUser(self, request: pb.UnmuteUserRequest) -> pb.UnmuteUserResponse:
        return pb.UnmuteUserResponse(
            relationship=await _relationship(self._graph.unmute, request.user_id)
        )

    async def GetRelationship(
        self, request: pb.GetRelationshipRequest
    ) -> pb.GetRelationshipResponse:
        return pb.GetRelationshipResponse(
            relationship=await _relationship(self._graph.relationship, request.user_id)
        )

    async def ListFollowers(self, request: pb.ListFollowersRequest) -> pb.ListFollowersResponse:
        user_id = UserId(UUID(request.user_id))
        scope = ("ListFollowers", str(user_id))
        page = partial(self._graph.list_followers, user_id)
        users, next_page_token = await self._list(request, scope, page)
        return pb.ListFollowersResponse(users=users, next_page_token=next_page_token)

    async def ListFollowing(self, request: pb.ListFollowingRequest) -> pb.ListFollowingResponse:
        user_id = UserId(UUID(request.user_id))
        scope = ("ListFollowing", str(user_id))
        page = partial(self._graph.list_edges, EdgeKind.FOLLOW, user_id)
        users, next_page_token = await self._list(request, scope, page)
        return pb.ListFollowingResponse(users=users, next_page_token=next_page_token)

    async def ListBlocks(self, request: pb.ListBlocksRequest) -> pb.ListBlocksResponse:
        page = partial(self._graph.list_edges, EdgeKind.BLOCK, calling_user())
        users, next_page_token = await self._list(request, ("ListBlocks",), page)
        return pb.ListBlocksResponse(users=users, next_page_token=next_page_token)

    async def ListMutes(self, request: pb.ListMutesRequest) -> pb.ListMutesResponse:
        page = partial(self._graph.list_edges, EdgeKind.MUTE, calling_user())
        users, next_page_token = await self._list(request, ("ListMutes",), page)
        return pb.ListMutesResponse(users=users, next_page_token=next_page_token)

    async def _list(
        self,
        request: "pb.ListFollowersRequest | pb.ListFollowingRequest | pb.ListBlocksRequest"
        " | pb.ListMutesRequest",
        listing: Sequence[str],
        page: ListPage,
    ) -> tuple[list[pb.User], str]:
        """A page of people, newest edge first, and where the next one begins."""
        size = page_size(request.page_size)
        scope = (*listing, str(calling_user()))
        edge_time_us, last_id = self._page_tokens.position(
            request.page_token, scope, (_LATEST, MAX_ID)
        )
        found = await page((_EPOCH + edge_time_us * _MICROSECOND, last_id), size + 1)
        places = [((time - _EPOCH) // _MICROSECOND, user.user_id) for user, time in found]
        users = [public_user(user) for user, _ in found[:size]]
        return users, next_page_token(self._page_tokens, scope, places, size)

    async def SuggestUsers(self, request: pb.SuggestUsersRequest) -> pb.SuggestUsersResponse:
        size = page_size(request.page_size)
        scope = ("SuggestUsers", str(calling_user()))
        before = self._page_tokens.position(request.page_token, scope, (_COUNT_MAX, MAX_ID))
        found = await self._graph.suggestions(calling_user(), before, size + 1)
        places = [(mutual_count, user.user_id) for user, mutual_count in found]
        return pb.SuggestUsersResponse(
            suggestions=[
                pb.Suggestion(user=public_user(user), mutual_count=mutual_count)
                for user, mutual_count in found[:size]
            ],
            next_page_token=next_page_token(self._page_tokens, scope, places, size),
        )

    async def StreamFollowerIds(
        self, request: pb.StreamFollowerIdsRequest
    ) -> AsyncIterator[pb.StreamFollowerIdsResponse]:
        user_id = UserId(UUID(request.user_id))
        after = UUID(bytes=request.after) if request.after else NIL_ID
        async for packed in self._graph.stream_follower_ids(user_id, after):
            yield pb.StreamFollowerIdsResponse(follower_ids=packed, position=packed[-ID_BYTES:])

    async def ListFolloweeIds(
        self, request: pb.ListFolloweeIdsRequest
    ) -> pb.ListFolloweeIdsResponse:
        packed = await self._graph.followee_ids(UserId(UUID(request.user_id)))
        return pb.ListFolloweeIdsResponse(followee_ids=packed)

    async def BatchGetRelationships(
        self, request: pb.BatchGetRelationshipsRequest
    ) -> pb.BatchGetRelationshipsResponse:
        viewer_id = UserId(UUID(request.viewer_id))
        other_ids = unpack_ids(request.user_ids, "user_ids")
        found = await self._graph.relationships(viewer_id, other_ids)
        return pb.BatchGetRelationshipsResponse(
            relationships=[
                pb.FullRelationship(
                    is_following=each.is_following,
                    is_followed_by=each.is_followed_by,
                    is_blocking=each.is_blocking,
                    is_blocked_by=each.is_blocked_by,
                    is_muting=each.is_muting,
                    exists=each.exists,
                )
                for each in found
            ]
        )

    async def BatchGetHiddenIds(
        self, request: pb.BatchGetHiddenIdsRequest
    ) -> pb.BatchGetHiddenIdsResponse:
        found = await self._graph.hidden_ids(unpack_ids(request.viewer_ids, "viewer_ids"))
        return pb.BatchGetHiddenIdsResponse(
            hidden=[
                pb.HiddenIds(truncated=True) if packed is None else pb.HiddenIds(user_ids=packed)
                for packed in found
            ]
        )

    async def GetViewerGraph(self, request: pb.GetViewerGraphRequest) -> pb.GetViewerGraphResponse:
        found = await self._graph.viewer_graph(UserId(UUID(request.viewer_id)))
        return pb.GetViewerGraphResponse(
            followee_ids=found.followee_ids,
            blocked_ids=found.blocked_ids,
            blocked_by_ids=found.blocked_by_ids,
            blocked_by_truncated=found.blocked_by_truncated,
            muted_ids=found.muted_ids,
            read_time=timestamp(found.read_time),
            exists=found.exists,
        )


async def _relationship(
    use_case: Callable[[UserId, UserId], Awaitable[Relationship]], other_id: str
) -> pb.Relationship:
    """Of the caller and another person, as the use case leaves it."""
    found = await use_case(calling_user(), UserId(UUID(other_id)))
    return pb.Relationship(
        is_following=found.is_following,
        is_followed_by=found.is_followed_by,
        is_blocking=found.is_blocking,
        is_muting=found.is_muting,
    )
