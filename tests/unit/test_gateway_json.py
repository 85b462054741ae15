"""The gateway's JSON is json_format's, both ways, for every type and field of the contract."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contract import load_contract
from gateway.encoder import Encoders
from svckit.errors import InvalidArgument
from tests.requests.gateway_json import decode


def types_of(descriptor: Descriptor, found: dict[str, Descriptor]) -> None:
    if descriptor.file.package != "google.protobuf" and descriptor.full_name not in found:
        found[descriptor.full_name] = descriptor
        for field in descriptor.fields:
            if field.message_type is not None:
                types_of(field.message_type, found)


def all_types() -> dict[str, Descriptor]:
    """What rpcs take and give, events, and all that is in them."""
    found: dict[str, Descriptor] = {}
    for service in load_contract().services:
        for file in (service.file, *service.file.dependencies):
            for descriptor in file.message_types_by_name.values():
                types_of(descriptor, found)
    return {name: each for name, each in found.items() if name.startswith("newsfeed.")}


TYPES = all_types()
ENCODERS = Encoders()
EXAMPLES = settings(
    max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

moments = st.builds(
    lambda seconds, unit, count: {"seconds": seconds, "nanos": unit * count},
    st.integers(-62135596800, 253402300799),
    st.sampled_from([0, 1, 1_000, 1_000_000]),
    st.integers(0, 999),
)
mask_paths = st.from_regex(r"[a-z]{1,5}(_[a-z]{1,5})?(\.[a-z]{1,5}(_[a-z]{1,5})?)?", fullmatch=True)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: st.text(max_size=12),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    # There are many NaN, and JSON has a word for one.
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False) | st.sampled_from([-0.0, math.nan]),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1) | st.just(0),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1) | st.just(0),
}


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return arguments(field.message_type)
    if field.enum_type is not None:
        known = [each.number for each in field.enum_type.values]
        return st.sampled_from(known) | SCALARS[FieldDescriptor.TYPE_INT32]
    return SCALARS[field.type]


def arguments(descriptor: Descriptor) -> st.SearchStrategy[Any]:
    if descriptor.full_name == "google.protobuf.Timestamp":
        return moments
    if descriptor.full_name == "google.protobuf.FieldMask":
        return st.lists(mask_paths, max_size=3).map(lambda paths: {"paths": paths})
    optional = {
        field.name: st.lists(values(field), max_size=2) if field.is_repeated else values(field)
        for field in descriptor.fields
        if field.containing_oneof is None or len(field.containing_oneof.fields) == 1
    }
    whole = st.fixed_dictionaries({}, optional=optional)
    for oneof in descriptor.oneofs:
        if len(oneof.fields) > 1:
            one = st.sampled_from(list(oneof.fields)).flatmap(
                lambda field: values(field).map(lambda value: {field.name: value})
            )
            whole = st.tuples(whole, one).map(lambda parts: parts[0] | parts[1])
    return whole


def message_of(descriptor: Descriptor, fields: dict[str, Any]) -> Message:
    return message_factory.GetMessageClass(descriptor)(**fields)


def wire(message: Message) -> bytes:
    """Equal bytes: presence, minus zero and NaN included."""
    return message.SerializeToString(deterministic=True)


@pytest.mark.parametrize("name", TYPES)
def test_both_ways_as_json_format_does(name: str) -> None:
    descriptor = TYPES[name]
    encode = ENCODERS.to_bytes(descriptor)

    @EXAMPLES
    @given(arguments(descriptor))
    def check(fields: dict[str, Any]) -> None:
        message = message_of(descriptor, fields)
        encoded = encode(message)
        assert json.loads(encoded) == json_format.MessageToDict(
            message, always_print_fields_with_no_presence=True
        )
        assert wire(decode(descriptor, encoded)) == wire(message)
        for as_written in (False, True):
            theirs = json_format.MessageToJson(message, preserving_proto_field_name=as_written)
            assert wire(decode(descriptor, theirs)) == wire(message)

    check()


# One JSON value of each kind that a client may try, in any field.
TRIED = [
    *("null", "true", "false", "0", "1", "-1", "1.0", "1.5", "1e3", "-0.0", "1e400", "1e-400"),
    *("2147483647", "2147483648", "-2147483648", "-2147483649", "4294967296"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "1e18", "1e19"),
    *('""', '"1"', '"-1"', '"1.0"', '"1.5"', '"1e3"', '"x"', '" 1"', '"true"', '"0x10"', '"MQ=="'),
    *('"9223372036854775807"', '"9223372036854775808"', '"NaN"', '"Infinity"', '"-Infinity"'),
    *('"nan"', '"é"', '"ROLE_ADMIN"', '"role_admin"', '"ROLE_UNSPECIFIED"', '"MQ"', '"-_8="'),
    *('"+/8="', '"2026-11-20T12:34:56Z"', '"2026-11-20T12:34:56.789123456Z"', '"2026-11-20"'),
    *('"2026-11-20T12:34:56+01:30"', '"2026-02-30T12:34:56Z"', '"2026-11-20t12:34:56z"'),
    *('"2026-11-20T12:34:60Z"', '"2026-11-20T24:00:00Z"', '"2026-11-20T12:34:56.1234567891Z"'),
    *('"0001-01-01T00:00:00+01:00"', '"9999-12-31T23:59:59-01:00"', '"2026-11-20T12:34:56"'),
    *('"displayName,bio"', '"metadata.tags"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\udc00x"'),
    *(
        "{}",
        "[]",
        "[null]",
        "[1]",
        '["1"]',
        '["x"]',
        "[[]]",
        "[{}]",
        '[{}, "x"]',
        '{"x": 1}',
        "NaN",
    ),
    *('"a\\u0000b"', "Infinity", "-Infinity", "01", "+1", ".5", "'x'", "[1,]", '"\t"'),
]
# Where json_format follows what Python happens to take, and we refuse.
LAX = {
    "double": {"true", "false", '" 1"'},
    "enum": {tried for tried in TRIED if re.match(r'true|false|1\.5|" 1"|"?-?\d{10}', tried)},
    "bytes": {tried for tried in TRIED if re.match(r'".*[^A-Za-z]', tried)},
    "FieldMask": {tried for tried in TRIED if not re.fullmatch('"([a-z][A-Za-z.,]*)?"', tried)},
    "message": {'""', "[]", "[[]]"},
}


def kind_of(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        is_known = field.message_type.file.package == "google.protobuf"
        return field.message_type.name if is_known else "message"
    if field.enum_type is not None:
        return "enum"
    return {9: "string", 12: "bytes", 1: "double", 8: "bool", 5: "int32", 3: "int64"}[field.type]


def one_field_of_each_kind() -> Iterator[FieldDescriptor]:
    seen = set()
    for descriptor in TYPES.values():
        for field in descriptor.fields:
            kind = (kind_of(field), field.is_repeated, field.has_presence)
            if kind not in seen:
                seen.add(kind)
                yield field


FIELDS = list(one_field_of_each_kind())


@pytest.mark.parametrize("field", FIELDS, ids=[field.full_name for field in FIELDS])
def test_takes_what_json_format_takes_and_nothing_else(field: FieldDescriptor) -> None:
    descriptor = field.containing_type
    assert descriptor is not None
    message_class = message_factory.GetMessageClass(descriptor)
    for tried in TRIED:
        body = f'{{"{field.json_name}": {tried}}}'
        try:
            theirs = wire(json_format.Parse(body, message_class()))
        except (json_format.ParseError, ValueError):
            theirs = None
        try:
            ours = wire(decode(descriptor, body))
        except InvalidArgument:
            ours = None
        if kind_of(field) == "FieldMask" and tried == '"role_admin"':
            continue  # the contract takes both spellings of a field everywhere
        refuses_more = ours is None and tried in LAX.get(kind_of(field), ())
        assert ours == theirs or refuses_more, body
