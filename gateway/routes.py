"""Method and path in, the rpc that they mean and the values in the path out.

The routes are compiled from the `google.api.http` rules of the contract into a tree of segments. A
path means one thing: a segment is looked up as it was sent, and only the values in it are decoded,
once. What two rules could both claim, and what HTTP can't express, is refused at start.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from newsfeed.options.v1 import options_pb2

from gateway.exchange import Refused

_METHODS = ("get", "put", "post", "delete", "patch")
_OVER_HTTP = frozenset(
    {
        options_pb2.ACCESS_PUBLIC,
        options_pb2.ACCESS_USER,
        options_pb2.ACCESS_MODERATOR,
        options_pb2.ACCESS_ADMIN,
    }
)
# RFC 3986 without `;`, to which others give meanings; with bytes beyond ASCII, which curl sends.
_PATH = re.compile(rb"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,=:@\x80-\xff]|%[0-9A-Fa-f]{2})*)+")
_DOTS = re.compile(rb"(?:\.|%2[Ee]){1,2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)\}(?::([A-Za-z]+))?")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One HTTP rule of one rpc. There is one object of each, so that it can be a quick key."""

    http_method: str
    template: str
    rpc: str  # as gRPC names it: "/newsfeed.user.v1.UserService/GetUser"
    descriptor: MethodDescriptor
    input_class: type[Message]
    output_class: type[Message]
    is_server_streaming: bool
    access: int  # newsfeed.options.v1.Access, never SERVICE
    body: str  # "" = none, "*" = all that is not in the path, else the field that it is
    path_fields: tuple[str, ...]
    binding: int  # 0 = the rpc's first rule; others are additional bindings


@dataclass(slots=True)
class _Node:
    """The ways on from a path so far; and the routes, by method, of a path that ends here."""

    literals: dict[bytes, "_Node"] = field(default_factory=dict)
    variables: dict[bytes, "_Node"] = field(default_factory=dict)  # by the `:verb` behind the value
    routes: dict[str, Route] = field(default_factory=dict)


class Router:
    """All routes of some rpcs. A match takes one look-up a segment."""

    def __init__(self, methods: Sequence[MethodDescriptor]) -> None:
        self.routes = tuple(route for method in methods for route in _routes_of(method))
        self._root = _Node()
        for route in self.routes:
            self._add(route)
        _check(self._root, "")

    def match(self, method: str, raw_path: bytes) -> tuple[Route, Sequence[str]]:
        """The route and the values of its `path_fields`; or Refused with 400, 404 or 405."""
        node, values = self._find(raw_path)
        route = node.routes.get("GET" if method == "HEAD" else method)
        if route is None:
            allow = ", ".join(_allowed(node)).encode()
            message = f"this path takes {allow.decode()}"
            raise Refused(405, "method", message, [(b"allow", allow)])
        return route, [_decoded(value) for value in values]

    def allowed(self, raw_path: bytes) -> tuple[str, ...]:
        """The methods that a path takes; or Refused with 400 or 404."""
        return _allowed(self._find(raw_path)[0])

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.template.split("/")[1:]:
            if variable := _VARIABLE.fullmatch(segment):
                verb = (variable[2] or "").encode()
                node = node.variables.setdefault(verb, _Node())
            elif not segment or set("{}*%") & set(segment):
                raise ValueError(f"{route.template}: {segment!r} is not supported in a path")
            else:
                node = node.literals.setdefault(segment.encode(), _Node())
        if other := node.routes.get(route.http_method):
            raise ValueError(f"{route.rpc} and {other.rpc}: {route.http_method} {route.template}")
        node.routes[route.http_method] = route

    def _find(self, raw_path: bytes) -> tuple[_Node, list[bytes]]:
        if not _PATH.fullmatch(raw_path):
            raise Refused(400, "path", "the path has characters that must be percent-encoded")
        node: _Node | None = self._root
        values: list[bytes] = []
        for segment in raw_path.split(b"/")[1:]:
            if _DOTS.fullmatch(segment):
                raise Refused(400, "path", "a path must not have . or .. in it")
            node = _step(node, segment, values) if node and segment else None
        if node is None or not node.routes:
            raise Refused(404, "path", "there is nothing at this path")
        return node, values


def _step(node: _Node, segment: bytes, values: list[bytes]) -> _Node | None:
    if literal := node.literals.get(segment):
        return literal
    value, _, verb = segment.rpartition(b":")
    if verb and (after := node.variables.get(verb)):
        values.append(value)
        return after if value else None
    values.append(segment)
    return node.variables.get(b"")


def _allowed(node: _Node) -> tuple[str, ...]:
    return tuple(sorted({*node.routes, *(["HEAD"] if "GET" in node.routes else [])}))


def _decoded(raw: bytes) -> str:
    try:
        text = percent_decoded(raw)
    except UnicodeDecodeError:
        raise Refused(400, "path", "the path must be UTF-8") from None
    if _CONTROL.search(text):
        raise Refused(400, "path", "the path must not have control characters in it")
    return text


def percent_decoded(raw: bytes) -> str:
    """Decoded once; raises UnicodeDecodeError. A `%` that begins no escape stays what it is."""
    return unquote_to_bytes(raw).decode()


def _check(node: _Node, path: str) -> None:
    if node.literals and node.variables:
        raise ValueError(f"{path}/: a name and a variable in the same place are ambiguous")
    for name, child in {**node.literals, **node.variables}.items():
        _check(child, f"{path}/{name.decode() or '{}'}")


def _routes_of(method: MethodDescriptor) -> Iterator[Route]:
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    access = options.Extensions[options_pb2.access]
    if access not in _OVER_HTTP:
        raise ValueError(f"{method.full_name}: only services may call it, it can't have a route")
    if method.client_streaming:
        raise ValueError(f"{method.full_name}: a client's stream can't come over HTTP")
    first = options.Extensions[annotations_pb2.http]
    for binding, rule in enumerate([first, *first.additional_bindings]):
        yield _route_of(method, rule, binding, access)


def _route_of(method: MethodDescriptor, rule: HttpRule, binding: int, access: int) -> Route:
    verb = rule.WhichOneof("pattern")
    if verb not in _METHODS or rule.response_body:
        raise ValueError(f"{method.full_name}: its HTTP rule is not supported")
    template = getattr(rule, verb)
    path_fields = tuple(name for name, _ in _VARIABLE.findall(template))
    _check_fields(method.input_type, path_fields, rule.body)
    return Route(
        http_method=verb.upper(),
        template=template,
        rpc=f"/{method.containing_service.full_name}/{method.name}",
        descriptor=method,
        input_class=message_factory.GetMessageClass(method.input_type),
        output_class=message_factory.GetMessageClass(method.output_type),
        is_server_streaming=method.server_streaming,
        access=access,
        body=rule.body,
        path_fields=path_fields,
        binding=binding,
    )


def _check_fields(message: Descriptor, path_fields: Sequence[str], body: str) -> None:
    by_name: Mapping[str, FieldDescriptor] = message.fields_by_name
    for name in path_fields:
        if name not in by_name or by_name[name].is_repeated or by_name[name].message_type:
            raise ValueError(f"{message.full_name}.{name} can't stand in a path")
    if len(set(path_fields)) < len(path_fields):
        raise ValueError(f"{message.full_name}: {path_fields} stand twice in a path")
    if body not in {"", "*"} and (body not in by_name or by_name[body].message_type is None):
        raise ValueError(f"{message.full_name}.{body} can't be a body")
