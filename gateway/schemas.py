"""Types of the contract as JSON schemas, each with its comment.

A message is a component, named for its type. One that can be in a request has no other properties
than its own, since others are refused; what is only in answers may grow.
"""

from collections.abc import Collection, Iterable, Mapping

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gateway.encoder import Json

_BY_TYPE: Mapping[int, Mapping[str, Json]] = {
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
}
_WELL_KNOWN: Mapping[str, Mapping[str, Json]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.FieldMask": {"type": "string"},
}


class Schemas:
    """The components that have been referred to so far."""

    def __init__(self, comments: Mapping[str, str], from_requests: Iterable[Descriptor]) -> None:
        self.components: dict[str, Json] = {}
        self._parts: dict[str, tuple[str, ...]] = {}  # what is in a component, by its name
        self._comments = comments
        self._closed: set[str] = set()
        for message in from_requests:
            self._close(message)

    def reference(self, message: Descriptor, without: Collection[str] = ()) -> dict[str, Json]:
        """`without`: fields that stand elsewhere in the request."""
        if self._is_new(message, without):
            self.components[message.name] = {}  # its place, before those of the types in it
            self.components[message.name] = self._message(message, without)
        return {"$ref": f"#/components/schemas/{message.name}"}

    def field(self, field: FieldDescriptor) -> dict[str, Json]:
        """The schema of a property or parameter."""
        schema = self._value(field)
        if field.is_repeated:
            schema = {"type": "array", "items": schema}
        return schema | {"description": self.comment(field)}

    def comment(self, element: Descriptor | FieldDescriptor | EnumDescriptor) -> str:
        return as_text(self._comments[element.full_name])

    def _message(self, message: Descriptor, without: Collection[str]) -> dict[str, Json]:
        schema: dict[str, Json] = {
            "type": "object",
            "description": self.comment(message),
            "properties": {
                field.json_name: self.field(field)
                for field in message.fields
                if field.name not in without
            },
        }
        return schema | (
            {"additionalProperties": False} if message.full_name in self._closed else {}
        )

    def _value(self, field: FieldDescriptor) -> dict[str, Json]:
        if field.message_type is not None:
            known = _WELL_KNOWN.get(field.message_type.full_name)
            return dict(known) if known else self.reference(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        return dict(_BY_TYPE[field.cpp_type])

    def _enum(self, enum: EnumDescriptor) -> dict[str, Json]:
        if self._is_new(enum):
            values = [(each.name, f"{enum.full_name}.{each.name}") for each in enum.values]
            lines = [f"- `{name}`: {as_text(self._comments[key])}" for name, key in values]
            self.components[enum.name] = {
                "type": "string",
                "description": "\n".join([self.comment(enum), "", *lines]),
                "enum": [name for name, _ in values],
            }
        return {"$ref": f"#/components/schemas/{enum.name}"}

    def _is_new(self, element: Descriptor | EnumDescriptor, without: Collection[str] = ()) -> bool:
        """Two things of one name can't both be documented under it."""
        parts = (element.full_name, *without)
        if self._parts.setdefault(element.name, parts) != parts:
            raise ValueError(f"{parts} and {self._parts[element.name]} share a name")
        return element.name not in self.components

    def _close(self, message: Descriptor) -> None:
        self._closed.add(message.full_name)
        for field in message.fields:
            if field.message_type is not None and field.message_type.full_name not in self._closed:
                self._close(field.message_type)


def as_text(comment: str) -> str:
    """Without the line breaks of the file; the errors in a comment begin a paragraph."""
    paragraphs = comment.replace("\nErrors:", "\n\nErrors:").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
