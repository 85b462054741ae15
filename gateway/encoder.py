"""A message in, its proto3 JSON out: the same as json_format's, by functions compiled at start.

Fields without presence are always there, also with their default (0, false, an empty text or list);
messages, `optional` fields and members of a oneof are there when they are set. For every type of
message a function is written from its descriptor and compiled once, such as

    def user_v1_User(message):
        found = {"userId": message.user_id, "followerCount": str(message.follower_count)}
        if has_user_v1_User(message, "create_time"):
            found["createTime"] = timestamp(message.create_time)
        return found

which is several times faster than asking the descriptor about every field of every message. The
dictionaries that come out are written as bytes by orjson.
"""

import base64
import json
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeAlias, cast

import orjson
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
ToObject = Callable[[Message], Json]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 all here is in UTC
_SECONDS = [f"{second:02}" for second in range(60)]
# Our times are whole milliseconds; others have no entry and take the long way.
_FRACTIONS = {0: "Z"} | {ms * 1_000_000: f".{ms:03}Z" for ms in range(1, 1000)}
_TO_JSON_STRING = frozenset({"google.protobuf.Duration", "google.protobuf.FieldMask"})
# How a value becomes JSON, as an expression; by cpp_type, with bytes under their own type.
_EXPRESSIONS = {
    FieldDescriptor.CPPTYPE_BOOL: "{}",
    FieldDescriptor.CPPTYPE_STRING: "{}",
    FieldDescriptor.CPPTYPE_INT32: "{}",
    FieldDescriptor.CPPTYPE_UINT32: "{}",
    FieldDescriptor.CPPTYPE_INT64: "str({})",
    FieldDescriptor.CPPTYPE_UINT64: "str({})",
    FieldDescriptor.CPPTYPE_DOUBLE: "number({})",
}


class Encoders:
    """The compiled functions. A type is compiled, with those in it, when it is first asked for."""

    def __init__(self) -> None:
        self._compiled: set[str] = set()
        self._scope: dict[str, object] = {
            "timestamp": _timestamp,
            "base64": base64.b64encode,
            "number": _number,
        }

    def to_bytes(self, message: Descriptor) -> Callable[[Message], bytes]:
        to_object = self.to_object(message)
        return lambda value: orjson.dumps(to_object(value))

    def to_object(self, message: Descriptor) -> ToObject:
        return cast("ToObject", self._scope[self._function(message)])

    def _function(self, message: Descriptor) -> str:
        """The name of the function for a type."""
        if message.full_name == Timestamp.DESCRIPTOR.full_name:
            return "timestamp"
        name = message.full_name.replace(".", "_")
        if name in self._compiled:
            return name
        self._compiled.add(name)
        if message.full_name in _TO_JSON_STRING:
            lines = ["return message.ToJsonString()"]
        elif message.file.package == "google.protobuf":
            raise ValueError(f"{message.full_name}: its JSON is not supported")
        else:
            self._scope[f"has_{name}"] = message_factory.GetMessageClass(message).HasField
            lines = self._statements(message, f"has_{name}")
        source = "\n    ".join([f"def {name}(message):", *lines])
        exec(compile(source, f"<{name}>", "exec"), self._scope)  # noqa: S102 of names in the contract
        return name

    def _statements(self, message: Descriptor, has: str) -> list[str]:
        """The fields without presence in one dictionary, then the others, each if it is set."""
        always = [
            f"{json.dumps(field.json_name)}: {self._value(field)}"
            for field in message.fields
            if not field.has_presence
        ]
        perhaps = [
            f'if {has}(message, "{field.name}"): '
            f"found[{json.dumps(field.json_name)}] = {self._value(field)}"
            for field in message.fields
            if field.has_presence
        ]
        return [f"found = {{{', '.join(always)}}}", *perhaps, "return found"]

    def _value(self, field: FieldDescriptor) -> str:
        """The field of `message` in JSON, as an expression."""
        value = f"message.{field.name}"
        if (entry := field.message_type) is not None and entry.GetOptions().map_entry:
            item = self._expression(entry.fields_by_name["value"], "item")
            return f"{{str(key): {item} for key, item in {value}.items()}}"
        if field.is_repeated:
            # A slice is a list, which is gone through several times faster than what it is of.
            if field.message_type is not None:
                return f"[*map({self._function(field.message_type)}, {value}[:])]"
            item = self._expression(field, "item")
            return f"{value}[:]" if item == "item" else f"[{item} for item in {value}[:]]"
        return self._expression(field, value)

    def _expression(self, field: FieldDescriptor, value: str) -> str:
        """The expression for the JSON of the expression `value`."""
        if field.message_type is not None:
            return f"{self._function(field.message_type)}({value})"
        if field.enum_type is not None:
            names = field.enum_type.full_name.replace(".", "_")
            self._scope[names] = {each.number: each.name for each in field.enum_type.values}
            return f"{names}.get(code := {value}, code)"
        if field.type == FieldDescriptor.TYPE_BYTES:
            return f"base64({value}).decode()"
        if field.cpp_type not in _EXPRESSIONS:
            raise ValueError(f"{field.full_name}: its type is not supported in JSON")
        return _EXPRESSIONS[field.cpp_type].format(value)


def _timestamp(value: Timestamp) -> str:
    fraction = _FRACTIONS.get(value.nanos)
    if fraction is None:
        return value.ToJsonString()
    minutes, second = divmod(value.seconds, 60)
    return f"{_minute(minutes)}{_SECONDS[second]}{fraction}"


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    """`2026-11-20T12:34:`; a page of posts asks for few, and for the same ones again."""
    return (_EPOCH + timedelta(minutes=minutes)).isoformat()[:17]


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
