"""Bodies that are refused: each wrong field by its path, in bounded time; and types, at start."""

import json
import time
from collections.abc import Sequence

import pytest
from google.api.http_pb2 import HttpRule
from google.protobuf import json_format, struct_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from newsfeed.analytics.v1.analytics_service_pb2 import RecordEventsRequest
from newsfeed.content.v1.content_service_pb2 import CreatePostRequest, FeedPosition
from newsfeed.events.v1.events_pb2 import Event
from newsfeed.user.v1.user_service_pb2 import UpdateMeRequest

from gateway.decoder import MessageReader, Violations
from gateway.encoder import Encoders
from gateway.model import JsonBounds
from svckit.errors import FieldViolation, InvalidArgument
from tests.requests.gateway_json import decode, descriptor_of

BOUNDS = JsonBounds()


def violations_of(message_class: type[Message], body: bytes | str) -> Sequence[FieldViolation]:
    with pytest.raises(InvalidArgument) as refused:
        decode(descriptor_of(message_class), body)
    return refused.value.violations


def media(item: str) -> str:
    return f'{{"metadata": {{"media": [{{}}, {{}}, {item}]}}}}'


POSTS: list[tuple[str, list[str]]] = [
    ('{"contents": "x"}', ["contents"]),
    ('{"content": 5, "postId": [], "metadata": "x"}', ["content", "post_id", "metadata"]),
    (media('{"url": 5, "kind": "IMAGE"}'), ["metadata.media[2].url", "metadata.media[2].kind"]),
    (media('{"link": ""}'), ["metadata.media[2].link"]),
    (media("null"), ["metadata.media[2]"]),
    (media('{"width": 1.5}'), ["metadata.media[2].width"]),
    (media('{"height": 2147483648}'), ["metadata.media[2].height"]),
    ('{"metadata": {"tags": ["a", null, 7]}}', ["metadata.tags[1]", "metadata.tags[2]"]),
    ('{"metadata": {"tags": {"0": "a"}}}', ["metadata.tags"]),
    ('{"postId": "a", "post_id": "a"}', ["post_id"]),
    ('{"content": "a", "content": "a"}', ["content"]),
    ('{"content": null, "content": "a"}', ["content"]),
    ('{"metadata": {"location": {"name": "a", "name": "b"}}}', ["metadata.location.name"]),
    ('{"metadata": {"location": {"latitude": NaN}}}', ["metadata.location.latitude"]),
    ('{"metadata": {"location": {"latitude": 1e400}}}', ["metadata.location.latitude"]),
    ('{"content": "\\ud83d", "sharedPostId": "a\\udc00"}', ["content", "shared_post_id"]),
    # A name that the client made up comes back fit for a log line.
    ('{"\\ud83d": 1}', ["\\ud83d"]),
    ('{"a\\r\\nb": 1}', ["a\\r\\nb"]),
    (f'{{"{"a" * 1000}": 1}}', ["a" * 64 + "..."]),
    # Nesting and length cost no time.
    ("[" * 10_000, ["body"]),
    ('{"content": ' + "[" * 10_000 + "]" * 10_000 + "}", ["body"]),
    ('{"content": ' + "[" * 33 + "]" * 33 + "}", ["content"]),
    ('{"x": ' * 33 + "1" + "}" * 33, ["x"]),
    ('{"metadata": {"tags": [' + '"a", ' * BOUNDS.items_max + '"a"]}}', ["metadata.tags"]),
]
CPU_S_MAX = 0.5
NO_OBJECTS = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"5",
    b'"{}"',
    b"{",
    b"{} {}",
    b"{}x",
    b"{'a': 1}",
    b"\xef\xbb\xbf{}",
    b'{"content": "\xff"}',
    b'{"content": "\t"}',
    b'{"content": "a",}',
    b'{content: "a"}',
    b"{}\0",
]
TIMES = [
    "yesterday",
    "2026-02-30T00:00:00Z",
    "2026-11-20 12:34:56Z",
    "2026-11-20T12:34:56",
    "",
    "1",
]
# Not whole numbers of 64 bits; or too long to be read.
NUMBERS = [
    *("1.5", "1e400", '"1e400"', "9223372036854775808", "-9223372036854775809", "true", "[]", "{}"),
    *('"1_000"', '" 1"', '"0x1"', '"\\u0661"', '""', '"-"', "9" * 10_000, f'"{"9" * 10_000}"'),
    *("1" + "0" * 63, "1." + "0" * 10_000, "NaN", "Infinity", '"NaN"'),
]


@pytest.mark.parametrize(("body", "fields"), POSTS, ids=[body[:40] for body, _ in POSTS])
def test_names_every_field_that_is_wrong(body: str, fields: list[str]) -> None:
    started_s = time.process_time()
    violations = violations_of(CreatePostRequest, body)
    assert [each.field for each in violations] == fields
    assert all(each.description for each in violations)
    assert time.process_time() - started_s < CPU_S_MAX


@pytest.mark.parametrize("body", NO_OBJECTS)
def test_a_body_is_one_object_of_json(body: bytes) -> None:
    assert [each.field for each in violations_of(CreatePostRequest, body)] == ["body"]


@pytest.mark.parametrize("number", NUMBERS, ids=[number[:20] for number in NUMBERS])
def test_a_number_is_one_that_fits(number: str) -> None:
    started_s = time.process_time()
    violations = violations_of(FeedPosition, f'{{"createTimeMs": {number}}}')
    assert [each.field for each in violations] == ["create_time_ms"]
    assert time.process_time() - started_s < CPU_S_MAX


@pytest.mark.parametrize("moment", TIMES)
def test_a_time_is_one_that_exists(moment: str) -> None:
    body = f'{{"events": [{{"kind": "SEEN", "occurTime": "{moment}", "dwellMs": true}}]}}'
    found = [each.field for each in violations_of(RecordEventsRequest, body)]
    assert found == ["events[0].kind", "events[0].occur_time", "events[0].dwell_ms"]


@pytest.mark.parametrize(
    "mask", ['"display name"', '{"paths": ["bio"]}', '"a,,b"', f'"{"a," * 2000}a"']
)
def test_a_mask_names_fields(mask: str) -> None:
    violations = violations_of(UpdateMeRequest, f'{{"updateMask": {mask}}}')
    assert [each.field for each in violations] == ["update_mask"]


def test_one_of_several_is_one() -> None:
    violations = violations_of(Event, '{"userCreated": {}, "postLiked": null, "userDeleted": {}}')
    assert [each.field for each in violations] == ["user_deleted"]


def test_tells_only_the_first_of_many() -> None:
    body = json.dumps({f"x{number}": 1 for number in range(10_000)})
    assert len(violations_of(CreatePostRequest, body)) == BOUNDS.violations_max
    violations = Violations(BOUNDS.violations_max)
    for number in range(BOUNDS.violations_max + 1):
        violations.add(f"x{number}", "must not be")
    assert len(violations) == BOUNDS.violations_max


def test_takes_both_spellings_and_both_forms_of_numbers() -> None:
    place, profile = descriptor_of(FeedPosition), descriptor_of(UpdateMeRequest)
    body = '{"create_time_ms": "9007199254740993", "postId": "AAE="}'
    same = '{"createTimeMs": 9007199254740993, "post_id": "AAE"}'
    assert decode(place, body) == decode(place, same)
    masked = decode(profile, '{"updateMask": "displayName,avatar_url"}')
    assert isinstance(masked, UpdateMeRequest)
    assert list(masked.update_mask.paths) == ["display_name", "avatar_url"]


def test_null_is_absent() -> None:
    post = descriptor_of(CreatePostRequest)
    body = '{"content": null, "metadata": {"location": null}, "postId": null}'
    assert decode(post, body) == decode(post, '{"metadata": {}}')


def test_details_of_errors_are_written_as_json_format_does() -> None:
    info = error_details_pb2.ErrorInfo(reason="A", domain="newsfeed", metadata={"b": "c"})
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    for message in (info, retry):
        to_object = Encoders().to_object(descriptor_of(type(message)))
        assert to_object(message) == json_format.MessageToDict(
            message, always_print_fields_with_no_presence=True
        )


def test_types_that_are_not_supported_are_refused_at_start() -> None:
    for message_class in (error_details_pb2.RetryInfo, error_details_pb2.ErrorInfo):
        with pytest.raises(ValueError, match="not supported"):
            MessageReader(descriptor_of(message_class), BOUNDS)
    with pytest.raises(ValueError, match="not supported"):
        Encoders().to_bytes(descriptor_of(struct_pb2.Struct))
    with pytest.raises(ValueError, match="contains itself"):
        MessageReader(descriptor_of(HttpRule), BOUNDS)
