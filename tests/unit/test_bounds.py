"""What is within bounds is taken, and what is not is refused by its path: see `svckit.bounds`."""

import math
from typing import Any, cast

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.feed.v1 import feed_service_pb2 as feed_pb
from newsfeed.options.v1 import options_pb2
from newsfeed.options.v1.options_pb2 import FORM_LINE, FORM_LINES, FORMAT_UUID, Bounds
from newsfeed.user.v1 import user_service_pb2 as user_pb

from svckit.bounds import check, look_of
from svckit.errors import InvalidArgument
from svckit.validation import VIOLATIONS_MAX

STRING = FieldDescriptorProto.TYPE_STRING
BYTES = FieldDescriptorProto.TYPE_BYTES
DOUBLE = FieldDescriptorProto.TYPE_DOUBLE


def message_with(
    bounds: Bounds, kind: "FieldDescriptorProto.Type.ValueType", value: Any
) -> Message:
    """A message of a type of its own, with this value in its one field."""
    file = FileDescriptorProto(name="a.proto", package="a", syntax="proto3")
    field = file.message_type.add(name="A").field.add(name="field", number=1, type=kind)
    field.label = FieldDescriptorProto.LABEL_OPTIONAL
    if isinstance(value, list):
        field.label = FieldDescriptorProto.LABEL_REPEATED
    field.options.Extensions[options_pb2.bounds].CopyFrom(bounds)
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("a.A"))(field=value)


def refused(message: Message) -> dict[str, str]:
    """What is said of each field that is out of bounds."""
    try:
        check(message)
    except InvalidArgument as error:
        return {each.field: each.description for each in error.violations}
    return {}


def told(
    bounds: Bounds, value: Any, kind: "FieldDescriptorProto.Type.ValueType" = STRING
) -> str | None:
    """What is said of the value; None = it is within the bounds."""
    return refused(message_with(bounds, kind, value)).get("field")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "must not be empty"),
        (" \t\u00a0\u3000", "must not be empty"),
        ("x" * 11, "must be at most 10 characters"),
        ("x" * 1_000_000, "must be at most 10 characters"),
        ("a\0b", "must not contain the character U+0000"),
        ("a\x1bb", "must not contain the character U+001B"),
        ("a\nb", "must not contain the character U+000A"),
        ("a\u202eb", "must not contain the character U+202E"),
        ("a\u2066b", "must not contain the character U+2066"),
        ("a\u200bb", "must not contain the character U+200B"),
        ("a\u2028b", "must not contain the character U+2028"),
        ("a\ufeffb", "must not contain the character U+FEFF"),
        ("a\U000e0041b", "must not contain the character U+E0041"),
    ],
)
def test_what_is_empty_too_long_or_hidden_is_refused(value: str, expected: str) -> None:
    assert told(Bounds(form=FORM_LINE, min_length=1, max_length=10), value) == expected


def test_line_breaks_are_kept_only_where_they_are_meant() -> None:
    assert told(Bounds(form=FORM_LINES), "a\r\nb\n\tc") is None
    assert "U+000D" in (told(Bounds(form=FORM_LINES), "a\rb") or "")


@pytest.mark.parametrize("value", ["née", "日本語", "👩\u200d👩\u200d👧", "❤\ufe0f", "עברית"])
def test_what_people_really_write_is_taken(value: str) -> None:
    assert told(Bounds(form=FORM_LINE, max_length=20), value) is None


def test_text_is_normalized_before_it_is_measured() -> None:
    bounds = Bounds(form=FORM_LINE, leading="#", max_length=10)
    assert told(bounds, "  " + "e\u0301" * 10 + "  ") is None
    assert told(bounds, "#" + "e\u0301" * 10) is None
    assert told(bounds, "##" + "e\u0301" * 10) == "must be at most 10 characters"
    assert told(Bounds(max_length=10), "e\u0301" * 10) == "must be at most 10 characters"


@pytest.mark.parametrize(
    ("bounds", "good", "bad", "expected"),
    [
        (Bounds(max_length=3), "abc", "abcd", "must be at most 3 characters"),
        (Bounds(min_length=3), "abc", "ab", "must be at least 3 characters"),
        (Bounds(min_length=3, max_length=5), "abcde", "ab", "must be 3 to 5 characters"),
        (Bounds(pattern="[ab]+", described="a and b"), "abba", "abc", "must be a and b"),
        (Bounds(pattern="[ab]+", described="a and b"), "abba", "abba\n", "must be a and b"),
        (Bounds(min_length=2, described="two", or_empty=True), "", "x", "must be two"),
        (Bounds(min_items=2, max_items=3), ["", ""], [""], "must be 2 to 3 items"),
        (Bounds(min_items=2, max_items=3), ["", ""], [""] * 4, "must be 2 to 3 items"),
        (Bounds(max_items=1), [], ["", ""], "must be at most 1 item"),
    ],
)
def test_texts_and_lists(bounds: Bounds, good: object, bad: object, expected: str) -> None:
    assert told(bounds, good) is None
    assert told(bounds, bad) == expected


@pytest.mark.parametrize(
    ("bounds", "good", "bad", "expected"),
    [
        (Bounds(max_items=2), 32, 48, "must be at most 2 ids"),
        (Bounds(max_items=2), 0, 31, "must be whole ids of 16 bytes each"),
        (Bounds(min_items=1, max_items=1), 16, 0, "must be 1 id"),
        (Bounds(min_items=1), 48, 0, "must be at least 1 id"),
    ],
)
def test_packed_ids(bounds: Bounds, good: int, bad: int, expected: str) -> None:
    bounds.packed = True
    assert told(bounds, bytes(good), BYTES) is None
    assert told(bounds, bytes(bad), BYTES) == expected


def test_numbers() -> None:
    bounds = Bounds(min=-90, max=90)
    for good in (-90, 90, -0.0, 5e-324):
        assert told(bounds, good, DOUBLE) is None
    for bad in (-90.001, 91, 1e308, math.inf, -math.inf, math.nan):
        assert told(bounds, bad, DOUBLE) == "must be -90 to 90"
    assert told(Bounds(min=0), -1, DOUBLE) == "must be at least 0"
    assert told(Bounds(max=3_600_000), 3_600_001, DOUBLE) == "must be at most 3600000"


def test_enums() -> None:
    names = "ROLE_USER, ROLE_MODERATOR or ROLE_ADMIN"
    for number in (0, 1, 3, 4, -1):
        role = cast("user_pb.Role.ValueType", number)
        new = refused(user_pb.SetRoleRequest(user_id=AN_ID, role=role))
        assert new == ({} if number in {1, 3} else {"role": f"must be {names}"})
        listed = refused(user_pb.ListUsersRequest(role=role))
        expected = {"role": f"must be ROLE_UNSPECIFIED, {names}"}
        assert listed == ({} if number in {0, 1, 3} else expected)


AN_ID = "0193AAAA-bbbb-7ccc-8ddd-0123456789AB"


def test_ids_are_checked_where_they_are_or_have_to_be() -> None:
    assert told(Bounds(format=FORMAT_UUID), AN_ID) is None
    for bad in ("", AN_ID + " ", f"{{{AN_ID}}}", AN_ID.replace("-", "")):
        assert "must be a UUID such as" in (told(Bounds(format=FORMAT_UUID), bad) or "")
    assert told(Bounds(format=FORMAT_UUID, or_empty=True), "") is None
    assert refused(feed_pb.ListHomeFeedRequest()) == {}
    assert list(refused(feed_pb.ListHomeFeedRequest(after_post_id=""))) == ["after_post_id"]


def test_times_are_within_what_a_calendar_has() -> None:
    for good in (Timestamp(), Timestamp(seconds=253_402_300_799)):
        assert refused(user_pb.ListRevocationsRequest(since_time=good)) == {}
    for bad in (Timestamp(seconds=253_402_300_800), Timestamp(nanos=-1)):
        assert list(refused(user_pb.ListRevocationsRequest(since_time=bad))) == ["since_time"]


def test_all_wrong_fields_are_told_together_by_their_paths() -> None:
    media = [
        content_pb.Media(url="a.png", kind=content_pb.MEDIA_KIND_IMAGE),
        content_pb.Media(url="", alt="\0"),
    ]
    metadata = content_pb.PostMetadata(media=media, tags=["a", "b c"])
    metadata.location.latitude = 91
    request = content_pb.CreatePostRequest(content="x" * 5001, metadata=metadata, post_id="1")
    assert list(refused(request)) == [
        "post_id",
        "content",
        "metadata.tags[1]",
        "metadata.location.latitude",
        "metadata.media[1].url",
        "metadata.media[1].kind",
        "metadata.media[1].alt",
    ]


def test_of_too_many_only_that_is_told() -> None:
    request = feed_pb.PrewarmFeedsRequest(user_ids=["x"] * 501)
    assert refused(request) == {"user_ids": "must be 1 to 500 items"}


def test_an_answer_stays_small_however_much_is_wrong() -> None:
    assert len(refused(feed_pb.PrewarmFeedsRequest(user_ids=["x"] * 500))) == VIOLATIONS_MAX


def test_a_message_without_bounds_has_no_check() -> None:
    assert look_of(user_pb.GetMeRequest.DESCRIPTOR) is None
    assert look_of(user_pb.RefreshTokensRequest.DESCRIPTOR) is None
