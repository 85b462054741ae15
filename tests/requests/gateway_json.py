"""The gateway's decoder as tests use it: a type and a body in, a message or InvalidArgument out."""

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from gateway.decoder import MessageReader, Violations, parse
from gateway.model import JsonBounds


def descriptor_of(message_class: type[Message]) -> Descriptor:
    return descriptor_pool.Default().FindMessageTypeByName(message_class.DESCRIPTOR.full_name)


def decode(descriptor: Descriptor, body: bytes | str) -> Message:
    bounds = JsonBounds()
    violations = Violations(bounds.violations_max)
    value = parse(body if isinstance(body, bytes) else body.encode(), violations)
    violations.check()
    message = MessageReader(descriptor, bounds)(value, "", violations)
    violations.check()
    return message
