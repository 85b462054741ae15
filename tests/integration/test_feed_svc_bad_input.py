"""What feed_svc refuses, with which words, and that it changes nothing."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.feed.v1 import feed_service_pb2 as pb
from newsfeed.options.v1 import options_pb2

from svckit.page_tokens import PageTokens
from tests.requests.bad_values import BAD, INVALID_FIELD, NO_UTF8, OK, Case, check
from tests.requests.refusals import refusal
from tests.requests.sensible_feed_requests import FEED_REQUESTS, UNIMPLEMENTED
from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_stack import PAGE_TOKEN_KEY, FeedStack, Reader, open_feed_stack

INVALID_PAGE_TOKEN = "INVALID_ARGUMENT INVALID_PAGE_TOKEN"
INVALID_TOKEN = {
    "page_token": INVALID_PAGE_TOKEN,
    "resume_token": "INVALID_ARGUMENT INVALID_RESUME_TOKEN",
}
METHODS = {
    f"FeedService.{method.name}": method
    for method in pb.DESCRIPTOR.services_by_name["FeedService"].methods
}
SERVED = sorted(METHODS.keys() - UNIMPLEMENTED)
FIELDS = [(rpc, field) for rpc in SERVED for field in METHODS[rpc].input_type.fields]
TEXT_FIELDS = [each for each in FIELDS if each[1].type == FieldDescriptor.TYPE_STRING]
EVERY_TEXT = pytest.mark.parametrize(
    ("rpc", "field"), TEXT_FIELDS, ids=[f"{rpc}.{field.name}" for rpc, field in TEXT_FIELDS]
)


@pytest.fixture(scope="module")
async def stack(
    redis_url: str, content_stack: ContentStack, keys_folder: Path
) -> AsyncIterator[FeedStack]:
    opened = open_feed_stack(redis_url, redis_url, content_stack, keys_folder, has_traffic=False)
    async with opened as feed_stack:
        yield feed_stack


async def caller_for(stack: FeedStack, rpc: str) -> Reader:
    access = METHODS[rpc].GetOptions().Extensions[options_pb2.access]
    return await (stack.admin() if access == options_pb2.ACCESS_ADMIN else stack.sign_up())


def named(field: FieldDescriptor) -> str:
    return f"{field.name}[0]" if field.is_repeated else field.name


def put(request: Message, field: FieldDescriptor, value: object) -> Message:
    if field.is_repeated:
        request.ClearField(field.name)
        getattr(request, field.name).append(value)
    else:
        setattr(request, field.name, value)
    return request


@EVERY_TEXT
async def test_bad_text(stack: FeedStack, rpc: str, field: FieldDescriptor) -> None:
    caller = await caller_for(stack, rpc)
    good, expected = str(uuid.uuid4()), INVALID_FIELD
    if field.name in INVALID_TOKEN:
        good, expected = "A" * 88, INVALID_TOKEN[field.name]
    patterns = BAD | {"no id": "me", "braces": "{{}}", "urn": "urn:uuid:{}", "digits": "0" * 32}
    cases = []
    for kind, pattern in patterns.items():
        value = pattern.replace("{}", good)
        request = put(FEED_REQUESTS[rpc](caller.person), field, value)
        is_first_page = field.name in INVALID_TOKEN and not value
        cases.append(
            Case(
                kind, caller.person, request.SerializeToString(), OK if is_first_page else expected
            )
        )
    await check(stack, rpc, cases, named(field))


@EVERY_TEXT
async def test_text_that_is_none(stack: FeedStack, rpc: str, field: FieldDescriptor) -> None:
    caller = await caller_for(stack, rpc)
    data = put(FEED_REQUESTS[rpc](caller.person), field, "@@@").SerializeToString()
    cases = [
        Case(name, caller.person, data.replace(b"@@@", raw), "INVALID_ARGUMENT INVALID_MESSAGE")
        for name, raw in NO_UTF8.items()
    ]
    await check(stack, rpc, cases, "")


@pytest.mark.parametrize("rpc", SERVED)
async def test_bytes_that_are_no_message(stack: FeedStack, rpc: str) -> None:
    caller = await caller_for(stack, rpc)
    cases = [
        Case(str(data), caller.person, data, "INVALID_ARGUMENT INVALID_MESSAGE")
        for data in (b"\xff", b"\x0a\x05abc", b"\x0b" * 500, b"\x0a\xff\xff\xff\xff\x0f")
    ]
    await check(stack, rpc, cases, "")


async def test_page_sizes(stack: FeedStack) -> None:
    viewer = await stack.sign_up()
    for number in range(3):
        await viewer.publish(str(number))
    for size in (-1, -(2**31)):
        refused = await refusal(viewer.page(size))
        assert (refused.says, refused.fields) == (INVALID_FIELD, ("page_size",))
    for size in (0, 3, 100, 101, 2**31 - 1):
        assert len((await viewer.page(size)).items) == 3


async def test_a_page_has_20_items_or_as_many_as_asked_for_up_to_100(stack: FeedStack) -> None:
    viewer = await stack.sign_up()
    await asyncio.gather(*(viewer.publish(str(number)) for number in range(102)))
    for size, count in ((0, 20), (21, 21), (100, 100), (101, 100), (10**6, 100)):
        page = await viewer.page(size)
        assert len(page.items) == count
        assert page.next_page_token


class TestPageTokens:
    """A token is good for who was given it, for this list, and as it is."""

    @pytest.fixture
    async def viewer(self, stack: FeedStack) -> Reader:
        viewer = await stack.sign_up()
        for number in range(3):
            await viewer.publish(str(number))
        return viewer

    async def test_changed_and_cut(self, viewer: Reader) -> None:
        token = (await viewer.page(1)).next_page_token
        data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        changed = [
            bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]]) for at in range(0, len(data), 5)
        ]
        wrong = [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in changed]
        wrong += [
            token[:-1],
            token[1:],
            token[: len(token) // 2],
            token + "A",
            token + "=",
            token * 2,
        ]
        for each in wrong:
            assert (await refusal(viewer.page(1, each))).says == INVALID_PAGE_TOKEN
        assert len((await viewer.page(1, token)).items) == 1

    async def test_of_another_viewer(self, stack: FeedStack, viewer: Reader) -> None:
        token = (await viewer.page(1)).next_page_token
        other = await stack.sign_up()
        assert (await refusal(other.page(1, token))).says == INVALID_PAGE_TOKEN

    async def test_of_another_list(self, viewer: Reader) -> None:
        """Made with the right key, but for something else, or for nobody in particular."""
        encode = PageTokens(PAGE_TOKEN_KEY.encode()).encode
        place = (2**53, "00" * 16)
        hexadecimal = uuid.UUID(viewer.user_id).hex
        for scope in (
            ("ListPostsByAuthor", hexadecimal),
            ("ListActivities", hexadecimal),
            ("ListHomeFeed",),
            (hexadecimal, "ListHomeFeed"),
            (),
        ):
            assert (await refusal(viewer.page(1, encode(scope, place)))).says == INVALID_PAGE_TOKEN

    async def test_of_content_svc(self, viewer: Reader) -> None:
        request = content_pb.ListPostsByAuthorRequest(user_id=viewer.user_id, page_size=1)
        posts = await viewer.calls.ListPostsByAuthor(request)
        assert posts.next_page_token
        refused = await refusal(viewer.page(1, posts.next_page_token))
        assert refused.says == INVALID_PAGE_TOKEN

    async def test_an_old_one_still_works(self, stack: FeedStack, viewer: Reader) -> None:
        """It names a place, not a moment: with what came since, hot and cold, it goes on there."""
        page = await viewer.page(1)
        expected = [item.post for item in (await viewer.page(2, page.next_page_token)).items]
        await viewer.publish("new")
        await stack.has_window(viewer)
        again = partial(viewer.page, 2, page.next_page_token)
        assert [item.post for item in (await again()).items] == expected
        await stack.evict(viewer)
        assert [item.post for item in (await again()).items] == expected


async def test_prewarming_has_bounds(stack: FeedStack) -> None:
    admin = await stack.admin()
    for count in (0, 501):
        request = pb.PrewarmFeedsRequest(user_ids=[str(uuid.uuid4()) for _ in range(count)])
        refused = await refusal(admin.feed_calls.PrewarmFeeds(request))
        assert (refused.says, refused.fields) == (INVALID_FIELD, ("user_ids",))


@pytest.mark.parametrize("rpc", sorted(UNIMPLEMENTED))
async def test_what_is_not_there_yet_says_so(stack: FeedStack, rpc: str) -> None:
    viewer = await stack.sign_up()
    call = stack.call_raw(rpc, b"", viewer.person.metadata)
    assert (await refusal(call)).says == "UNIMPLEMENTED UNIMPLEMENTED"
