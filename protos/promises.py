"""What buf does not see of a contract that others rely on: bounds, routes, and who may call.

A bound may become wider, a route may be added. What was taken before and would be refused now, a
route that is gone and another access rule break those who call.
"""

from collections.abc import Iterator
from operator import gt, lt

from google.api.annotations_pb2 import http
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pb2 import MethodDescriptorProto as Method
from newsfeed.options.v1.options_pb2 import Access, Bounds, access, bounds

_OPTIONS = "newsfeed.options.v1"
# Of a number: from when on it is narrower than it was. 0, or none, = not bounded.
_NARROWER = {
    "min_length": gt,
    "max_length": lt,
    "min_items": gt,
    "max_items": lt,
    "min": gt,
    "max": lt,
}
# Another value, where there was one or where there is one now, takes other texts.
_THE_SAME = ("form", "leading", "pattern", "format", "packed", "named", "specified")


def broken_promises(now: FileDescriptorSet, promised: FileDescriptorSet) -> list[str]:
    """A line each; what is gone as a whole is told by buf."""
    found: list[str] = []
    methods, fields = dict(_methods(now)), dict(_fields(now))
    for name, method in _methods(promised):
        if name in methods:
            found += _of_method(name, methods[name], method)
    if _has_bounds(promised):
        for name, field in _fields(promised):
            if name in fields:
                found += _of_field(name, fields[name], field)
    return found


def _of_method(name: str, now: Method, promised: Method) -> Iterator[str]:
    rule, was = now.options.Extensions[access], promised.options.Extensions[access]
    if rule != was:
        yield f"{name} was for {Access.Name(was)}, and is for {Access.Name(rule)}"
    for route in sorted(_routes(promised) - _routes(now)):
        yield f"{name} was at {route}"


def _routes(method: Method) -> set[str]:
    rule = method.options.Extensions[http]
    return {
        _route(each) for each in (rule, *rule.additional_bindings) if each.WhichOneof("pattern")
    }


def _route(rule: HttpRule) -> str:
    verb = rule.WhichOneof("pattern") or ""
    return f"{verb.upper()} {getattr(rule, verb)}{f' with body {rule.body}' if rule.body else ''}"


def _of_field(
    name: str, now: FieldDescriptorProto, promised: FieldDescriptorProto
) -> Iterator[str]:
    bound, was = now.options.Extensions[bounds], promised.options.Extensions[bounds]
    for of, is_narrower in _NARROWER.items():
        new, old = _number(bound, of), _number(was, of)
        if new is not None and (old is None or is_narrower(new, old)):
            yield f"{name}: {of} was {'not bounded' if old is None else f'{old:g}'}, and is {new:g}"
    for of in _THE_SAME:
        new, old = getattr(bound, of), getattr(was, of)
        if new and new != old:
            yield f"{name}: {of} was {old!r}, and is {new!r}"
    if was.or_empty and not bound.or_empty:
        yield f"{name}: could be empty"


def _number(bound: Bounds, of: str) -> float | None:
    value: float = getattr(bound, of)
    is_set = bound.HasField(of) if of in {"min", "max"} else value != 0  # type: ignore[arg-type]
    return value if is_set else None


def _methods(contract: FileDescriptorSet) -> Iterator[tuple[str, Method]]:
    for file in contract.file:
        for service in file.service:
            for method in service.method:
                yield f"{file.package}.{service.name}.{method.name}", method


def _fields(contract: FileDescriptorSet) -> Iterator[tuple[str, FieldDescriptorProto]]:
    def inside(scope: str, message: DescriptorProto) -> Iterator[tuple[str, FieldDescriptorProto]]:
        name = f"{scope}.{message.name}"
        for field in message.field:
            yield f"{name}.{field.name}", field
        for nested in message.nested_type:
            yield from inside(name, nested)

    for file in contract.file:
        for message in file.message_type:
            yield from inside(file.package, message)


def _has_bounds(contract: FileDescriptorSet) -> bool:
    files = (file for file in contract.file if file.package == _OPTIONS)
    return any(extension.name == bounds.name for file in files for extension in file.extension)
