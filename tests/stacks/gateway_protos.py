"""Rpcs that the contract does not have, as descriptors made on the spot."""

from collections.abc import Mapping

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from newsfeed.options.v1 import options_pb2

_FIELDS = {
    "name": (FieldDescriptorProto.TYPE_STRING, ""),
    "count": (FieldDescriptorProto.TYPE_INT64, ""),
    "open": (FieldDescriptorProto.TYPE_BOOL, ""),
    "ratio": (FieldDescriptorProto.TYPE_DOUBLE, ""),
    "inner_part": (FieldDescriptorProto.TYPE_MESSAGE, ".trial.Part"),
    "other_part": (FieldDescriptorProto.TYPE_MESSAGE, ".trial.Part"),
}


def methods(
    rules: Mapping[str, HttpRule],
    access: options_pb2.Access.ValueType = options_pb2.ACCESS_USER,
    *,
    client_streaming: bool = False,
) -> list[MethodDescriptor]:
    """A service with one rpc a rule, each with the same request and response."""
    file = FileDescriptorProto(name="trial.proto", package="trial", syntax="proto3")
    part = file.message_type.add(name="Part")
    part.field.add(
        name="size_ms",
        json_name="sizeMs",
        number=1,
        type=FieldDescriptorProto.TYPE_INT64,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    request = file.message_type.add(name="Request")
    for number, (name, (kind, type_name)) in enumerate(_FIELDS.items(), 1):
        request.field.add(
            name=name,
            number=number,
            type=kind,
            type_name=type_name or None,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
        )
    request.field.add(
        name="tags",
        number=20,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_REPEATED,
    )
    service = file.service.add(name="TrialService")
    for name, rule in rules.items():
        method = service.method.add(
            name=name, input_type=".trial.Request", output_type=".trial.Part"
        )
        method.client_streaming = client_streaming
        method.options.Extensions[annotations_pb2.http].CopyFrom(rule)
        method.options.Extensions[options_pb2.access] = access
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return list(pool.FindServiceByName("trial.TrialService").methods)
