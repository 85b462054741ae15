"""A message in, its proto3 JSON out: the same as json_format's, by functions compiled at start.

For every type of message a function is written from its descriptor and compiled once, such as

    def user_v1_User(message):
        found = {}
        if value := message.user_id: found["userId"] = value
        if message.HasField("create_time"): found["createTime"] = timestamp(message.create_time)
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
            "is_zero": _is_zero,
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
            fields = [self._statement(field) for field in message.fields]
            lines = ["found = {}", *fields, "return found"]
        source = "\n    ".join([f"def {name}(message):", *lines])
        exec(compile(source, f"<{name}>", "exec"), self._scope)  # noqa: S102 of names in the contract
        return name

    def _statement(self, field: FieldDescriptor) -> str:
        """Takes the field over into `found`, if it is set."""
        value, target = f"message.{field.name}", f"found[{json.dumps(field.json_name)}]"
        if (entry := field.message_type) is not None and entry.GetOptions().map_entry:
            item = self._expression(entry.fields_by_name["value"], "item")
            items = f"{{str(key): {item} for key, item in value.items()}}"
            return f"if value := {value}: {target} = {items}"
        if field.is_repeated:
            item = self._expression(field, "item")
            return f"if value := {value}: {target} = [{item} for item in value]"
        if field.has_presence:
            expression = self._expression(field, value)
            return f'if message.HasField("{field.name}"): {target} = {expression}'
        expression = self._expression(field, "value")
        if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
            return f"if not is_zero(value := {value}): {target} = {expression}"
        return f"if value := {value}: {target} = {expression}"

    def _expression(self, field: FieldDescriptor, value: str) -> str:
        """What the value of the expression `value` is in JSON."""
        if field.message_type is not None:
            return f"{self._function(field.message_type)}({value})"
        if field.enum_type is not None:
            names = field.enum_type.full_name.replace(".", "_")
            self._scope[names] = {each.number: each.name for each in field.enum_type.values}
            return f"{names}.get({value}, {value})"
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


def _is_zero(value: float) -> bool:
    """Zero as it is not sent: minus zero is a value like others."""
    return value == 0 and math.copysign(1, value) > 0
