"""The bounds that the contract gives the fields of a request, as checks.

    check(pb.SignUpRequest(username="ada"))  # raises InvalidArgument: there is no email

`newsfeed.options.v1.bounds` says what may stand in a field; a message type is compiled once. The
table of rpcs (`svckit.rpc.table`) checks every request before a servicer has it: a servicer and a
use case look only at what depends on other fields, or on what is stored.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from newsfeed.options.v1 import options_pb2
from newsfeed.options.v1.options_pb2 import Bounds

from svckit.ids import CANONICAL_ID, ID_BYTES
from svckit.validation import Fields, first_hidden, normal_text

Look = Callable[[Fields, str, Any], None]
"""Refuses a value that is out of bounds, under its path."""

_TIMESTAMP = Timestamp.DESCRIPTOR.full_name
# Normal form C, and what is taken off, make a text that much shorter at most.
_SHRINKS_BY, _MARGIN = 4, 64


def check(request: Message) -> None:
    """Raises one InvalidArgument for all that is out of bounds."""
    look = look_of(request.DESCRIPTOR)
    if look is not None:
        fields = Fields()
        look(fields, "", request)
        fields.check()


def bounds_of(field: FieldDescriptor) -> Bounds:
    bounds: Bounds = field.GetOptions().Extensions[options_pb2.bounds]
    return bounds


@cache
def look_of(message: Descriptor) -> Look | None:
    """For all fields that are present; None = nothing in these messages is bounded.

    The path is what the names of fields are put to.
    """
    looks = [
        (field.name, field.has_presence, look)
        for field in message.fields
        if (look := _field(field)) is not None
    ]
    if not looks:
        return None

    def look_at(fields: Fields, path: str, value: Message) -> None:
        for name, has_presence, look in looks:
            if not has_presence or value.HasField(name):
                look(fields, path + name, getattr(value, name))

    return look_at


def _field(field: FieldDescriptor) -> Look | None:
    bounds = bounds_of(field)
    look = _value(field, bounds)
    return _items(look, bounds) if field.is_repeated else look


def _items(look: Look | None, bounds: Bounds) -> Look | None:
    least, most = bounds.min_items or None, bounds.max_items or None
    if look is None and least is None and most is None:
        return None

    def look_at(fields: Fields, path: str, values: Sequence[Any]) -> None:
        if not _is_within(least, len(values), most):
            fields.refuse(path, f"must be {_count(least, most, 'item')}")
        elif look is not None:
            for index, value in enumerate(values):
                look(fields, f"{path}[{index}]", value)

    return look_at


def _value(field: FieldDescriptor, bounds: Bounds) -> Look | None:
    if field.message_type is not None:
        return _inner(field.message_type)
    if field.enum_type is not None:
        return _enum(field.enum_type, bounds)
    if not bounds.ByteSize():
        return None
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(bounds)
    return _packed_ids(bounds) if bounds.packed else _number(bounds)


def _inner(message: Descriptor) -> Look | None:
    if message.full_name == _TIMESTAMP:
        return _moment
    look = look_of(message)
    return look and (lambda fields, path, value: look(fields, f"{path}.", value))


def _moment(fields: Fields, path: str, value: Timestamp) -> None:
    try:
        value.ToDatetime()
    except ValueError:
        fields.refuse(path, "must be a time in the years 1 to 9999")


def _text(bounds: Bounds) -> Look:
    least, most = bounds.min_length or None, bounds.max_length or None
    leading, or_empty = bounds.leading, bounds.or_empty
    is_normal = bounds.form != options_pb2.FORM_UNSPECIFIED
    has_lines = bounds.form == options_pb2.FORM_LINES
    pattern, described = _pattern(bounds)
    if_empty = told = f"must be {described or _count(least, most, 'character')}"
    if least == 1 and not described:
        if_empty, told = "must not be empty", f"must be {_count(None, most, 'character')}"

    def look_at(fields: Fields, path: str, value: str) -> None:
        if not value and or_empty:
            return
        if most is not None and len(value) > _SHRINKS_BY * most + _MARGIN:
            fields.refuse(path, told)  # no work on what can't be right
            return
        if is_normal:
            value = normal_text(value, multiline=has_lines).removeprefix(leading).lstrip()
        if not _is_within(least, len(value), most):
            fields.refuse(path, told if value else if_empty)
        elif is_normal and (hidden := first_hidden(value, multiline=has_lines)):
            fields.refuse(path, f"must not contain the character U+{ord(hidden):04X}")
        elif pattern is not None and not pattern.fullmatch(value):
            fields.refuse(path, told)

    return look_at


def _pattern(bounds: Bounds) -> tuple[re.Pattern[str] | None, str]:
    """The pattern that the whole text has to match, and that in words."""
    if bounds.format == options_pb2.FORMAT_UUID:
        return CANONICAL_ID, "a UUID such as 01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7"
    return re.compile(bounds.pattern) if bounds.pattern else None, bounds.described


def _packed_ids(bounds: Bounds) -> Look:
    least, most = bounds.min_items or None, bounds.max_items or None

    def look_at(fields: Fields, path: str, value: bytes) -> None:
        count, rest = divmod(len(value), ID_BYTES)
        if rest:
            fields.refuse(path, f"must be whole ids of {ID_BYTES} bytes each")
        elif not _is_within(least, count, most):
            fields.refuse(path, f"must be {_count(least, most, 'id')}")

    return look_at


def _number(bounds: Bounds) -> Look:
    least = bounds.min if bounds.HasField("min") else None
    most = bounds.max if bounds.HasField("max") else None

    def look_at(fields: Fields, path: str, value: float) -> None:
        if not _is_within(least, value, most):
            fields.refuse(path, f"must be {_range(least, most)}")

    return look_at


def _enum(enum: EnumDescriptor, bounds: Bounds) -> Look | None:
    if not bounds.named and not bounds.specified:
        return None
    good = {each.number: each.name for each in enum.values if each.number or bounds.named}
    *others, last = good.values()

    def look_at(fields: Fields, path: str, value: int) -> None:
        if value not in good:
            fields.refuse(path, f"must be {', '.join(others)} or {last}")

    return look_at


def _is_within(least: float | None, value: float, most: float | None) -> bool:
    """So written, it is false of what is not a number."""
    return (least is None or least <= value) and (most is None or value <= most)


def _count(least: int | None, most: int | None, noun: str) -> str:
    return f"{_range(least, most)} {noun}{'' if (most or least) == 1 else 's'}"


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return f"at most {most or 0:.15g}"
    if most is None:
        return f"at least {least:.15g}"
    return f"{most:.15g}" if least == most else f"{least:.15g} to {most:.15g}"
