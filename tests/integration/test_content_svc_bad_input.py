"""Every field of every request of content_svc, nested ones too, with every kind of bad value.

The fields come from the descriptors: a new one is tested without being listed. Whatever is wrong is
refused with a reason and the field's name, never with INTERNAL, and changes nothing.
"""

import math
from collections.abc import Iterator
from copy import deepcopy

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from newsfeed.content.v1 import content_service_pb2 as pb
from newsfeed.options.v1 import options_pb2

from tests.requests.bad_values import BAD, INVALID_FIELD, NO_UTF8, OK, Case, check
from tests.requests.refusals import refusal
from tests.requests.sensible_content_requests import CONTENT_REQUESTS
from tests.stacks.content_stack import ContentStack
from tests.stacks.user_stack import Client, Person

Path = tuple[FieldDescriptor, ...]

AN_ID = "01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7"
GOOD = {
    "content": "hello",
    "tags": "word",
    "tag": "word",
    "name": "home",
    "url": "https://example.com/some.png",
    "alt": "something",
    "query": "some",
    "page_token": "A" * 88,
}
BLANK = {"only spaces", "only wide spaces", "empty"}
# What is not INVALID_FIELD, by rpc and field, or by field.
PECULIAR: dict[str, dict[str, str]] = {
    "page_token": dict.fromkeys(BAD, "INVALID_ARGUMENT INVALID_PAGE_TOKEN") | {"empty": OK},
    "CreatePost.content": {"too long": OK},
    "UpdatePost.content": {"too long": OK},
    "name": dict.fromkeys(BLANK, OK),
    "alt": dict.fromkeys(BLANK, OK),
}

METHODS = {
    f"{service.name}.{method.name}": method
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def paths(message: Descriptor) -> Iterator[Path]:
    """All fields that hold a value of their own, but for masks."""
    for field in message.fields:
        if field.message_type is None:
            yield (field,)
        elif field.message_type.full_name != "google.protobuf.FieldMask":
            for path in paths(field.message_type):
                yield (field, *path)


FIELDS = [(rpc, path) for rpc, method in METHODS.items() for path in paths(method.input_type)]


def named(path: Path) -> str:
    """As an error names it, in a request that has one of everything."""
    return ".".join(f"{field.name}[0]" if field.is_repeated else field.name for field in path)


def every_field(*kinds: int) -> pytest.MarkDecorator:
    """Parameters: each rpc with each of its request's fields of this type."""
    found = [(rpc, path) for rpc, path in FIELDS if path[-1].type in kinds]
    ids = [f"{rpc.partition('.')[2]}.{named(path)}" for rpc, path in found]
    return pytest.mark.parametrize(("rpc", "path"), found, ids=ids)


def client_for(stack: ContentStack, method: MethodDescriptor, owner: Person) -> Client:
    match method.GetOptions().Extensions[options_pb2.access]:
        case options_pb2.ACCESS_PUBLIC:
            return stack.people.nobody
        case options_pb2.ACCESS_USER:
            return owner
        case _:
            return stack.people.service


def put(message: Message, path: Path, value: object) -> None:
    """Instead of what is there."""
    field, *rest = path
    if not rest and field.is_repeated:
        message.ClearField(field.name)
        getattr(message, field.name).append(value)
    elif not rest:
        setattr(message, field.name, value)
    elif field.is_repeated:
        inner = pb.Media(url=GOOD["url"], kind=pb.MEDIA_KIND_IMAGE)
        put(inner, tuple(rest), value)
        getattr(message, field.name).append(inner)
    else:
        inner_message = getattr(message, field.name)
        if field.name == "before":
            inner_message.post_id = bytes(16)
        put(inner_message, tuple(rest), value)


async def sensible(stack: ContentStack, rpc: str) -> tuple[Client, Message]:
    """A request that succeeds, again and again, and who may send it."""
    owner = await stack.people.sign_up("owner")
    request = await CONTENT_REQUESTS[rpc](stack, owner)
    return client_for(stack, METHODS[rpc], owner), request


def case_of(
    good: tuple[Client, Message],
    path: Path,
    value: object,
    expected: str = INVALID_FIELD,
    name: str = "",
) -> Case:
    """The same but for one field."""
    client, request = good[0], deepcopy(good[1])
    put(request, path, value)
    return Case(name or repr(value), client, request.SerializeToString(), expected)


@every_field(FieldDescriptor.TYPE_STRING)
async def test_bad_text(content_stack: ContentStack, rpc: str, path: Path) -> None:
    name = path[-1].name
    peculiar = PECULIAR.get(f"{rpc.partition('.')[2]}.{name}", PECULIAR.get(name, {}))
    good = await sensible(content_stack, rpc)
    cases = []
    for kind, pattern in BAD.items():
        value = pattern.replace("{}", GOOD.get(name, AN_ID))
        expected = peculiar.get(kind, INVALID_FIELD)
        cases.append(case_of(good, path, value, expected, kind))
    await check(content_stack, rpc, cases, named(path))


@every_field(FieldDescriptor.TYPE_STRING)
async def test_text_that_is_none(content_stack: ContentStack, rpc: str, path: Path) -> None:
    text = case_of(await sensible(content_stack, rpc), path, "@@@")
    cases = [
        Case(name, text.client, text.data.replace(b"@@@", raw), "INVALID_ARGUMENT INVALID_MESSAGE")
        for name, raw in NO_UTF8.items()
    ]
    await check(content_stack, rpc, cases, "")


@pytest.mark.parametrize("rpc", METHODS)
async def test_bytes_that_are_no_message(content_stack: ContentStack, rpc: str) -> None:
    client = client_for(content_stack, METHODS[rpc], await content_stack.people.sign_up())
    cases = [
        Case(str(data), client, data, "INVALID_ARGUMENT INVALID_MESSAGE")
        for data in (b"\xff", b"\x0a\x05abc", b"\x0b" * 500, b"\x0a\xff\xff\xff\xff\x0f")
    ]
    await check(content_stack, rpc, cases, "")


OPERATORS = ('{"$gt": ""}', '{"$ne": null}', "$where", "$$ROOT", "a.b", "_id", "'; return true; //")


@every_field(FieldDescriptor.TYPE_STRING)
async def test_operators_are_text(content_stack: ContentStack, rpc: str, path: Path) -> None:
    """Taken as they are where text is free, refused elsewhere, obeyed nowhere."""
    name = path[-1].name
    refused = "INVALID_PAGE_TOKEN" if name == "page_token" else "INVALID_FIELD"
    harmless = {"tags": {"_id"}, "tag": {"_id"}, "url": {"_id", "a.b"}}.get(name, set())
    if name in {"content", "name", "alt", "query"}:
        harmless = set(OPERATORS)
    good = await sensible(content_stack, rpc)
    cases = []
    for value in OPERATORS:
        expected = OK if value in harmless else f"INVALID_ARGUMENT {refused}"
        cases.append(case_of(good, path, value, expected))
    await check(content_stack, rpc, cases, named(path))


NUMBERS = {
    "page_size": ((-1, -(2**31)), (0, 1, 10**9, 2**31 - 1)),
    "limit": ((-1, -(2**31), 0, 501, 2**31 - 1), (1, 500)),
    "width": ((-1, -(2**31), 65_536, 2**31 - 1), (0, 65_535)),
    "height": ((-1, -(2**31), 65_536, 2**31 - 1), (0, 65_535)),
    "create_time_ms": ((-1, -(2**63)), (0, 1, 2**63 - 1)),
    "kind": ((-1, 0, 4, 99, 2**31 - 1), (1, 2, 3)),
    "latitude": ((90.001, -91, 1e308, math.inf, -math.inf, math.nan), (90, -90, -0.0, 5e-324)),
    "longitude": ((180.001, -181, 1e308, math.inf, -math.inf, math.nan), (180, -180, -0.0)),
}


@every_field(
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_DOUBLE,
    FieldDescriptor.TYPE_ENUM,
)
async def test_bad_numbers(content_stack: ContentStack, rpc: str, path: Path) -> None:
    bad, right = NUMBERS[path[-1].name]
    good = await sensible(content_stack, rpc)
    cases = [case_of(good, path, value) for value in bad]
    cases += [case_of(good, path, value, OK) for value in right]
    await check(content_stack, rpc, cases, named(path))


LENGTHS = {
    "BatchGetPosts.post_ids": ((1, 15, 17, 16 * 501, 2**20), (0, 16, 16 * 500)),
    "BatchGetViewerState.post_ids": ((1, 15, 17, 16 * 501, 2**20), (0, 16, 16 * 500)),
    "ListPostsByAuthors.author_ids": ((1, 15, 17, 16 * 10_002, 2**20), (0, 16, 16 * 10_001)),
    "ListPostsByAuthors.before.post_id": ((0, 1, 15, 17, 2**20), (16,)),
}


@every_field(FieldDescriptor.TYPE_BYTES)
async def test_bad_bytes(content_stack: ContentStack, rpc: str, path: Path) -> None:
    bad, right = LENGTHS[f"{rpc.partition('.')[2]}.{named(path)}"]
    good = await sensible(content_stack, rpc)
    cases = [case_of(good, path, bytes(length), name=str(length)) for length in bad]
    cases += [case_of(good, path, bytes(length), OK) for length in right]
    await check(content_stack, rpc, cases, named(path))


BAD_MASKS = {
    "unknown": ["nickname"],
    "may not be set": ["author_id"],
    "neither": ["shared_post_id"],
    "the post itself": ["post_id"],
    "one among good ones": ["content", "create_time"],
    "empty": [""],
    "all": ["*"],
    "in camelCase": ["metadata.Tags"],
    "deeper": ["metadata.location.name"],
    "one of many": ["metadata.tags[0]"],
    "operator": ["$set"],
    "as stored": ["given_tags"],
    "NUL": ["content\0"],
    "bidirectional override": ["\u202econtent"],
    "1 MB": ["x" * 2**20],
    "many": [f"field_{number}" for number in range(50_000)],
}


@pytest.mark.parametrize("name", BAD_MASKS)
async def test_bad_masks(content_stack: ContentStack, name: str) -> None:
    author = await content_stack.sign_up()
    post = await author.publish("as it was")
    request = pb.UpdatePostRequest(post_id=post.post_id, content="as it is")
    request.update_mask.paths.extend(BAD_MASKS[name])
    before = await content_stack.digest()
    refused = await refusal(author.calls.UpdatePost(request))
    assert refused.says == INVALID_FIELD
    assert set(refused.fields) == {"update_mask"}
    assert await content_stack.digest() == before


def test_no_kind_of_field_is_forgotten() -> None:
    assert {path[-1].type for _, path in FIELDS} == {
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BYTES,
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_DOUBLE,
        FieldDescriptor.TYPE_ENUM,
    }
