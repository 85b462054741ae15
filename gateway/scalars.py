"""A JSON value or a text in, the value of one field out; or Wrong, which says what would be right.

Numbers come as the text that stood in the JSON, so that what is in range is for the field to say,
and so that no length of digits costs time. As strict as proto3 JSON is written, where Python's own
readers are looser (`1_000`, ` 5`, `0x`, base64 with line breaks).
"""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

Value = str | int | float | bytes | Message
Convert = Callable[[object], Value]

_NUMBER_CHARACTERS_MAX = 64
_INTEGER = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_MASK_CHARACTERS_MAX = 2000
_MASK_PATH = re.compile(r"[a-z][A-Za-z0-9_]*(?:\.[a-z][A-Za-z0-9_]*)*")
_MASK_WRONG = 'must name fields, as in "displayName,bio"'
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 all here is in UTC
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class Wrong(Exception):
    """The value can't be the field's; the text says what could."""


class Number(str):
    """A JSON number, as it was written; also NaN and Infinity, which Python takes for JSON."""

    __slots__ = ()


def converter(field: FieldDescriptor) -> Convert | None:
    """For a field that one JSON value or text can give; None for other messages."""
    if field.message_type is not None:
        return _WELL_KNOWN.get(field.message_type.full_name)
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.cpp_type in _RANGES:
        return _integer(*_RANGES[field.cpp_type])
    if field.type in _BY_TYPE:
        return _BY_TYPE[field.type]
    raise ValueError(f"{field.full_name}: its type is not supported")


def text_converter(field: FieldDescriptor) -> Convert | None:
    """The same for a text in a path or query, where there are no quotes to tell types apart."""
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _bool_text
    return converter(field)


def _text(value: object) -> str:
    if type(value) is not str:
        raise Wrong("must be a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Wrong("must not contain an unpaired surrogate") from None
    return value


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong("must be true or false")
    return value


def _bool_text(value: object) -> bool:
    if value not in {"true", "false"}:
        raise Wrong("must be true or false")
    return value == "true"


def _integer(lowest: int, highest: int) -> Convert:
    wrong = f"must be a whole number from {lowest} to {highest}"

    def convert(value: object) -> int:
        if not _is_number_text(value):
            raise Wrong(wrong)
        text = str(value)
        if _INTEGER.fullmatch(text):
            number = int(text)
        elif _DECIMAL.fullmatch(text) and float(text).is_integer():
            number = int(float(text))
        else:
            raise Wrong(wrong)
        if not lowest <= number <= highest:
            raise Wrong(wrong)
        return number

    return convert


def _is_number_text(value: object) -> bool:
    return type(value) in {str, Number} and len(str(value)) <= _NUMBER_CHARACTERS_MAX


def _double(value: object) -> float:
    if type(value) is str and value in _SPECIAL:
        return _SPECIAL[value]
    if not _is_number_text(value) or not _DECIMAL.fullmatch(str(value)):
        raise Wrong("must be a number")
    number = float(str(value))
    if abs(number) == _SPECIAL["Infinity"]:
        raise Wrong("must be a number that fits 64 bits")
    return number


def _enum(enum: EnumDescriptor) -> Convert:
    names: Mapping[str, int] = {value.name: value.number for value in enum.values}
    as_integer = _integer(*_RANGES[FieldDescriptor.CPPTYPE_INT32])
    wrong = f"must be one of {', '.join(names)}"

    def convert(value: object) -> Value:
        if type(value) is str and value in names:
            return names[value]
        if type(value) is str and not _INTEGER.fullmatch(value):
            raise Wrong(wrong)
        try:
            return as_integer(value)
        except Wrong:
            raise Wrong(wrong) from None

    return convert


def _bytes(value: object) -> bytes:
    text = value.rstrip("=") if type(value) is str and _BASE64.fullmatch(value) else None
    if text is None or len(text) % 4 == 1:
        raise Wrong("must be base64")
    return base64.urlsafe_b64decode(
        text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4)
    )


def _timestamp(value: object) -> Timestamp:
    match = _RFC3339.fullmatch(value) if type(value) is str else None
    wrong = Wrong("must be a time like 2026-11-20T12:34:56.789Z")
    if match is None:
        raise wrong
    moment, fraction, sign, hours, minutes = match.groups()
    try:
        since = datetime.fromisoformat(moment) - _offset(sign, hours, minutes) - _EPOCH
    except (ValueError, OverflowError):  # no such day, or not in the years 1 to 9999
        raise wrong from None
    return Timestamp(
        seconds=since.days * 86_400 + since.seconds, nanos=int((fraction or "").ljust(9, "0"))
    )


def _offset(sign: str | None, hours: str, minutes: str) -> timedelta:
    if sign is None:
        return timedelta()
    return timedelta(minutes=int(sign + minutes), hours=int(sign + hours))


def _field_mask(value: object) -> FieldMask:
    """Takes paths in both spellings, as all field names are."""
    if type(value) is not str or len(value) > _MASK_CHARACTERS_MAX:
        raise Wrong(_MASK_WRONG)
    paths = value.split(",") if value else []
    if not all(map(_MASK_PATH.fullmatch, paths)):
        raise Wrong(_MASK_WRONG)
    return FieldMask(
        paths=[re.sub("[A-Z]", lambda at: "_" + at[0].lower(), each) for each in paths]
    )


_BY_TYPE: Mapping[int, Convert] = {
    FieldDescriptor.TYPE_STRING: _text,
    FieldDescriptor.TYPE_BYTES: _bytes,
    FieldDescriptor.TYPE_BOOL: _bool,
    FieldDescriptor.TYPE_DOUBLE: _double,
}
_WELL_KNOWN: Mapping[str, Convert] = {
    Timestamp.DESCRIPTOR.full_name: _timestamp,
    FieldMask.DESCRIPTOR.full_name: _field_mask,
}
