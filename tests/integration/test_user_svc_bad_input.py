"""Every field of every request of user_svc with every kind of bad value.

The fields come from the descriptors: a new one is tested without being listed. Whatever is wrong is
refused with a reason and the field's name, never with INTERNAL, and changes nothing.
"""

from copy import deepcopy

import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from newsfeed.options.v1 import options_pb2
from newsfeed.user.v1 import user_service_pb2 as pb

from tests.requests.bad_values import BAD, INVALID_FIELD, NO_UTF8, OK, Case, check
from tests.requests.refusals import refusal
from tests.requests.sensible_requests import REQUESTS
from tests.stacks.user_stack import PASSWORD, Client, Person, UserStack

WRONG_CREDENTIALS = "UNAUTHENTICATED WRONG_CREDENTIALS"

GOOD = {
    "username": "somebody",
    "usernames": "somebody",
    "email": "somebody@example.com",
    "login": "somebody",
    "password": PASSWORD,
    "current_password": PASSWORD,
    "new_password": PASSWORD,
    "display_name": "Some Body",
    "bio": "I am somebody.",
    "avatar_url": "https://example.com/somebody.png",
    "query": "some",
    "refresh_token": "A" * 88,
    "page_token": "A" * 88,
    "user_id": "01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7",
    "user_ids": "01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7",
    "viewer_id": "01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7",
}
HARMLESS_IN_SECRETS = {name for name, value in BAD.items() if "{}" in value} - {"NUL"}
BLANK = {"only spaces", "only wide spaces"}

# What is not INVALID_FIELD, by field, or by rpc and field.
PECULIAR: dict[str, dict[str, str]] = {
    "page_token": dict.fromkeys(BAD, "INVALID_ARGUMENT INVALID_PAGE_TOKEN") | {"empty": OK},
    "refresh_token": dict.fromkeys(BAD, "UNAUTHENTICATED REFRESH_TOKEN_INVALID"),
    "usernames": dict.fromkeys(BAD, OK),  # what can't be a username is nobody's
    "login": dict.fromkeys(HARMLESS_IN_SECRETS | BLANK, WRONG_CREDENTIALS),
    "LogIn.password": dict.fromkeys(HARMLESS_IN_SECRETS | BLANK | {"NUL"}, WRONG_CREDENTIALS),
    "current_password": dict.fromkeys(
        HARMLESS_IN_SECRETS | BLANK | {"NUL"}, "PERMISSION_DENIED WRONG_PASSWORD"
    ),
    "SignUp.password": dict.fromkeys(HARMLESS_IN_SECRETS, OK),
    "new_password": dict.fromkeys(HARMLESS_IN_SECRETS, OK),
    "SignUp.display_name": {"empty": OK},
    "bio": dict.fromkeys(BLANK | {"empty"}, OK),
    "avatar_url": {"empty": OK},
    "ListUsers.query": dict.fromkeys(BLANK | {"empty"}, OK),
}
METHODS = {
    f"{service.name}.{method.name}": method
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
FIELDS = [(rpc, field) for rpc, method in METHODS.items() for field in method.input_type.fields]


def every_field(kind: int) -> pytest.MarkDecorator:
    """Parameters: each rpc with each of its request's fields of this type."""
    found = [(rpc, field) for rpc, field in FIELDS if field.type == kind]
    ids = [f"{rpc.partition('.')[2]}.{field.name}" for rpc, field in found]
    return pytest.mark.parametrize(("rpc", "field"), found, ids=ids)


async def client_for(stack: UserStack, method: MethodDescriptor, owner: Person) -> Client:
    match method.GetOptions().Extensions[options_pb2.access]:
        case options_pb2.ACCESS_PUBLIC:
            return stack.nobody
        case options_pb2.ACCESS_USER:
            return owner
        case options_pb2.ACCESS_ADMIN:
            return await stack.sign_up_with_role(pb.ROLE_ADMIN)
        case _:
            return stack.service


async def sensible(stack: UserStack, rpc: str) -> tuple[Client, Message]:
    """A request that succeeds, perhaps only once, and who may send it."""
    owner = await stack.sign_up("owner")
    request = await REQUESTS[rpc](stack, owner)
    if rpc == "UserService.GetUser":  # its two fields exclude each other
        request.Clear()
    return await client_for(stack, METHODS[rpc], owner), request


def case_of(
    good: tuple[Client, Message],
    field: FieldDescriptor,
    value: object,
    expected: str = INVALID_FIELD,
    name: str = "",
) -> Case:
    """The same but for one field."""
    client, request = good[0], deepcopy(good[1])
    request.ClearField(field.name)
    if field.is_repeated:
        getattr(request, field.name).append(value)
    else:
        setattr(request, field.name, value)
    return Case(name or repr(value), client, request.SerializeToString(), expected)


@every_field(FieldDescriptor.TYPE_STRING)
async def test_bad_text(user_stack: UserStack, rpc: str, field: FieldDescriptor) -> None:
    peculiar = PECULIAR.get(f"{rpc.partition('.')[2]}.{field.name}", PECULIAR.get(field.name, {}))
    good = await sensible(user_stack, rpc)
    cases = []
    for name, pattern in BAD.items():
        value = pattern.replace("{}", GOOD[field.name])
        expected = peculiar.get(name, INVALID_FIELD)
        fresh = await sensible(user_stack, rpc) if expected == OK else good
        cases.append(case_of(fresh, field, value, expected, name))
    named = f"{field.name}[0]" if field.is_repeated else field.name
    if rpc == "UserService.GetUser" and field.name == "username":
        empty = cases.pop(0)
        await check(user_stack, rpc, [empty], "user_id")
    await check(user_stack, rpc, cases, named)


@every_field(FieldDescriptor.TYPE_STRING)
async def test_text_that_is_none(user_stack: UserStack, rpc: str, field: FieldDescriptor) -> None:
    text = case_of(await sensible(user_stack, rpc), field, "@@@")
    cases = [
        Case(name, text.client, text.data.replace(b"@@@", raw), "INVALID_ARGUMENT INVALID_MESSAGE")
        for name, raw in NO_UTF8.items()
    ]
    await check(user_stack, rpc, cases, "")


@pytest.mark.parametrize("rpc", METHODS)
async def test_bytes_that_are_no_message(user_stack: UserStack, rpc: str) -> None:
    client = await client_for(user_stack, METHODS[rpc], await user_stack.sign_up())
    cases = [
        Case(str(data), client, data, "INVALID_ARGUMENT INVALID_MESSAGE")
        for data in (b"\xff", b"\x0a\x05abc", b"\x0b" * 500, b"\x0a\xff\xff\xff\xff\x0f")
    ]
    await check(user_stack, rpc, cases, "")


@every_field(FieldDescriptor.TYPE_INT32)
async def test_bad_numbers(user_stack: UserStack, rpc: str, field: FieldDescriptor) -> None:
    assert field.name == "page_size"
    good = await sensible(user_stack, rpc)
    cases = [
        case_of(good, field, value, OK if value >= 0 else INVALID_FIELD)
        for value in (-1, -(2**31), 0, 1, 10**9, 2**31 - 1)
    ]
    await check(user_stack, rpc, cases, "page_size")


@every_field(FieldDescriptor.TYPE_ENUM)
async def test_bad_enums(user_stack: UserStack, rpc: str, field: FieldDescriptor) -> None:
    good = await sensible(user_stack, rpc)
    cases = []
    for value in (-1, 0, 4, 99, 2**31 - 1):
        expected = OK if value == 0 and rpc == "UserService.ListUsers" else INVALID_FIELD
        cases.append(case_of(good, field, value, expected))
    await check(user_stack, rpc, cases, field.name)


BAD_BYTES = {
    "StreamFollowerIds.after": (1, 15, 17, 32, 2**20),
    "BatchGetRelationships.user_ids": (1, 15, 17, 16 * 500 + 1, 16 * 501, 2**20),
    "BatchGetHiddenIds.viewer_ids": (1, 15, 17, 16 * 500 + 1, 16 * 501, 2**20),
}


@every_field(FieldDescriptor.TYPE_BYTES)
async def test_bad_bytes(user_stack: UserStack, rpc: str, field: FieldDescriptor) -> None:
    good = await sensible(user_stack, rpc)
    lengths = BAD_BYTES[f"{rpc.partition('.')[2]}.{field.name}"]
    cases = [case_of(good, field, bytes(length), name=str(length)) for length in lengths]
    await check(user_stack, rpc, cases, field.name)


BAD_MASKS = {
    "unknown": ["nickname"],
    "may not be set": ["role"],
    "neither": ["email"],
    "nor": ["username"],
    "one among good ones": ["bio", "user_id", "display_name"],
    "empty": [""],
    "all": ["*"],
    "in camelCase": ["displayName"],
    "deeper": ["bio.text"],
    "itself": ["update_mask"],
    "NUL": ["bio\0"],
    "bidirectional override": ["\u202ebio"],
    "1 MB": ["x" * 2**20],
    "1 MB of four-byte characters": ["\U0001f600" * 2**18],
    "many": [f"field_{number}" for number in range(50_000)],
}


@pytest.mark.parametrize("name", BAD_MASKS)
async def test_bad_masks(user_stack: UserStack, name: str) -> None:
    person = await user_stack.sign_up()
    request = pb.UpdateMeRequest(display_name="Some", bio="thing", avatar_url="")
    request.update_mask.paths.extend(BAD_MASKS[name])
    before = await user_stack.digest()
    refused = await refusal(person.users.UpdateMe(request))
    assert refused.says == INVALID_FIELD
    assert set(refused.fields) == {"update_mask"}
    assert await user_stack.digest() == before


@pytest.mark.parametrize(
    "since", [Timestamp(seconds=10**17), Timestamp(seconds=-(10**17)), Timestamp(nanos=-1)]
)
async def test_bad_times(user_stack: UserStack, since: Timestamp) -> None:
    request = pb.ListRevocationsRequest(since_time=since)
    refused = await refusal(user_stack.service.auth.ListRevocations(request))
    assert (refused.says, refused.fields) == (INVALID_FIELD, ("since_time",))


def test_no_kind_of_field_is_forgotten() -> None:
    messages = {(rpc, f.name) for rpc, f in FIELDS if f.type == FieldDescriptor.TYPE_MESSAGE}
    assert messages == {
        ("UserService.UpdateMe", "update_mask"),
        ("AuthService.ListRevocations", "since_time"),
    }
    assert {field.type for _, field in FIELDS} == {
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BYTES,
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_ENUM,
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_MESSAGE,
    }
