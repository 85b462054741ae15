"""The contract as the build left it: its descriptors, with their comments, ready to be walked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from google.api.annotations_pb2 import http as http_option
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
)
from newsfeed.options.v1 import options_pb2

# Field numbers of descriptor.proto, of which the paths of comments are made.
_FILE_MESSAGES, _FILE_ENUMS, _FILE_SERVICES, _FILE_EXTENSIONS = 4, 5, 6, 7
_MESSAGE_FIELDS, _MESSAGE_NESTED, _MESSAGE_ENUMS, _MESSAGE_ONEOFS = 2, 3, 4, 8
_SERVICE_METHODS, _ENUM_VALUES = 2, 2
Path = tuple[int, ...]


@dataclass(frozen=True)
class Rpc:
    """One rpc with all that the contract says about it."""

    service: str
    method: MethodDescriptorProto = field(repr=False)
    comment: str = field(repr=False)

    @property
    def name(self) -> str:
        return self.method.name

    @property
    def full_name(self) -> str:
        return f"{self.service}.{self.name}"

    @property
    def access(self) -> str:
        value = self.method.options.Extensions[options_pb2.access]
        return options_pb2.Access.Name(value).removeprefix("ACCESS_")

    @property
    def idempotency(self) -> str:
        return MethodOptions.IdempotencyLevel.Name(self.method.options.idempotency_level)

    @property
    def http_rules(self) -> list[HttpRule]:
        if not self.method.options.HasExtension(http_option):
            return []
        first = self.method.options.Extensions[http_option]
        return [first, *first.additional_bindings]

    @property
    def request(self) -> DescriptorProto:
        return MESSAGES[self.method.input_type]

    @property
    def response(self) -> DescriptorProto:
        return MESSAGES[self.method.output_type]


def load_files(descriptors: bytes) -> list[FileDescriptorProto]:
    """Our own files; what they import from google is not ours to judge."""
    everything = FileDescriptorSet.FromString(descriptors)
    return [file for file in everything.file if file.package.startswith("newsfeed.")]


def route_of(rule: HttpRule) -> str:
    verb = str(rule.WhichOneof("pattern"))
    return f"{verb.upper()} {getattr(rule, verb)}"


def comments_by_name(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Every element that an outsider meets, and its comment ("" = none)."""
    comments = {
        tuple(location.path): location.leading_comments.strip()
        for location in file.source_code_info.location
    }
    for path, name in _elements(file):
        yield f"{file.package}.{name}", comments.get(path, "")


def _elements(file: FileDescriptorProto) -> Iterator[tuple[Path, str]]:
    for index, service in enumerate(file.service):
        yield (_FILE_SERVICES, index), service.name
        for number, method in enumerate(service.method):
            path = (_FILE_SERVICES, index, _SERVICE_METHODS, number)
            yield path, f"{service.name}.{method.name}"
    for index, extension in enumerate(file.extension):
        yield (_FILE_EXTENSIONS, index), extension.name
    yield from _enum_elements(file.enum_type, (_FILE_ENUMS,), "")
    yield from _message_elements(file.message_type, (_FILE_MESSAGES,), "")


def _message_elements(
    messages: Sequence[DescriptorProto], above: Path, prefix: str
) -> Iterator[tuple[Path, str]]:
    for index, message in enumerate(messages):
        path, name = (*above, index), f"{prefix}{message.name}"
        yield path, name
        for number, member in enumerate(message.field):
            yield (*path, _MESSAGE_FIELDS, number), f"{name}.{member.name}"
        for number, oneof in enumerate(message.oneof_decl):
            if not _made_by_optional(message, number):
                yield (*path, _MESSAGE_ONEOFS, number), f"{name}.{oneof.name}"
        yield from _enum_elements(message.enum_type, (*path, _MESSAGE_ENUMS), f"{name}.")
        yield from _message_elements(message.nested_type, (*path, _MESSAGE_NESTED), f"{name}.")


def _made_by_optional(message: DescriptorProto, oneof: int) -> bool:
    return any(member.proto3_optional and member.oneof_index == oneof for member in message.field)


def _enum_elements(
    enums: Sequence[EnumDescriptorProto], above: Path, prefix: str
) -> Iterator[tuple[Path, str]]:
    for index, enum in enumerate(enums):
        yield (*above, index), f"{prefix}{enum.name}"
        for number, value in enumerate(enum.value):
            yield (*above, index, _ENUM_VALUES, number), f"{prefix}{enum.name}.{value.name}"


def _messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    for message in file.message_type:
        yield f".{file.package}.{message.name}", message


def _rpcs(file: FileDescriptorProto) -> Iterator[Rpc]:
    comments = dict(comments_by_name(file))
    for service in file.service:
        full_name = f"{file.package}.{service.name}"
        for method in service.method:
            yield Rpc(full_name, method, comments[f"{full_name}.{method.name}"])


def field_of(message: DescriptorProto, name: str) -> FieldDescriptorProto | None:
    return next((member for member in message.field if member.name == name), None)


FILES = load_files(files("newsfeed").joinpath("descriptors.binpb").read_bytes())
COMMENTS = {name: comment for file in FILES for name, comment in comments_by_name(file)}
MESSAGES = dict(entry for file in FILES for entry in _messages(file))
ENUMS = [enum for file in FILES for enum in file.enum_type]
RPC_LIST = [rpc for file in FILES for rpc in _rpcs(file)]
