"""The contract as the build left it: services, who may call each rpc, and every comment.

The descriptor set beside the generated code has the comments; the generated modules, which it
names, have the classes. Everything that the gateway knows of an endpoint comes from here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

if TYPE_CHECKING:
    from google.protobuf.message import Message

_PACKAGE = "newsfeed"


@dataclass(frozen=True, slots=True)
class Contract:
    """All services, and the comments by the full names of what they are written on."""

    services: Sequence[ServiceDescriptor]
    comments: Mapping[str, str]


def load_contract() -> Contract:
    bundle = files(_PACKAGE).joinpath("descriptors.binpb").read_bytes()
    own = [
        file
        for file in FileDescriptorSet.FromString(bundle).file
        if file.package.startswith(f"{_PACKAGE}.")
    ]
    services: list[ServiceDescriptor] = []
    for file in own:
        module = import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
        services += module.DESCRIPTOR.services_by_name.values()
    return Contract(services, {name: text for file in own for name, text in _comments(file)})


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        name = _name_at(file, location.path)
        if name and location.leading_comments:
            lines = location.leading_comments.splitlines()
            yield f"{file.package}.{name}", "\n".join(line.strip() for line in lines).strip()


def _name_at(file: FileDescriptorProto, path: Sequence[int]) -> str:
    """The name at the end of a path of (field number, index) pairs; empty = there is none."""
    element: Message = file
    names = []
    for number, index in zip(path[::2], path[1::2], strict=False):
        field = element.DESCRIPTOR.fields_by_number.get(number)
        if field is None or not field.is_repeated or field.message_type is None:
            return ""
        element = getattr(element, field.name)[index]
        names.append(getattr(element, "name", ""))
    return ".".join(names) if len(path) % 2 == 0 and all(names) else ""
