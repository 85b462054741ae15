"""Every bound of every field of the contract, sent to its service: the bound, and one beyond.

Fields and bounds come from the descriptors, so a new one is tried without being listed. A value
within its bounds may be refused for another reason (there is no such post), never by its field.
"""

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from newsfeed.options.v1 import options_pb2
from newsfeed.options.v1.options_pb2 import Bounds
from newsfeed.user.v1 import user_service_pb2 as user_pb

from gateway.contract import load_contract
from svckit.bounds import bounds_of, check
from svckit.errors import InvalidArgument
from svckit.ids import ID_BYTES
from tests.requests.refusals import refusal_of
from tests.requests.sensible_content_requests import CONTENT_REQUESTS
from tests.requests.sensible_feed_requests import FEED_REQUESTS
from tests.requests.sensible_requests import REQUESTS
from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_stack import FeedStack, open_feed_stack
from tests.stacks.user_stack import Client, Person

if TYPE_CHECKING:
    from tests.requests.bad_values import Stack

Fields = tuple[FieldDescriptor, ...]

CONTRACT = load_contract()
METHODS = {
    f"{service.name}.{method.name}": method
    for service in CONTRACT.services
    for method in service.methods
}
# Of these one matches the pattern of any field that has one.
WORDS = ("word", "correct horse", "ada@example.com", "https://example.com/a.png", "24h")
FAR_BEYOND = 10**9
# What the services made themselves; a wrong one has an error of its own.
TOKENS = {"page_token", "resume_token", "refresh_token"}
# Whether these may be empty depends on other fields.
EMPTY_WITH_OTHERS = {
    "ContentService.CreatePost.content",
    "ContentService.UpdatePost.content",
    "UserService.GetUser.user_id",
}
TELLS_A_BOUND = re.compile(
    r"(at (most|least)|up to|no more than) \d|\d+ ?(-|to) ?\d+ (characters|items)"
)


def fields_of(message: Descriptor) -> Iterator[Fields]:
    """All fields of a request, those of the messages in it by the way to them."""
    for field in message.fields:
        yield (field,)
        inner = field.message_type
        if inner is not None and inner.file.package.startswith("newsfeed."):
            for path in fields_of(inner):
                yield (field, *path)


def named(path: Fields) -> str:
    """As an error names the field, in a request that has one of everything on the way."""
    *way, last = path
    steps = [f"{field.name}[0]" if field.is_repeated else field.name for field in way]
    return ".".join([*steps, last.name])


BOUNDED = [
    pytest.param(rpc, path, id=f"{rpc}.{named(path)}")
    for rpc, method in METHODS.items()
    for path in fields_of(method.input_type)
    if bounds_of(path[-1]).ByteSize()
]


def stretched(text: str, length: int, bounds: Bounds) -> str | None:
    """The text made as long as that so that it still matches; None = there is no way."""
    for at in range(len(text)):
        longer = text[:at] + text[at] * (length - len(text) + 1) + text[at + 1 :]
        if not bounds.pattern or re.fullmatch(bounds.pattern, longer):
            return longer
    return None


def texts(bounds: Bounds) -> tuple[list[object], list[object]]:
    """Good ones, and bad ones."""
    if bounds.format == options_pb2.FORMAT_UUID:
        good: list[object] = [str(uuid.uuid4()), str(uuid.uuid4()).upper()]
        bad: list[object] = [f"{good[0]}0", "me", str(good[0])[:-1]]
    else:
        least, most = bounds.min_length or 1, bounds.max_length
        fitting = (each for each in WORDS if len(each) >= least)
        word = next(each for each in fitting if re.fullmatch(bounds.pattern or ".*", each))
        good, bad = [word], []
        if most:
            longest = stretched(word, most, bounds)
            assert longest is not None
            good.append(longest)
            bad.append(stretched(word, most + 1, bounds) or longest + longest[-1])
        if least > 1:
            good.append(word[:least] if " " not in word[:least] else "x" * least)
            bad.append("x" * (least - 1))
        if bounds.pattern:
            bad.append("\0")
        if bounds.form != options_pb2.FORM_UNSPECIFIED:
            bad += [f"{word}\x07{word}", f"{word}\u202e{word}"]
            good.append(f" {word} ")
    is_optional = bounds.or_empty or not (bounds.min_length or bounds.pattern or bounds.format)
    (good if is_optional else bad).append("")
    return good, bad


def numbers(field: FieldDescriptor, bounds: Bounds) -> tuple[list[object], list[object]]:
    is_whole = field.cpp_type != FieldDescriptor.CPPTYPE_DOUBLE
    good: list[object] = []
    bad: list[object] = [] if is_whole else [float("nan"), float("inf")]
    for bound, step in (("min", -1), ("max", 1)):
        if bounds.HasField(bound):  # type: ignore[arg-type]
            value = getattr(bounds, bound)
            good.append(int(value) if is_whole else value)
            bad.append(int(value) + step if is_whole else value + step * 1e-9)
    return good, bad


def items(field: FieldDescriptor, bounds: Bounds, item: Any) -> tuple[list[object], list[object]]:
    def some(count: int) -> list[Any] | bytes:
        if bounds.packed:
            return bytes(ID_BYTES * count)
        if field.type != FieldDescriptor.TYPE_STRING:
            return [item] * count
        ids = bounds.format == options_pb2.FORMAT_UUID
        return [str(uuid.uuid4()) if ids else f"{item}{number}" for number in range(count)]

    good: list[object] = [some(bounds.min_items), some(bounds.max_items)]
    bad: list[object] = [some(bounds.max_items + 1)]
    if bounds.min_items:
        bad.append(some(bounds.min_items - 1))
    if bounds.packed:
        bad.append(bytes(ID_BYTES - 1))
    return good, bad


def values(field: FieldDescriptor, item: Any) -> tuple[list[object], list[object]]:
    """Values of the field within its bounds, and just beyond."""
    bounds = bounds_of(field)
    if bounds.max_items:
        return items(field, bounds, item)
    if field.enum_type is not None:
        numbers_of = [each.number for each in field.enum_type.values]
        zero = [0] if bounds.named else []
        return [*filter(None, numbers_of), *zero], [FAR_BEYOND, *([] if zero else [0])]
    if field.type == FieldDescriptor.TYPE_STRING:
        return texts(bounds)
    return numbers(field, bounds)


def with_value(request: Message, path: Fields, value: Any) -> Message:
    """The request with this value; a message of a list on the way becomes the only one of it."""
    changed = deepcopy(request)
    at: Any = changed
    for field in path[:-1]:
        inside = getattr(at, field.name)
        if field.is_repeated:
            first = deepcopy(inside[0]) if inside else one_of(field.message_type)
            del inside[:]
            inside.append(first)
            at = inside[0]
        else:
            if not at.HasField(field.name):
                inside.CopyFrom(one_of(field.message_type))
            at = inside
    last = path[-1]
    if last.is_repeated:
        at.ClearField(last.name)
        getattr(at, last.name).extend(value)
    else:
        setattr(at, last.name, value)
    return changed


def one_of(kind: Descriptor | None) -> Message:
    """A message of this type with something good in each field that needs it."""
    assert kind is not None
    message: Message = message_factory.GetMessageClass(kind)()
    for inner in kind.fields:
        if not inner.is_repeated and inner.message_type is None and not inner.has_presence:
            bounds = bounds_of(inner)
            if bounds.packed:
                setattr(message, inner.name, bytes(ID_BYTES * bounds.min_items))
            elif bounds.ByteSize() and values(inner, None)[0]:
                setattr(message, inner.name, values(inner, None)[0][0])
    return message


@pytest.fixture(scope="module")
async def stack(
    redis_url: str, content_stack: ContentStack, keys_folder: Path
) -> AsyncIterator[FeedStack]:
    opened = open_feed_stack(redis_url, redis_url, content_stack, keys_folder, has_traffic=False)
    async with opened as feed_stack:
        yield feed_stack


async def caller_of(stack: FeedStack, method: MethodDescriptor, owner: Person) -> Client:
    people = stack.contents.people
    match method.GetOptions().Extensions[options_pb2.access]:
        case options_pb2.ACCESS_PUBLIC:
            return people.nobody
        case options_pb2.ACCESS_SERVICE:
            return people.service
        case options_pb2.ACCESS_ADMIN:
            return await people.sign_up_with_role(user_pb.ROLE_ADMIN)
        case _:
            return owner


async def request_of(stack: FeedStack, rpc: str, owner: Person) -> Message:
    if rpc in CONTENT_REQUESTS:
        return await CONTENT_REQUESTS[rpc](stack.contents, owner)
    if rpc in REQUESTS:
        return await REQUESTS[rpc](stack.contents.people, owner)
    if rpc in FEED_REQUESTS:
        return FEED_REQUESTS[rpc](owner)
    return one_of(METHODS[rpc].input_type)


class Asked:
    """An rpc as its caller asks it: over the wire or, where nobody serves it, its bounds alone."""

    def __init__(self, stack: FeedStack, rpc: str, caller: Client) -> None:
        self._rpc = rpc
        self._caller = caller
        area = METHODS[rpc].containing_service.full_name.split(".")[1]
        contents = stack.contents
        stacks: dict[str, Stack] = {"user": contents.people, "content": contents, "feed": stack}
        self._stack = stacks.get(area)

    async def refused(self, request: Message) -> tuple[str, ...]:
        """The fields that are said to be wrong."""
        if self._stack is None:
            try:
                check(request)
            except InvalidArgument as error:
                return tuple(each.field for each in error.violations)
            return ()
        try:
            await self._stack.call_raw(
                self._rpc, request.SerializeToString(), self._caller.metadata
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                return refusal_of(error).fields
        return ()


@pytest.mark.parametrize(("rpc", "path"), BOUNDED)
async def test_bound_and_one_beyond(stack: FeedStack, rpc: str, path: Fields) -> None:
    owner = await stack.contents.people.sign_up("owner")
    request = await request_of(stack, rpc, owner)
    asked = Asked(stack, rpc, await caller_of(stack, METHODS[rpc], owner))
    *_, last = path
    bounds, name = bounds_of(last), named(path)
    item = one_of(last.message_type) if last.message_type is not None else WORDS[0]
    good, bad = values(last, item)
    if last.is_repeated and not bounds.max_items:
        good, bad, name = [[each] for each in good], [[each] for each in bad], f"{name}[0]"
    assert bad
    for value in bad:
        assert await asked.refused(with_value(request, path, value)) == (name,), value
    for value in good:
        if not value and f"{rpc}.{name}" in EMPTY_WITH_OTHERS:
            continue
        assert name not in await asked.refused(with_value(request, path, value)), value
    if last.is_repeated and (bounds.pattern or bounds.format):
        wrong_item = with_value(request, path, ["\0"])
        assert await asked.refused(wrong_item) == (f"{name}[0]",)


def asked_for() -> Iterator[FieldDescriptor]:
    """The fields of requests that hold a value of their own, but for masks and times."""
    for method in METHODS.values():
        for *_, field in fields_of(method.input_type):
            if field.message_type is None:
                yield field


def test_every_field_of_a_request_is_bounded() -> None:
    """Servicers rely on it: an id that is no UUID, or a page of less than nothing, is a fault."""
    for field in asked_for():
        bounds = bounds_of(field)
        is_free = field.type == FieldDescriptor.TYPE_BOOL or field.name in TOKENS
        assert is_free or bounds.ByteSize(), field.full_name
        if field.type == FieldDescriptor.TYPE_STRING and field.name.endswith(("_id", "_ids")):
            assert bounds.format == options_pb2.FORMAT_UUID, field.full_name
        if field.type == FieldDescriptor.TYPE_BYTES:
            assert bounds.packed, field.full_name
        if field.type == FieldDescriptor.TYPE_BYTES or field.is_repeated:
            assert bounds.max_items, field.full_name
        if field.name == "page_size":
            assert bounds == Bounds(min=0), field.full_name


def test_what_comments_tell_of_is_a_bound() -> None:
    """A bound that is told in a comment alone is one that nobody holds."""
    told = {
        path[-1].full_name
        for method in METHODS.values()
        for path in fields_of(method.input_type)
        if TELLS_A_BOUND.search(CONTRACT.comments[path[-1].full_name].replace("\n", " "))
        and not bounds_of(path[-1]).ByteSize()
        and path[-1].name != "page_size"  # clamped, not bounded
    }
    assert told == set()
