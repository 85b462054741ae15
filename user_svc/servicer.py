"""AuthService and UserService: messages in, use case, messages out."""

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Literal
from uuid import UUID

from newsfeed.user.v1 import user_service_pb2 as pb

from svckit.auth.keys import SigningKeys, public_set
from svckit.auth.tokens import Role as TokenRole
from svckit.bounds import check
from svckit.context import calling_user_id, current_caller
from svckit.errors import InvalidArgument
from svckit.ids import MAX_ID
from svckit.page_tokens import PageTokens, page_size
from svckit.times import timestamp
from user_svc import model
from user_svc.accounts import Accounts
from user_svc.events import ROLES, public_user
from user_svc.model import SessionId, Tokens, User, UserId
from user_svc.sessions import Sessions

_ROLES_BY_NUMBER = {number: role for role, number in ROLES.items()}
_PROFILE_FIELDS: tuple[Literal["display_name", "bio", "avatar_url"], ...] = (
    "display_name",
    "bio",
    "avatar_url",
)
_RANK_MAX = 2**31 - 1


class AuthServicer:
    """Accounts, sessions and tokens."""

    def __init__(self, accounts: Accounts, sessions: Sessions, keys: SigningKeys) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._keys = keys

    async def SignUp(self, request: pb.SignUpRequest) -> pb.SignUpResponse:
        user, tokens = await self._accounts.sign_up(
            request.username, request.email, request.password, request.display_name
        )
        return pb.SignUpResponse(user=full_user(user), tokens=_tokens(tokens))

    async def LogIn(self, request: pb.LogInRequest) -> pb.LogInResponse:
        user, tokens = await self._sessions.log_in(request.login, request.password)
        return pb.LogInResponse(user=full_user(user), tokens=_tokens(tokens))

    async def RefreshTokens(self, request: pb.RefreshTokensRequest) -> pb.RefreshTokensResponse:
        tokens = await self._sessions.refresh(request.refresh_token)
        return pb.RefreshTokensResponse(tokens=_tokens(tokens))

    async def LogOut(self, request: pb.LogOutRequest) -> pb.LogOutResponse:
        session_id = current_caller().session_id
        assert session_id is not None
        ended = await self._sessions.log_out(
            calling_user(), SessionId(session_id), everywhere=request.all_sessions
        )
        return pb.LogOutResponse(ended_session_count=ended)

    async def ChangePassword(self, request: pb.ChangePasswordRequest) -> pb.ChangePasswordResponse:
        tokens = await self._sessions.change_password(
            calling_user(), request.current_password, request.new_password
        )
        return pb.ChangePasswordResponse(tokens=_tokens(tokens))

    async def GetJwks(self, _: pb.GetJwksRequest) -> pb.GetJwksResponse:
        keys = public_set(self._keys.keys().values())["keys"]
        return pb.GetJwksResponse(keys=[pb.Jwk(**key) for key in keys])

    async def ListRevocations(
        self, request: pb.ListRevocationsRequest
    ) -> pb.ListRevocationsResponse:
        has_since = request.HasField("since_time")
        since = request.since_time.ToDatetime(UTC) if has_since else None
        found = await self._sessions.revocations(since)
        return pb.ListRevocationsResponse(
            revocations=[
                pb.Revocation(
                    session_id=str(each.session_id), revoke_time=timestamp(each.revoke_time)
                )
                for each in found
            ]
        )


class UserServicer:
    """People and their profiles."""

    def __init__(self, accounts: Accounts, page_tokens: PageTokens) -> None:
        self._accounts = accounts
        self._page_tokens = page_tokens

    async def GetUser(self, request: pb.GetUserRequest) -> pb.GetUserResponse:
        if bool(request.user_id) == bool(request.username):
            described = "exactly one of user_id and username must be set"
            raise InvalidArgument.of("user_id", described)
        if request.username:
            user = await self._accounts.get_by_username(request.username)
        else:
            user = await self._accounts.get(UserId(UUID(request.user_id)))
        caller = current_caller()
        may_see_all = caller.role is TokenRole.ADMIN or caller.user_id == user.user_id
        return pb.GetUserResponse(user=full_user(user) if may_see_all else public_user(user))

    async def GetMe(self, _: pb.GetMeRequest) -> pb.GetMeResponse:
        return pb.GetMeResponse(user=full_user(await self._accounts.get(calling_user())))

    async def UpdateMe(self, request: pb.UpdateMeRequest) -> pb.UpdateMeResponse:
        meant = _meant_fields(request)
        changes = {
            name: getattr(request, name) if name in meant else None for name in _PROFILE_FIELDS
        }
        user = await self._accounts.update_profile(calling_user(), **changes)
        return pb.UpdateMeResponse(user=full_user(user))

    async def DeleteUser(self, request: pb.DeleteUserRequest) -> pb.DeleteUserResponse:
        user_id = UserId(UUID(request.user_id))
        is_admin = current_caller().role is TokenRole.ADMIN
        delete_time = await self._accounts.delete(calling_user(), user_id, is_admin=is_admin)
        return pb.DeleteUserResponse(user_id=str(user_id), delete_time=timestamp(delete_time))

    async def SearchUsers(self, request: pb.SearchUsersRequest) -> pb.SearchUsersResponse:
        size = page_size(request.page_size)
        scope = ("SearchUsers", str(calling_user()), request.query)
        before = self._page_tokens.position(request.page_token, scope, (_RANK_MAX, MAX_ID))
        found = await self._accounts.search(request.query, before, size + 1)
        places = [(rank, user.user_id) for user, rank in found]
        return pb.SearchUsersResponse(
            users=[public_user(user) for user, _ in found[:size]],
            next_page_token=next_page_token(self._page_tokens, scope, places, size),
        )

    async def ListUsers(self, request: pb.ListUsersRequest) -> pb.ListUsersResponse:
        size = page_size(request.page_size)
        role = _ROLES_BY_NUMBER[request.role] if request.role else None
        scope = ("ListUsers", str(calling_user()), str(request.role), request.query)
        (before,) = self._page_tokens.position(request.page_token, scope, (MAX_ID,))
        found = await self._accounts.list_all(role, request.query, before, size + 1)
        places = [(user.user_id,) for user in found]
        return pb.ListUsersResponse(
            users=[full_user(user) for user in found[:size]],
            next_page_token=next_page_token(self._page_tokens, scope, places, size),
        )

    async def SetRole(self, request: pb.SetRoleRequest) -> pb.SetRoleResponse:
        role = _ROLES_BY_NUMBER[request.role]
        user = await self._accounts.set_role(UserId(UUID(request.user_id)), role)
        return pb.SetRoleResponse(user=full_user(user))

    async def BatchGetUsers(self, request: pb.BatchGetUsersRequest) -> pb.BatchGetUsersResponse:
        if len(request.user_ids) + len(request.usernames) > model.BATCH_MAX:
            most = f"at most {model.BATCH_MAX} ids and usernames together"
            raise InvalidArgument.of("user_ids", most)
        # What can't be a username is nobody's; PostgreSQL refuses to look for U+0000.
        usernames = [each for each in request.usernames if "\0" not in each]
        users = await self._accounts.get_many([*map(UUID, request.user_ids)], usernames)
        return pb.BatchGetUsersResponse(users=[public_user(user) for user in users])


async def create_admin(accounts: Accounts, username: str, email: str, password: str) -> User:
    """For the command that makes the first admin: within the bounds of SignUp, as everybody."""
    check(pb.SignUpRequest(username=username, email=email, password=password))
    return await accounts.create_admin(username, email, password)


def calling_user() -> UserId:
    return UserId(calling_user_id())


def next_page_token(
    page_tokens: PageTokens,
    scope: Sequence[str],
    places: Sequence[Sequence[int | UUID]],
    size: int,
) -> str:
    """To go on after the first `size` of these places; empty when there are no more."""
    return page_tokens.encode(scope, places[size - 1]) if len(places) > size else ""


def full_user(user: User) -> pb.User:
    """A person as they see themselves: with the email address."""
    message = public_user(user)
    message.email = user.email
    return message


def _tokens(tokens: Tokens) -> pb.Tokens:
    return pb.Tokens(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        expire_time=timestamp(tokens.expire_time),
    )


def _meant_fields(request: pb.UpdateMeRequest) -> Iterable[str]:
    """The mask; without one, the fields that are present."""
    if not request.HasField("update_mask"):
        return [name for name in _PROFILE_FIELDS if request.HasField(name)]
    meant = set(request.update_mask.paths)
    if not meant <= set(_PROFILE_FIELDS):
        raise InvalidArgument.of("update_mask", f"may name {', '.join(_PROFILE_FIELDS)} only")
    if "display_name" in meant and not request.display_name:
        raise InvalidArgument.of("display_name", "must not be empty")
    return meant
