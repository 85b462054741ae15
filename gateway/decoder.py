"""Bytes of JSON in, a message of one type out; or InvalidArgument, which names every wrong field.

Readers are made from the descriptors at start. They take what proto3 JSON takes, both spellings of
a field's name, and refuse what is not in the type, what stands twice and what can't be the value.
No type of the contract contains itself, so the depth of what is read has an end.
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.model import JsonBounds
from gateway.scalars import Convert, Number, Value, Wrong, converter
from svckit.errors import FieldViolation, InvalidArgument

BODY = "body"  # where a violation is that concerns no field

_NAME_CHARACTERS_MAX = 64
# An object becomes a tuple of pairs: nothing that stands twice is lost before it is refused.
_JSON = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=Number, parse_float=Number, parse_constant=Number
)
Read = Callable[[object, str, "Violations"], object]


class Violations:
    """The faults of one request: the first of them, when there are very many."""

    def __init__(self, violations_max: int) -> None:
        self._violations_max = violations_max
        self._found: list[FieldViolation] = []

    def __len__(self) -> int:
        return len(self._found)

    @property
    def is_full(self) -> bool:
        return len(self) >= self._violations_max

    def add(self, field: str, description: str) -> None:
        if not self.is_full:
            self._found.append(FieldViolation(field, description))

    def check(self) -> None:
        if self._found:
            raise InvalidArgument(self._found)


def shown(name: str) -> str:
    """A name that the client made up, fit for an answer and for a log line."""
    name = name if len(name) <= _NAME_CHARACTERS_MAX else name[:_NAME_CHARACTERS_MAX] + "..."
    return name if name.isprintable() else name.encode("unicode_escape").decode()


def parse(body: bytes, violations: Violations) -> object:
    """JSON as nested lists, tuples of pairs, and texts; None when it is none."""
    try:
        return cast("object", _JSON.decode(body.decode()))
    except UnicodeDecodeError:
        violations.add(BODY, "must be UTF-8")
    except json.JSONDecodeError as error:
        violations.add(BODY, f"is not JSON at line {error.lineno}, column {error.colno}")
    except RecursionError:
        violations.add(BODY, "is nested too deeply")
    return None


class MessageReader:
    """Reads objects as messages of one type."""

    def __init__(
        self, descriptor: Descriptor, bounds: JsonBounds, above: tuple[Descriptor, ...] = ()
    ) -> None:
        if descriptor in above:
            raise ValueError(f"{descriptor.full_name} contains itself: what is read has no bound")
        if descriptor.GetOptions().map_entry or descriptor.file.package == "google.protobuf":
            raise ValueError(f"{descriptor.full_name}: its type is not supported in requests")
        self._class = message_factory.GetMessageClass(descriptor)
        self._fields: Mapping[str, tuple[FieldDescriptor, Read]] = {
            spelling: (field, read)
            for field in descriptor.fields
            for read in [_reader(field, bounds, (*above, descriptor))]
            for spelling in (field.name, field.json_name)
        }

    def __call__(self, value: object, where: str, violations: Violations) -> Message:
        return self.read(value, where, violations)[0]

    def read(
        self, value: object, where: str, violations: Violations, taken: Collection[str] = ()
    ) -> tuple[Message, list[str]]:
        """The message, and which fields the object has; those `taken` already are refused in it."""
        if type(value) is not tuple:
            violations.add(where or BODY, "must be an object")
            return self._class(), []
        seen = set(taken)
        values: dict[str, object] = {}
        for name, each in value:
            if violations.is_full:
                break
            if name not in self._fields:
                violations.add(_below(where, shown(name)), "is not a field of this request")
                continue
            field, read = self._fields[name]
            path = _below(where, field.name)
            if field.name in seen:
                violations.add(path, "must be given once only")
                continue
            seen.add(field.name)
            if each is None:
                continue
            if field.containing_oneof is not None:
                if field.containing_oneof.full_name in seen:
                    violations.add(path, f"excludes another of {field.containing_oneof.name}")
                seen.add(field.containing_oneof.full_name)
            values[field.name] = read(each, path, violations)
        return self._class() if violations else self._class(**values), list(values)


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _reader(field: FieldDescriptor, bounds: JsonBounds, above: tuple[Descriptor, ...]) -> Read:
    one: Read
    if convert := converter(field):
        one = _scalar(convert)
    else:
        assert field.message_type is not None
        one = MessageReader(field.message_type, bounds, above)
    return _repeated(one, bounds.items_max) if field.is_repeated else one


def _scalar(convert: Convert) -> Read:
    def read(value: object, where: str, violations: Violations) -> Value | None:
        try:
            return convert(value)
        except Wrong as wrong:
            violations.add(where, str(wrong))
            return None

    return read


def _repeated(one: Read, items_max: int) -> Read:
    def read(value: object, where: str, violations: Violations) -> list[object]:
        if type(value) is not list:
            violations.add(where, "must be a list")
            return []
        if len(value) > items_max:
            violations.add(where, f"must have at most {items_max} items")
            return []
        items = []
        for index, item in enumerate(value):
            if violations.is_full:
                break
            items.append(one(item, f"{where}[{index}]", violations))
        return items

    return read
