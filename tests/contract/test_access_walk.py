"""Every rpc that is served, called as everybody: the answer is the one that the contract says."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from newsfeed.user.v1 import user_service_pb2 as pb

from devstack.programs import PROGRAMS
from svckit.auth.tokens import Role, UserTokenSigner
from svckit.ids import new_id
from svckit.rpc.limits import CallLimits
from svckit.rpc.table import RpcTable
from tests.contract.contract_descriptors import RPC_LIST, Rpc
from tests.polling import until
from tests.requests.refusals import refusal, refusal_of
from tests.requests.sensible_content_requests import CONTENT_REQUESTS
from tests.requests.sensible_feed_requests import FEED_REQUESTS, UNIMPLEMENTED
from tests.requests.sensible_requests import REQUESTS
from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_stack import FeedStack, open_feed_stack
from tests.stacks.rpc_server import NamedRoles, Servicer, bearer
from tests.stacks.user_stack import Client, Person, UserStack
from tests.troubles.forgeries import REVOKED_SESSION_ID, forgeries, genuine, genuine_service

Metadata = Sequence[tuple[str, str]]

USER_RPCS = [rpc for rpc in RPC_LIST if rpc.service.startswith("newsfeed.user.v1.")]
CONTENT_RPCS = [rpc for rpc in RPC_LIST if rpc.service.startswith("newsfeed.content.v1.")]
FEED_RPCS = [rpc for rpc in RPC_LIST if rpc.service.startswith("newsfeed.feed.v1.")]
SERVED_RPCS = USER_RPCS + CONTENT_RPCS + FEED_RPCS
EVERY_RPC = pytest.mark.parametrize("rpc", SERVED_RPCS, ids=lambda rpc: rpc.name)

PEOPLE = ("user", "other user", "moderator", "admin")
ALLOWED = {
    "PUBLIC": {*PEOPLE, "nobody", "service"},
    "USER": {*PEOPLE},
    "MODERATOR": {"moderator", "admin"},
    "ADMIN": {"admin"},
    "SERVICE": {"service"},
}
# What belongs to somebody: on top of its access rule it is for these only.
OWNERS_ONLY = {
    "UserService.DeleteUser": {"user", "admin"},
    "ContentService.UpdatePost": {"user"},
    "ContentService.DeletePost": {"user", "moderator", "admin"},
    "ContentService.DeleteComment": {"user", "moderator", "admin"},
}

# Headers that other systems trust; {admin} becomes an admin's id.
CLAIMS = [
    *(
        (prefix + key, value)
        for prefix in ("", "x-", "x-auth-", "x-forwarded-", "x-newsfeed-", "grpc-metadata-")
        for key, value in (("user-id", "{admin}"), ("user", "{admin}"), ("role", "admin"))
    ),
    ("sub", "{admin}"),
    ("remote-user", "{admin}"),
    ("x-service-name", "feed_svc"),
    ("x-role", "service"),
    ("x-authorization", "Bearer {admin}"),
    ("cookie", "user_id={admin}; role=admin"),
]


def key_of(rpc: Rpc) -> str:
    return ".".join(rpc.full_name.split(".")[-2:])


@pytest.fixture(scope="module")
async def stack(
    redis_url: str, content_stack: ContentStack, keys_folder: Path
) -> AsyncIterator[FeedStack]:
    """All three services, without traffic between them: what is stored changes by calls alone."""
    opened = open_feed_stack(redis_url, redis_url, content_stack, keys_folder, has_traffic=False)
    async with opened as feed_stack:
        yield feed_stack


async def request_for(stack: FeedStack, rpc: Rpc, owner: Person) -> Message:
    if rpc in FEED_RPCS:
        return FEED_REQUESTS[key_of(rpc)](owner)
    if rpc in CONTENT_RPCS:
        return await CONTENT_REQUESTS[key_of(rpc)](stack.contents, owner)
    return await REQUESTS[key_of(rpc)](stack.contents.people, owner)


async def answer(stack: FeedStack, rpc: Rpc, data: bytes, metadata: Metadata) -> str:
    call_raw = stack.contents.people.call_raw
    if rpc in FEED_RPCS:
        call_raw = stack.call_raw
    elif rpc in CONTENT_RPCS:
        call_raw = stack.contents.call_raw
    try:
        await call_raw(key_of(rpc), data, metadata)
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).says
    return "OK"


def allowed_answer(rpc: Rpc) -> str:
    return "UNIMPLEMENTED UNIMPLEMENTED" if key_of(rpc) in UNIMPLEMENTED else "OK"


def expected_answer(rpc: Rpc, name: str) -> str:
    if name in OWNERS_ONLY.get(key_of(rpc), ALLOWED[rpc.access]):
        return allowed_answer(rpc)
    if name == "nobody":
        return "UNAUTHENTICATED TOKEN_MISSING"
    return "PERMISSION_DENIED PERMISSION_DENIED"


def test_every_program_is_walked_through() -> None:
    serving = [program.name for program in PROGRAMS if not program.serves_http]
    walked = {rpc.service.split(".")[1] for rpc in SERVED_RPCS}  # newsfeed.user.v1.UserService
    assert walked == {name.removesuffix("_svc") for name in serving}


async def client(stack: UserStack, name: str) -> Client:
    match name:
        case "nobody":
            return stack.nobody
        case "other user":
            return await stack.sign_up("other")
        case "moderator":
            return await stack.sign_up_with_role(pb.ROLE_MODERATOR)
        case "admin":
            return await admin_beside_another(stack)
        case _:
            return stack.service


async def admin_beside_another(stack: UserStack) -> Person:
    """One who may also be deleted, as there is another."""
    await stack.sign_up_with_role(pb.ROLE_ADMIN, "keeper")
    return await stack.sign_up_with_role(pb.ROLE_ADMIN, "admin")


async def request_that_is_repeatable(stack: FeedStack, rpc: Rpc, person: Person) -> bytes:
    """Sensible where nobody may make it; empty where anybody may, so that it changes nothing."""
    if rpc.access == "PUBLIC":
        return b""
    return (await request_for(stack, rpc, person)).SerializeToString()


def expired(stack: UserStack, user_id: UUID) -> dict[str, str]:
    """What the real signer made an hour ago."""
    signer = UserTokenSigner(stack.app.keys, clock=lambda: time.time() - 3600)
    return {"expired, of the signer": signer.sign(user_id, new_id(), Role.ADMIN)[0]}


async def circle_of_people(stack: UserStack) -> list[Person]:
    """The first follows, blocks and mutes some, is followed by one, and has a suggestion."""
    user, friend, stranger = [await stack.sign_up(name) for name in ("user", "friend", "stranger")]
    await user.act("Follow", friend)
    await friend.act("Follow", user)
    await friend.act("Follow", stranger)
    blocked, muted = await stack.sign_up("blocked"), await stack.sign_up("muted")
    await user.act("Block", blocked)
    await user.act("Mute", muted)
    return [user, friend, stranger, blocked, muted]


def test_every_rpc_has_a_request_to_walk_with() -> None:
    assert set(REQUESTS) == {key_of(rpc) for rpc in USER_RPCS}
    assert set(CONTENT_REQUESTS) == {key_of(rpc) for rpc in CONTENT_RPCS}
    assert set(FEED_REQUESTS) == {key_of(rpc) for rpc in FEED_RPCS}


@EVERY_RPC
async def test_each_kind_of_caller_gets_what_the_contract_says(stack: FeedStack, rpc: Rpc) -> None:
    user_stack = stack.contents.people

    async def answer_to(name: str) -> str:
        user = await user_stack.sign_up("user")  # anew: some rpcs use their caller up
        caller = user if name == "user" else await client(user_stack, name)
        data = (await request_for(stack, rpc, user)).SerializeToString()
        return await answer(stack, rpc, data, caller.metadata)

    names = ("nobody", *PEOPLE, "service")
    answers = dict(zip(names, await asyncio.gather(*map(answer_to, names)), strict=True))
    assert answers == {name: expected_answer(rpc, name) for name in names}


@EVERY_RPC
async def test_no_forged_or_expired_token_passes(stack: FeedStack, rpc: Rpc) -> None:
    user_stack = stack.contents.people
    admin = await admin_beside_another(user_stack)
    user_keys, service_keys = user_stack.app.keys, user_stack.service_keys
    now, user_id = time.time(), UUID(admin.user_id)
    for each in (user_stack, stack.contents, stack):
        each.revocations.add(REVOKED_SESSION_ID)
    forged = forgeries(user_keys, service_keys, now, user_id) | expired(user_stack, user_id)
    data = await request_that_is_repeatable(stack, rpc, admin)
    as_nobody = await answer(stack, rpc, data, ())
    expected = dict.fromkeys(forged, "UNAUTHENTICATED TOKEN_INVALID")
    expected["revoked session"] = "UNAUTHENTICATED TOKEN_REVOKED"
    for name in forged:
        if re.match(r"expired", name):
            expected[name] = "UNAUTHENTICATED TOKEN_EXPIRED"
    if rpc.access == "PUBLIC":  # no token is needed, so a bad one counts as none
        expected = dict.fromkeys(forged, as_nobody)
    before = await stack.digest()
    headers = [bearer(token) for token in forged.values()]
    answers = await asyncio.gather(*(answer(stack, rpc, data, metadata) for metadata in headers))
    assert dict(zip(forged, answers, strict=True)) == expected
    assert await stack.digest() == before
    # What they were forged from is accepted: each was refused for what is wrong with it.
    of_service = genuine_service(service_keys, now)
    of_admin = genuine(user_keys, now, user_id)
    right = bearer(of_service if rpc.access == "SERVICE" else of_admin)
    assert await answer(stack, rpc, data, right) == (
        as_nobody if rpc.access == "PUBLIC" else allowed_answer(rpc)
    )


@EVERY_RPC
async def test_identity_in_metadata_counts_for_nothing(stack: FeedStack, rpc: Rpc) -> None:
    user_stack = stack.contents.people
    user, admin = await user_stack.sign_up("user"), await admin_beside_another(user_stack)
    data = await request_that_is_repeatable(stack, rpc, admin)
    claims = [(key, value.format(admin=admin.user_id)) for key, value in CLAIMS]
    as_nobody = await answer(stack, rpc, data, ())
    before = await stack.digest()
    headers = [*([claim] for claim in claims), claims]
    answers = await asyncio.gather(*(answer(stack, rpc, data, metadata) for metadata in headers))
    others = {
        str(metadata): told
        for metadata, told in zip(headers, answers, strict=True)
        if told != as_nobody
    }
    assert not others
    if rpc.access in {"ADMIN", "SERVICE"}:
        denied = await answer(stack, rpc, data, [*user.metadata, *claims])
        assert denied == "PERMISSION_DENIED PERMISSION_DENIED"
    assert await stack.digest() == before


async def test_one_is_who_the_token_says_whatever_else_is_said(user_stack: UserStack) -> None:
    user, admin = await user_stack.sign_up("user"), await admin_beside_another(user_stack)
    claims = [(key, value.format(admin=admin.user_id)) for key, value in CLAIMS]
    call = user_stack.nobody.users.GetMe(pb.GetMeRequest(), metadata=[*user.metadata, *claims])
    assert (await call).user.user_id == user.user_id


@pytest.mark.parametrize(
    "spelling", ["{}", "bearer {}", "BEARER {}", "Bearer  {}", "Basic {}", "JWT {}"]
)
async def test_a_token_counts_only_as_the_bearer(user_stack: UserStack, spelling: str) -> None:
    user = await user_stack.sign_up("user")
    call = user_stack.nobody.users.GetMe(
        pb.GetMeRequest(), metadata=[("authorization", spelling.format(user.tokens.access_token))]
    )
    assert (await refusal(call)).says == "UNAUTHENTICATED TOKEN_INVALID"


async def test_two_tokens_are_none(user_stack: UserStack) -> None:
    user, other = await user_stack.sign_up("user"), await user_stack.sign_up("other")
    for metadata in ([*user.metadata, *other.metadata], [*user.metadata, *user.metadata]):
        call = user_stack.nobody.users.GetMe(pb.GetMeRequest(), metadata=metadata)
        assert (await refusal(call)).says == "UNAUTHENTICATED TOKEN_INVALID"


async def test_an_email_address_shows_to_its_person_and_to_admins_only(
    user_stack: UserStack,
) -> None:
    """Every rpc that only reads, about friends, foes and strangers."""
    people = await circle_of_people(user_stack)
    user = people[0]
    for rpc in USER_RPCS:
        if rpc.idempotency != "NO_SIDE_EFFECTS" or rpc.access in {"ADMIN", "PUBLIC"}:
            continue
        caller = user_stack.service if rpc.access == "SERVICE" else user
        seen = set()
        for owner in people:
            request = await REQUESTS[key_of(rpc)](user_stack, owner)
            sent = request.SerializeToString()
            data = await user_stack.call_raw(key_of(rpc), sent, caller.metadata)
            seen |= set(re.findall(rb"[a-z0-9_]+@example\.com", data))
        assert seen <= {user.user.email.encode()}, rpc.full_name
    assert (await user.users.GetMe(pb.GetMeRequest())).user.email == user.user.email


async def test_an_admin_sees_email_addresses(user_stack: UserStack) -> None:
    user, admin = await user_stack.sign_up("user"), await admin_beside_another(user_stack)
    found = await admin.users.GetUser(pb.GetUserRequest(user_id=user.user_id))
    assert found.user.email == user.user.email
    listed = await admin.users.ListUsers(pb.ListUsersRequest(query=user.user.username))
    assert [each.email for each in listed.users] == [user.user.email]


async def test_health_needs_no_token(user_stack: UserStack) -> None:
    check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
    check = user_stack.channel.unary_unary("/grpc.health.v1.Health/Check")
    serving = HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()
    for service in ("", *(each.full_name for each in pb.DESCRIPTOR.services_by_name.values())):
        request = HealthCheckRequest(service=service).SerializeToString()

        async def is_serving(request: bytes = request) -> bool:
            return await check(request) == serving

        await until(is_serving)


def test_an_rpc_without_an_access_rule_cannot_be_bound() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="open.proto", package="open", syntax="proto3")
    file.message_type.add(name="Message")
    method = file.service.add(name="OpenService").method.add(name="Open")
    method.input_type = method.output_type = ".open.Message"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    service = pool.FindServiceByName("open.OpenService")
    table = RpcTable(NamedRoles(), CallLimits())
    with pytest.raises(ValueError, match=r"/open\.OpenService/Open does not say who may call it"):
        table.bind(service, Servicer({}))
