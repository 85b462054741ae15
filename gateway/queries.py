"""Path values, query and body of an HTTP request in, the request message of the rpc out.

Each field comes from one place: what stands in the path may not stand elsewhere; the query has what
the body does not. Where a request has an `update_mask` (those of `PATCH` do) and none is given, the
fields that are in the body are meant. What is wrong anywhere is reported together.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from gateway.decoder import BODY, MessageReader, Violations, parse, shown
from gateway.model import JsonBounds
from gateway.routes import Route, percent_decoded
from gateway.scalars import Convert, Value, Wrong, text_converter

MASK = "update_mask"
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field that a path or query can give, and the messages that it stands in."""

    parents: tuple[FieldDescriptor, ...]
    field: FieldDescriptor
    convert: Convert

    @property
    def name(self) -> str:
        return ".".join(each.name for each in (*self.parents, self.field))

    @property
    def json_name(self) -> str:
        return ".".join(each.json_name for each in (*self.parents, self.field))

    def put(self, message: Message, value: Value) -> None:
        for parent in self.parents:
            message = getattr(message, parent.name)
        if self.field.is_repeated:
            getattr(message, self.field.name).append(value)
        elif isinstance(value, Message):
            getattr(message, self.field.name).CopyFrom(value)
        else:
            setattr(message, self.field.name, value)


def parameters(
    message: Descriptor, without: Collection[str] = (), parents: tuple[FieldDescriptor, ...] = ()
) -> Iterator[Parameter]:
    """All fields that a text can give, those of singular messages in it included."""
    for field in message.fields:
        if field.name in without:
            continue
        if convert := text_converter(field):
            yield Parameter(parents, field, convert)
        elif field.message_type is not None and not field.is_repeated:
            yield from parameters(field.message_type, (), (*parents, field))


class RequestDecoder:
    """Decodes the requests of one route."""

    def __init__(self, route: Route, bounds: JsonBounds) -> None:
        descriptor = route.descriptor.input_type
        self._bounds = bounds
        self._class = route.input_class
        self._body = route.body
        self._path_fields = frozenset(route.path_fields)
        by_name = {each.name: each for each in parameters(descriptor)}
        self._path = [by_name[name] for name in route.path_fields]
        self._query: Mapping[str, Parameter] = {
            spelling: parameter
            for parameter in query_parameters(route)
            for spelling in (parameter.name, parameter.json_name)
        }
        self._read_body = _body_reader(descriptor, route.body, bounds)
        self._has_mask = MASK in descriptor.fields_by_name

    def decode(self, path_values: Sequence[str], query: bytes, body: bytes) -> Message:
        """Raises InvalidArgument, which names every wrong field."""
        violations = Violations(self._bounds.violations_max)
        message = self._message(body, violations)
        for parameter, text in zip(self._path, path_values, strict=True):
            _put(message, parameter, text, violations)
        self._put_query(message, query, violations)
        violations.check()
        return message

    def _message(self, body: bytes, violations: Violations) -> Message:
        if self._read_body is None:
            if body:
                violations.add(BODY, "must be empty: this call takes its fields in path and query")
            return self._class()
        value = parse(body, violations)
        if violations:
            return self._class()
        if self._body != "*":
            return self._class(**{self._body: self._read_body(value, self._body, violations)})
        message, given = self._read_body.read(value, "", violations, self._path_fields)
        if self._has_mask and given and MASK not in given and not violations:
            getattr(message, MASK).CopyFrom(FieldMask(paths=given))
        return message

    def _put_query(self, message: Message, query: bytes, violations: Violations) -> None:
        seen: set[str] = set()
        for part in filter(None, query.split(b"&")):
            if violations.is_full:
                return
            try:
                name, text = (_text(each) for each in (part.partition(b"=")[::2]))
            except Wrong as wrong:
                violations.add("query", str(wrong))
                continue
            parameter = self._query.get(name)
            if parameter is None:
                violations.add(shown(name), "is not a query parameter of this call")
            elif parameter.name in seen and not parameter.field.is_repeated:
                violations.add(parameter.name, "must be given once only")
            else:
                seen.add(parameter.name)
                _put(message, parameter, text, violations)


def query_parameters(route: Route) -> list[Parameter]:
    """The parameters that a query may have: all fields in neither the path nor the body."""
    if route.body == "*":
        return []
    return list(parameters(route.descriptor.input_type, {*route.path_fields, route.body}))


def _body_reader(descriptor: Descriptor, body: str, bounds: JsonBounds) -> MessageReader | None:
    if body == "*":
        return MessageReader(descriptor, bounds)
    message = descriptor.fields_by_name[body].message_type if body else None
    return MessageReader(message, bounds) if message else None


def _put(message: Message, parameter: Parameter, text: str, violations: Violations) -> None:
    try:
        parameter.put(message, parameter.convert(text))
    except Wrong as wrong:
        violations.add(parameter.name, str(wrong))


def _text(raw: bytes) -> str:
    if _BROKEN_ESCAPE.search(raw):
        raise Wrong("must have % only before two hexadecimal digits")
    try:
        return percent_decoded(raw.replace(b"+", b" "))
    except UnicodeDecodeError:
        raise Wrong("must be UTF-8") from None
