"""For every rpc of user_svc a request that succeeds for whoever may call it.

`REQUESTS[rpc](stack, owner)` makes it, and whatever it needs; `owner` is the person whom it names,
where an rpc is about somebody who may be the caller.
"""

import uuid
from collections.abc import Awaitable, Callable
from copy import deepcopy
from datetime import UTC, datetime

from google.protobuf.message import Message
from newsfeed.user.v1 import user_service_pb2 as pb

from svckit.times import timestamp
from tests.stacks.user_stack import PASSWORD, Person, UserStack

MakeRequest = Callable[[UserStack, Person], Awaitable[Message]]


async def _sign_up(_: UserStack, __: Person) -> Message:
    name = f"new_{uuid.uuid4().hex[:12]}"
    return pb.SignUpRequest(username=name, email=f"{name}@example.com", password=PASSWORD)


async def _refresh(stack: UserStack, _: Person) -> Message:
    person = await stack.sign_up()
    return pb.RefreshTokensRequest(refresh_token=person.tokens.refresh_token)


async def _set_role(stack: UserStack, _: Person) -> Message:
    person = await stack.sign_up()
    return pb.SetRoleRequest(user_id=person.user_id, role=pb.ROLE_MODERATOR)


def _fixed(request: Message) -> MakeRequest:
    async def make(_: UserStack, __: Person) -> Message:
        return deepcopy(request)

    return make


def _about(make_request: Callable[[Person], Message]) -> MakeRequest:
    async def make(_: UserStack, owner: Person) -> Message:
        return make_request(owner)

    return make


def _to_another(request_class: Callable[..., Message]) -> MakeRequest:
    """Names somebody whom nobody knows."""

    async def make(stack: UserStack, _: Person) -> Message:
        return request_class(user_id=(await stack.sign_up()).user_id)

    return make


REQUESTS: dict[str, MakeRequest] = {
    "AuthService.SignUp": _sign_up,
    "AuthService.LogIn": _about(
        lambda owner: pb.LogInRequest(login=owner.user.username, password=PASSWORD)
    ),
    "AuthService.RefreshTokens": _refresh,
    "AuthService.LogOut": _fixed(pb.LogOutRequest()),
    "AuthService.ChangePassword": _fixed(
        pb.ChangePasswordRequest(current_password=PASSWORD, new_password=PASSWORD[::-1])
    ),
    "AuthService.GetJwks": _fixed(pb.GetJwksRequest()),
    "AuthService.ListRevocations": _fixed(
        pb.ListRevocationsRequest(since_time=timestamp(datetime.now(UTC)))
    ),
    "UserService.GetUser": _about(lambda owner: pb.GetUserRequest(user_id=owner.user_id)),
    "UserService.GetMe": _fixed(pb.GetMeRequest()),
    "UserService.UpdateMe": _fixed(pb.UpdateMeRequest(bio="I was here")),
    "UserService.DeleteUser": _about(lambda owner: pb.DeleteUserRequest(user_id=owner.user_id)),
    "UserService.SearchUsers": _about(
        lambda owner: pb.SearchUsersRequest(query=owner.user.username)
    ),
    "UserService.ListUsers": _about(lambda owner: pb.ListUsersRequest(query=owner.user.username)),
    "UserService.SetRole": _set_role,
    "UserService.BatchGetUsers": _about(
        lambda owner: pb.BatchGetUsersRequest(user_ids=[owner.user_id])
    ),
    "GraphService.FollowUser": _to_another(pb.FollowUserRequest),
    "GraphService.UnfollowUser": _to_another(pb.UnfollowUserRequest),
    "GraphService.BlockUser": _to_another(pb.BlockUserRequest),
    "GraphService.UnblockUser": _to_another(pb.UnblockUserRequest),
    "GraphService.MuteUser": _to_another(pb.MuteUserRequest),
    "GraphService.UnmuteUser": _to_another(pb.UnmuteUserRequest),
    "GraphService.GetRelationship": _about(
        lambda owner: pb.GetRelationshipRequest(user_id=owner.user_id)
    ),
    "GraphService.ListFollowers": _about(
        lambda owner: pb.ListFollowersRequest(user_id=owner.user_id)
    ),
    "GraphService.ListFollowing": _about(
        lambda owner: pb.ListFollowingRequest(user_id=owner.user_id)
    ),
    "GraphService.ListBlocks": _fixed(pb.ListBlocksRequest()),
    "GraphService.ListMutes": _fixed(pb.ListMutesRequest()),
    "GraphService.SuggestUsers": _fixed(pb.SuggestUsersRequest()),
    "GraphService.StreamFollowerIds": _about(
        lambda owner: pb.StreamFollowerIdsRequest(user_id=owner.user_id)
    ),
    "GraphService.ListFolloweeIds": _about(
        lambda owner: pb.ListFolloweeIdsRequest(user_id=owner.user_id)
    ),
    "GraphService.BatchGetRelationships": _about(
        lambda owner: pb.BatchGetRelationshipsRequest(
            viewer_id=owner.user_id, user_ids=owner.id_bytes
        )
    ),
    "GraphService.BatchGetHiddenIds": _about(
        lambda owner: pb.BatchGetHiddenIdsRequest(viewer_ids=owner.id_bytes)
    ),
    "GraphService.GetViewerGraph": _about(
        lambda owner: pb.GetViewerGraphRequest(viewer_id=owner.user_id)
    ),
}
