"""Types of the contract as JSON schemas, each with its comment.

A message is a component, named for its type. In requests it has no other properties than its own,
since others are refused, and none is required; in answers it may grow, and what is always there is
required. A type that is in both has a component for each, that of requests named `...Input`. The
bounds that the contract gives its fields are those of requests.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from newsfeed.options.v1 import options_pb2
from newsfeed.options.v1.options_pb2 import Bounds

from gateway.encoder import Json
from svckit.bounds import bounds_of

_BY_TYPE: Mapping[int, Mapping[str, Json]] = {
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
}
_NUMBERS: Mapping[int, Callable[[float], Json]] = {
    FieldDescriptor.CPPTYPE_INT32: int,
    FieldDescriptor.CPPTYPE_DOUBLE: float,
}
_FORMATS: Mapping[int, str] = {
    options_pb2.FORMAT_UUID: "uuid",
    options_pb2.FORMAT_EMAIL: "email",
    options_pb2.FORMAT_URI: "uri",
}
_WELL_KNOWN: Mapping[str, Mapping[str, Json]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.FieldMask": {"type": "string"},
}


class Schemas:
    """The components that have been referred to so far; `answers` are the types of all answers."""

    def __init__(self, comments: Mapping[str, str], answers: Iterable[Descriptor]) -> None:
        self.components: dict[str, Json] = {}
        self._parts: dict[str, tuple[str, ...]] = {}  # what is in a component, by its name
        self._comments = comments
        self._in_answers: set[str] = set()
        for message in answers:
            self._add_answer(message)

    def answer(self, message: Descriptor) -> dict[str, Json]:
        """A reference to the type as it is in answers."""
        return self._reference(message, message.name, is_request=False)

    def request(self, message: Descriptor, without: Collection[str] = ()) -> dict[str, Json]:
        """The same for requests. `without`: fields that stand elsewhere in the request."""
        name = f"{message.name}Input" if message.full_name in self._in_answers else message.name
        return self._reference(message, name, without, is_request=True)

    def field(
        self, field: FieldDescriptor, *, is_request: bool, may_be_empty: bool = True
    ) -> dict[str, Json]:
        """The schema of a property or parameter."""
        schema = self._value(field, is_request=is_request)
        if is_request:
            schema |= _bounds_of_value(field, may_be_empty=may_be_empty)
        if field.is_repeated:
            schema = {"type": "array", "items": schema}
        if field.is_repeated and is_request:
            schema |= _bounds_of_list(bounds_of(field))
        in_words = bounds_of(field).described if is_request else ""
        described = [self.comment(field), *([f"Must be {in_words}."] if in_words else [])]
        return schema | {"description": " ".join(described)}

    def comment(self, element: Descriptor | FieldDescriptor | EnumDescriptor) -> str:
        return as_text(self._comments[element.full_name])

    def _reference(
        self, message: Descriptor, name: str, without: Collection[str] = (), *, is_request: bool
    ) -> dict[str, Json]:
        if self._is_new(message, name, without):
            self.components[name] = {}  # its place, before those of the types in it
            fields = [field for field in message.fields if field.name not in without]
            self.components[name] = {
                "type": "object",
                "description": self.comment(message),
                **({"additionalProperties": False} if is_request else _required(fields)),
                "properties": {
                    field.json_name: self.field(field, is_request=is_request) for field in fields
                },
            }
        return {"$ref": f"#/components/schemas/{name}"}

    def _value(self, field: FieldDescriptor, *, is_request: bool) -> dict[str, Json]:
        if field.message_type is not None:
            known = _WELL_KNOWN.get(field.message_type.full_name)
            if known is not None:
                return dict(known)
            of = self.request if is_request else self.answer
            return of(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        return dict(_BY_TYPE[field.cpp_type])

    def _enum(self, enum: EnumDescriptor) -> dict[str, Json]:
        if self._is_new(enum, enum.name):
            values = [(each.name, f"{enum.full_name}.{each.name}") for each in enum.values]
            lines = [f"- `{name}`: {as_text(self._comments[key])}" for name, key in values]
            self.components[enum.name] = {
                "type": "string",
                "description": "\n".join([self.comment(enum), "", *lines]),
                "enum": [name for name, _ in values],
            }
        return {"$ref": f"#/components/schemas/{enum.name}"}

    def _is_new(
        self, element: Descriptor | EnumDescriptor, name: str, without: Collection[str] = ()
    ) -> bool:
        """Two things of one name can't both be documented under it."""
        parts = (element.full_name, *without)
        if self._parts.setdefault(name, parts) != parts:
            raise ValueError(f"{parts} and {self._parts[name]} share a name")
        return name not in self.components

    def _add_answer(self, message: Descriptor) -> None:
        self._in_answers.add(message.full_name)
        for field in message.fields:
            part = field.message_type
            if part is not None and part.full_name not in self._in_answers:
                self._add_answer(part)


def _required(fields: Sequence[FieldDescriptor]) -> dict[str, Json]:
    """The fields that an answer always has; JSON schema wants no list of nothing."""
    always: list[Json] = [field.json_name for field in fields if not field.has_presence]
    return {"required": always} if always else {}


def _bounds_of_value(field: FieldDescriptor, *, may_be_empty: bool) -> dict[str, Json]:
    """A text is measured by services as it will be stored: a schema may be the stricter one."""
    bounds = bounds_of(field)
    found: dict[str, Json] = {}
    if bounds.min_length:
        found["minLength"] = bounds.min_length
    if bounds.max_length:
        found["maxLength"] = bounds.max_length
    if bounds.pattern:
        found["pattern"] = f"^(?:{bounds.pattern})$"
    if bounds.format in _FORMATS:
        found["format"] = _FORMATS[bounds.format]
    if (number := _NUMBERS.get(field.cpp_type)) is not None:
        found |= {"minimum": number(bounds.min)} if bounds.HasField("min") else {}
        found |= {"maximum": number(bounds.max)} if bounds.HasField("max") else {}
    return {"anyOf": [{"const": ""}, found]} if bounds.or_empty and may_be_empty else found


def _bounds_of_list(bounds: Bounds) -> dict[str, Json]:
    found: dict[str, Json] = {}
    if bounds.min_items:
        found["minItems"] = bounds.min_items
    if bounds.max_items:
        found["maxItems"] = bounds.max_items
    return found


def as_text(comment: str) -> str:
    """Without the line breaks of the file; the errors in a comment begin a paragraph."""
    paragraphs = comment.replace("\nErrors:", "\n\nErrors:").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
