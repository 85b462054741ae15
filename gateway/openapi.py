"""Routes, descriptors and comments in, an OpenAPI 3.1 document out.

The same contract always gives the same document. All that is said of an endpoint is its comment.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import metadata

from google.protobuf.descriptor import ServiceDescriptor
from newsfeed.options.v1 import options_pb2

from gateway.contract import Contract
from gateway.encoder import Json
from gateway.error_schema import error_schemas
from gateway.examples import example_of_message, example_of_parameter
from gateway.queries import Parameter, query_parameters
from gateway.routes import Route
from gateway.schemas import Schemas, as_text

_JSON_TYPE, _EVENTS_TYPE = "application/json", "text/event-stream"
_SENTENCE_END = re.compile(r"[.:;](?:\s|$)")
_ERRORS = {"4XX": "Refused", "5XX": "Failed"}
_DESCRIPTION = """\
HTTP and JSON for all that the services offer over gRPC.

- JSON is proto3 JSON: `lowerCamelCase`, 64-bit integers as strings, times as RFC 3339. Answers \
have all fields that their schema requires, also those with their default (0, false, an empty text \
or list); other fields are absent when there is nothing to say. In requests any field may be left \
out, `snake_case`, `null` for nothing and the numbers of enums are taken too, and a field that is \
not in the schema is refused by its name.
- Lists come in pages: send `nextPageToken` back as `pageToken`; only an empty one is the end.
- `PUT` and `DELETE` may be sent again: twice is as good as once.
- Errors have one shape, `Error`, whatever failed; programs go by `reason`.
- Every answer has an `X-Request-Id`: the one that was sent, or a new one. Quote it to support."""


def openapi_document(contract: Contract, routes: Sequence[Route]) -> dict[str, Json]:
    schemas = Schemas(contract.comments, [route.descriptor.output_type for route in routes])
    paths: dict[str, dict[str, Json]] = {}
    for route in routes:
        operation = _operation(contract, schemas, route)
        paths.setdefault(_path(route), {})[route.http_method.lower()] = operation
    about = metadata("newsfeed")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Newsfeed",
            "summary": about["Summary"],
            "version": about["Version"],
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "The gateway that serves this document."}],
        "tags": _tags(contract, routes),
        "paths": dict(paths),
        "components": {
            "schemas": schemas.components | error_schemas(contract.comments),
            "responses": _error_responses(),
            "headers": _headers(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The `accessToken` of signing up, logging in or refreshing.",
                }
            },
        },
    }


def _path(route: Route) -> str:
    fields = route.descriptor.input_type.fields_by_name
    path = route.template
    for name in route.path_fields:
        path = path.replace(f"{{{name}}}", f"{{{fields[name].json_name}}}")
    return path


def _tags(contract: Contract, routes: Sequence[Route]) -> list[Json]:
    with_routes = {_service(route).full_name for route in routes}
    return [
        {"name": service.name, "description": as_text(contract.comments[service.full_name])}
        for service in contract.services
        if service.full_name in with_routes
    ]


def _operation(contract: Contract, schemas: Schemas, route: Route) -> dict[str, Json]:
    method = route.descriptor
    comment = as_text(contract.comments[method.full_name])
    access = options_pb2.Access.DESCRIPTOR
    value = f"{access.full_name}.{access.values_by_number[route.access].name}"
    number = f"_{route.binding + 1}" if route.binding else ""
    operation: dict[str, Json] = {
        "operationId": f"{_service(route).name}_{method.name}{number}",
        "tags": [_service(route).name],
        "summary": _SENTENCE_END.split(comment)[0],
        "description": f"{comment}\n\nWho may call it: {as_text(contract.comments[value])}",
        "security": [] if route.access == options_pb2.ACCESS_PUBLIC else [{"bearer": []}],
    }
    if parameters := _parameters(schemas, route):
        operation["parameters"] = parameters
    if route.body:
        operation["requestBody"] = _request_body(schemas, route)
    operation["responses"] = _responses(schemas, route)
    return operation


def _parameters(schemas: Schemas, route: Route) -> list[Json]:
    fields = route.descriptor.input_type.fields_by_name
    in_path = [Parameter((), fields[name], str) for name in route.path_fields]
    found = [_parameter(schemas, each, "path") for each in in_path]
    found += [_parameter(schemas, each, "query") for each in query_parameters(route)]
    if route.is_server_streaming:
        found.append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "The `id` of the last event that came: the stream goes on after it.",
                "schema": {"type": "string"},
            }
        )
    return found


def _parameter(schemas: Schemas, parameter: Parameter, place: str) -> Json:
    is_required = place == "path"
    schema = schemas.field(parameter.field, is_request=True, may_be_empty=not is_required)
    found: dict[str, Json] = {
        "name": parameter.json_name,
        "in": place,
        "description": schema.pop("description"),
        "required": is_required,
        "schema": schema,
    }
    example = example_of_parameter(parameter.field, is_required=is_required)
    return found | ({} if example is None else {"example": example})


def _request_body(schemas: Schemas, route: Route) -> dict[str, Json]:
    message = route.descriptor.input_type
    without: tuple[str, ...] = route.path_fields
    if route.body != "*":
        body = message.fields_by_name[route.body].message_type
        assert body is not None
        message, without = body, ()
    return {
        "required": True,
        "description": schemas.comment(message),
        "content": {
            _JSON_TYPE: {
                "schema": schemas.request(message, without),
                "example": example_of_message(message, without, is_request=True),
            }
        },
    }


def _responses(schemas: Schemas, route: Route) -> dict[str, Json]:
    message = route.descriptor.output_type
    schema = schemas.answer(message)
    content: dict[str, Json] = {
        _JSON_TYPE: {"schema": schema, "example": example_of_message(message)}
    }
    if route.is_server_streaming:
        content = {_EVENTS_TYPE: {"schema": _event(schema, message.name)}}
    good: dict[str, Json] = {
        "description": schemas.comment(message),
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}},
        "content": content,
    }
    errors: Mapping[str, Json] = {
        status: {"$ref": f"#/components/responses/{name}"} for status, name in _ERRORS.items()
    }
    return {"200": good, **errors}


def _event(schema: Json, name: str) -> dict[str, Json]:
    """OpenAPI 3.1 has no word for streams: as others do, the schema is that of each event."""
    properties: dict[str, Json] = {
        "id": {"type": "string", "description": "For `Last-Event-ID`."},
        "event": {
            "enum": ["message", "failure"],
            "description": "`failure` has an `Error`, and is the last.",
        },
        "data": {
            "type": "string",
            "description": f"A `{name}` as JSON; or an `Error`.",
            "contentMediaType": _JSON_TYPE,
            "contentSchema": {"anyOf": [schema, {"$ref": "#/components/schemas/Error"}]},
        },
    }
    return {
        "type": "object",
        "description": "Server-Sent Events; this is each of them.",
        "properties": properties,
    }


def _error_responses() -> dict[str, Json]:
    described = {
        "Refused": "The request can't be served as it is: `error.details` says why.",
        "Failed": "It can't be served now. Where there is a `Retry-After`, try again.",
    }
    return {
        name: {
            "description": description,
            "headers": {
                each: {"$ref": f"#/components/headers/{each}"}
                for each in ("X-Request-Id", "Retry-After")
            },
            "content": {_JSON_TYPE: {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        for name, description in described.items()
    }


def _headers() -> dict[str, Json]:
    return {
        "X-Request-Id": {
            "description": "The name of this request in our logs.",
            "schema": {"type": "string"},
        },
        "Retry-After": {
            "description": "When trying again makes sense, in seconds; where it does.",
            "schema": {"type": "integer"},
        },
    }


def _service(route: Route) -> ServiceDescriptor:
    return route.descriptor.containing_service
