"""The contract without asyncio: clients with the synchronous stub, and our servicers called by one.

grpc_testing has no asyncio: a servicer of ours is behind a facade that runs its coroutines, and the
stub is called in a thread of its own.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

import grpc
import grpc_testing  # type: ignore[import-untyped]
import pytest
from google.protobuf.message import Message
from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import UserServiceStub

from svckit.auth.tokens import Caller
from svckit.auth.tokens import Role as TokenRole
from svckit.context import Call, current_call
from svckit.errors import DomainError
from svckit.ids import new_id
from svckit.page_tokens import PageTokens
from svckit.rpc.status import to_rpc_status
from svckit.validation import Fields
from tests.requests.refusals import refusal_of
from user_svc.model import Role, User, UserId, UserNotFound
from user_svc.servicer import UserServicer

if TYPE_CHECKING:
    from user_svc.accounts import Accounts

SERVICE = pb.DESCRIPTOR.services_by_name["UserService"]
ADA = User(
    user_id=UserId(UUID("01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7")),
    username="ada",
    email="ada@example.com",
    display_name="Ada",
    bio="",
    avatar_url="",
    role=Role.USER,
    create_time=datetime(2026, 11, 20, tzinfo=UTC),
)


@dataclass
class OnlyAda:
    """As much of the use cases as these tests need, for one person."""

    changes: list[dict[str, str | None]] = field(default_factory=list)

    async def get(self, user_id: UserId) -> User:
        if user_id != ADA.user_id:
            raise UserNotFound(user_id=str(user_id))
        return ADA

    async def update_profile(self, _: UserId, **changes: str | None) -> User:
        self.changes.append(changes)
        return ADA

    async def search(self, _: str, __: object, limit: int) -> list[tuple[User, int]]:
        return [(replace(ADA, user_id=UserId(new_id())), 7)] * limit


class Facade:
    """Serves as a synchronous servicer does, for one caller."""

    def __init__(self, servicer: object, caller: Caller) -> None:
        self._servicer = servicer
        self._call = Call(method="", request_id="", deadline_s=float("inf"), caller=caller)

    def __getattr__(self, name: str) -> Callable[[Message, grpc.ServicerContext], Message]:
        method = getattr(self._servicer, name)

        def serve(request: Message, context: grpc.ServicerContext) -> Message:
            current_call.set(self._call)
            try:
                return cast("Message", asyncio.run(method(request)))
            except DomainError as error:
                status = to_rpc_status(error)
                context.set_trailing_metadata(status.trailing_metadata)
                context.abort(status.code, status.message)

        return serve


def answer(
    request: Message,
    accounts: object,
    role: TokenRole = TokenRole.USER,
    user_id: UUID = ADA.user_id,
) -> tuple[Message, grpc.StatusCode]:
    """What UserService answers to this person."""
    caller = Caller(role, user_id, new_id(), None, "token-id", datetime.max.replace(tzinfo=UTC))
    servicer = UserServicer(cast("Accounts", accounts), PageTokens(bytes(32)))
    server = grpc_testing.server_from_dictionary(
        {SERVICE: Facade(servicer, caller)}, grpc_testing.strict_real_time()
    )
    name = type(request).__name__.removesuffix("Request")
    rpc = server.invoke_unary_unary(SERVICE.methods_by_name[name], (), request, None)
    response, _, code, _ = rpc.termination()
    return response, code


@pytest.mark.parametrize(
    ("role", "user_id", "shown"),
    [
        (TokenRole.USER, ADA.user_id, True),
        (TokenRole.USER, UUID(int=1), False),
        (TokenRole.MODERATOR, UUID(int=1), False),
        (TokenRole.ADMIN, UUID(int=1), True),
    ],
)
def test_an_email_address_shows_to_its_person_and_to_admins(
    role: TokenRole, user_id: UUID, *, shown: bool
) -> None:
    request = pb.GetUserRequest(user_id=str(ADA.user_id))
    response, code = answer(request, OnlyAda(), role, user_id)
    assert code is grpc.StatusCode.OK
    assert isinstance(response, pb.GetUserResponse)
    assert response.user.HasField("email") is shown


@pytest.mark.parametrize(
    ("request_fields", "mask", "meant"),
    [
        ({"bio": "new"}, None, {"bio": "new"}),
        ({"bio": ""}, None, {"bio": ""}),
        ({}, None, {}),
        ({"bio": "new", "display_name": "new"}, ["bio"], {"bio": "new"}),
        ({}, ["bio", "avatar_url"], {"bio": "", "avatar_url": ""}),
        ({"bio": "new"}, ["bio", "bio"], {"bio": "new"}),
    ],
)
def test_a_mask_says_which_fields_are_meant(
    request_fields: dict[str, str], mask: list[str] | None, meant: dict[str, str]
) -> None:
    accounts, request = OnlyAda(), pb.UpdateMeRequest()
    for name, value in request_fields.items():
        setattr(request, name, value)
    if mask is not None:
        request.update_mask.paths.extend(mask)
    answer(request, accounts)
    untouched = dict.fromkeys(("display_name", "bio", "avatar_url"))
    assert accounts.changes == [untouched | meant]


def test_a_page_is_never_longer_than_100() -> None:
    response, _ = answer(pb.SearchUsersRequest(query="a", page_size=10**9), OnlyAda())
    assert isinstance(response, pb.SearchUsersResponse)
    assert len(response.users) == 100
    assert response.next_page_token


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def ask(channel: object, thread: ThreadPoolExecutor) -> "Future[pb.GetUserResponse]":
    stub = UserServiceStub(cast("grpc.Channel", channel))
    request = pb.GetUserRequest(user_id=str(ADA.user_id))
    return thread.submit(
        stub.GetUser, request, timeout=5.0, metadata=(("authorization", "Bearer token"),)
    )


def test_a_synchronous_client_calls_by_the_contract(thread: ThreadPoolExecutor) -> None:
    channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
    future = ask(channel, thread)
    metadata, request, rpc = channel.take_unary_unary(SERVICE.methods_by_name["GetUser"])
    assert ("authorization", "Bearer token") in metadata
    response, code = answer(request, OnlyAda())
    rpc.send_initial_metadata(())
    rpc.terminate(response, (), code, "")
    assert future.result(5.0).user.username == "ada"


def test_a_synchronous_client_learns_reason_and_fields_of_an_error(
    thread: ThreadPoolExecutor,
) -> None:
    channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
    future = ask(channel, thread)
    _, _, rpc = channel.take_unary_unary(SERVICE.methods_by_name["GetUser"])
    fields = Fields()
    fields.refuse("user_id", "must be better")
    with pytest.raises(DomainError) as raised:
        fields.check()
    status = to_rpc_status(raised.value)
    rpc.send_initial_metadata(())
    rpc.terminate(None, status.trailing_metadata, status.code, status.message)
    error = future.exception(5.0)
    assert isinstance(error, grpc.RpcError)
    refused = refusal_of(cast("grpc.aio.AioRpcError", error))
    assert (refused.says, refused.fields) == ("INVALID_ARGUMENT INVALID_FIELD", ("user_id",))
