"""The OpenAPI document says what the gateway does, of every route, and the pages can show it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.contract import load_contract
from gateway.docs import assets
from gateway.encoder import Encoders
from gateway.model import JsonBounds
from gateway.openapi import openapi_document
from gateway.problems import to_json
from gateway.queries import RequestDecoder
from gateway.routes import Route, Router
from svckit.errors import InvalidArgument, ResourceExhausted
from tests.contract.contract_descriptors import RPC_LIST
from tests.requests.gateway_json import decode

CONTRACT = load_contract()
ROUTER = Router([method for service in CONTRACT.services for method in service.methods])
# Through JSON, as clients have it.
DOCUMENT: dict[str, Any] = json.loads(json.dumps(openapi_document(CONTRACT, ROUTER.routes)))
SCHEMAS = DOCUMENT["components"]["schemas"]
ASSETS = assets()


def operation_of(route: Route) -> dict[str, Any]:
    path = re.sub(r"_([a-z])(?=[a-z_]*})", lambda at: at[1].upper(), route.template)
    found: dict[str, Any] = DOCUMENT["paths"][path][route.http_method.lower()]
    return found


each_route = pytest.mark.parametrize(
    "route", ROUTER.routes, ids=[f"{each.http_method} {each.template}" for each in ROUTER.routes]
)


def check(value: object, schema: Mapping[str, Any]) -> None:
    whole = {**schema, "components": {"schemas": SCHEMAS}}
    OAS31Validator(whole).validate(value)


def test_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_is_the_same_every_time() -> None:
    first, again = (openapi_document(load_contract(), ROUTER.routes) for _ in range(2))
    assert json.dumps(first) == json.dumps(again)


def test_has_every_route_and_no_other() -> None:
    count = sum(len(operations) for operations in DOCUMENT["paths"].values())
    assert count == len(ROUTER.routes) == sum(len(rpc.http_rules) for rpc in RPC_LIST)
    names = [operation_of(route)["operationId"] for route in ROUTER.routes]
    assert len(set(names)) == count


@each_route
def test_an_operation_says_all_that_a_client_needs(route: Route) -> None:
    operation = operation_of(route)
    assert 0 < len(operation["summary"]) <= 120
    assert operation["description"].startswith(operation["summary"])
    assert (operation["security"] == []) == (route.access == 1)
    assert ("requestBody" in operation) == bool(route.body)
    in_path = [each["name"] for each in operation.get("parameters", []) if each["in"] == "path"]
    assert len(in_path) == len(route.path_fields)
    content = operation["responses"]["200"]["content"]
    expected = "text/event-stream" if route.is_server_streaming else "application/json"
    assert list(content) == [expected]


@each_route
def test_examples_are_what_the_gateway_takes_and_gives(route: Route) -> None:
    operation = operation_of(route)
    for parameter in operation.get("parameters", []):
        if "example" in parameter:
            check(parameter["example"], parameter["schema"])
    body = b""
    if route.body:
        content = operation["requestBody"]["content"]["application/json"]
        check(content["example"], content["schema"])
        body = json.dumps(content["example"]).encode()
    RequestDecoder(route, JsonBounds()).decode(["a"] * len(route.path_fields), b"", body)
    for content in operation["responses"]["200"]["content"].values():
        if "example" in content:
            check(content["example"], content["schema"])
            message = decode(route.descriptor.output_type, json.dumps(content["example"]))
            assert Encoders().to_object(route.descriptor.output_type)(message) == content["example"]


@each_route
def test_query_parameters_are_those_that_are_taken(route: Route) -> None:
    parameters = operation_of(route).get("parameters", [])
    names = [each["name"] for each in parameters if each["in"] == "query"]
    query = "&".join(f"{name}=1" for name in [*names, "other"])
    values, body = ["a"] * len(route.path_fields), b"{}" if route.body else b""
    with pytest.raises(InvalidArgument) as refused:
        RequestDecoder(route, JsonBounds()).decode(values, query.encode(), body)
    unknown = [each for each in refused.value.violations if "not a query" in each.description]
    assert [each.field for each in unknown] == ["other"]


def described(where: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield where, schema.get("description", "")
    for name, each in schema.get("properties", {}).items():
        yield from described(f"{where}.{name}", each)


def test_everything_is_described() -> None:
    found = [line for name, schema in SCHEMAS.items() for line in described(name, schema)]
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            found.append((path, operation["description"]))
            found += [(path, each["description"]) for each in operation.get("parameters", [])]
    found += [(each["name"], each["description"]) for each in DOCUMENT["tags"]]
    assert [where for where, text in found if not text.strip()] == []
    assert len(found) > 500


def test_requests_are_closed_and_answers_may_grow() -> None:
    for route in ROUTER.routes:
        if route.body:
            assert SCHEMAS[route.descriptor.input_type.name]["additionalProperties"] is False
    assert SCHEMAS["MediaInput"]["additionalProperties"] is False
    for name in ("Post", "Media"):
        assert "additionalProperties" not in SCHEMAS[name]
    assert "postId" not in SCHEMAS["UpdatePostRequest"]["properties"]  # it stands in the path


def test_what_a_request_may_hold_is_said_as_its_bounds_are() -> None:
    account = SCHEMAS["SignUpRequest"]["properties"]
    assert account["username"] == {
        "type": "string",
        "minLength": 3,
        "maxLength": 30,
        "pattern": "^(?:[a-z0-9_]+)$",
        "description": "Unique. Must be 3-30 of a-z, 0-9 and _.",
    }
    assert account["email"]["format"] == "email"
    assert account["displayName"]["anyOf"] == [{"const": ""}, {"minLength": 1, "maxLength": 60}]
    tags = SCHEMAS["PostMetadataInput"]["properties"]["tags"]
    assert (tags["maxItems"], tags["items"]["maxLength"]) == (10, 50)
    assert "maxItems" not in SCHEMAS["PostMetadata"]["properties"]["tags"]
    place = SCHEMAS["LocationInput"]["properties"]["latitude"]
    assert (place["minimum"], place["maximum"]) == (-90, 90)
    report = SCHEMAS["RecordEventsRequest"]["properties"]["events"]
    assert (report["minItems"], report["maxItems"]) == (1, 100)
    (user_id, _) = DOCUMENT["paths"]["/v1/users/{userId}"]["get"]["parameters"]
    assert user_id["schema"] == {"type": "string", "format": "uuid"}


@pytest.mark.parametrize(
    "error", [InvalidArgument.of("a", "b"), ResourceExhausted(1.5), KeyError("x")], ids=repr
)
def test_errors_are_as_they_are_described(error: Exception) -> None:
    answer = json.loads(to_json(error))
    check(answer, {"$ref": "#/components/schemas/Error"})
    for detail in answer["error"]["details"]:
        name = detail["@type"].rpartition(".")[2]
        assert set(detail) <= set(SCHEMAS[name]["properties"])


def test_answers_require_what_is_always_there_and_requests_nothing() -> None:
    assert SCHEMAS["EngagementCounts"]["required"] == list(
        SCHEMAS["EngagementCounts"]["properties"]
    )
    assert SCHEMAS["Post"]["required"] == ["postId", "authorId", "content", "edited", "mentions"]
    assert "required" not in SCHEMAS["GetPostResponse"]
    for route in ROUTER.routes:
        message = route.descriptor.output_type
        empty = Encoders().to_object(message)(route.output_class())
        assert isinstance(empty, dict)
        assert list(empty) == SCHEMAS[message.name].get("required", [])
        if route.body:
            assert "required" not in SCHEMAS[route.descriptor.input_type.name]


def test_pages_have_only_files_of_this_server() -> None:
    for page in ("/docs", "/redoc"):
        kind, body = ASSETS[page]
        html = body.decode()
        assert kind.startswith("text/html")
        links = re.findall(r'(?:src|href)="([^"]+)"', html)
        assert {f"/{link}" for link in links if link != "data:,"} <= set(ASSETS)
        assert len(links) >= 2
        assert re.findall(r"<script[^>]*>\s*[^<\s]|<style|\son\w+=|https?:", html) == []
        start = ASSETS[f"{page}/start.js"][1].decode()
        assert "openapi.json" in start
        assert "http" not in start


def test_files_have_their_types_and_are_there() -> None:
    kinds = {".js": "text/javascript", ".css": "text/css"}
    for path, (kind, body) in ASSETS.items():
        assert kind.split(";")[0] == kinds.get(path[path.rfind(".") :], "text/html")
        assert len(body) > 100
    assert b"SwaggerUIBundle" in ASSETS["/docs/swagger-ui.js"][1]
    assert b"RedocStandalone" in ASSETS["/redoc/redoc.js"][1]
