"""Paths to rpcs; what no rule means is refused, and so is a contract that is unclear."""

import pytest
from google.api.http_pb2 import HttpRule
from newsfeed.options.v1 import options_pb2

from gateway.contract import load_contract
from gateway.exchange import Refused
from gateway.routes import Router
from tests.contract.contract_descriptors import RPC_LIST, route_of
from tests.stacks.gateway_protos import methods

ROUTER = Router([method for service in load_contract().services for method in service.methods])


def test_every_rule_of_the_contract_has_its_route() -> None:
    expected = {
        f"/{rpc.service}/{rpc.name} {route_of(rule)}" for rpc in RPC_LIST for rule in rpc.http_rules
    }
    assert {f"{each.rpc} {each.http_method} {each.template}" for each in ROUTER.routes} == expected


@pytest.mark.parametrize("route", ROUTER.routes, ids=lambda each: each.template)
def test_a_path_made_from_a_template_leads_back_to_it(route) -> None:
    path = route.template
    for name in route.path_fields:
        path = path.replace(f"{{{name}}}", f"{name}%2F%3A%25é")
    found, values = ROUTER.match(route.http_method, path.encode())
    assert found is route
    assert values == [f"{name}/:%é" for name in route.path_fields]


FOUND = [
    ("GET", b"/v1/users:search", "SearchUsers", []),
    ("GET", b"/v1/users/:search", "GetUser", [":search"]),
    ("GET", b"/v1/users:byUsername/ada", "GetUser", ["ada"]),
    ("HEAD", b"/v1/feed", "ListHomeFeed", []),
    ("GET", b"/.well-known/jwks.json", "GetJwks", []),
    ("POST", b"/v1/admin/feeds/a:b:rebuild", "RebuildFeed", ["a:b"]),
    ("POST", b"/v1/admin/feeds:prewarm", "PrewarmFeeds", []),
    ("GET", b"/v1/admin/feeds/a%3Arebuild", "GetFeedInfo", ["a:rebuild"]),
    ("GET", b"/v1/admin/feeds/a:other", "GetFeedInfo", ["a:other"]),
    ("GET", b"/v1/users/a%252Fb", "GetUser", ["a%2Fb"]),  # decoded once
    ("GET", b"/v1/users/a+b", "GetUser", ["a+b"]),
    ("GET", b"/v1/tags/caf\xc3\xa9/posts", "ListPostsByTag", ["café"]),
]
REFUSED = [
    *(
        (path, 404)
        for path in (b"/", b"/v1", b"/v2/feed", b"/v1/feed/", b"/v1//feed", b"//v1/feed")
    ),
    *((path, 404) for path in (b"/v1/users/", b"/v1/users//follow", b"/v1/feed/x/y", b"/V1/feed")),
    *((path, 404) for path in (b"/v1/%66eed", b"/v1/users%3Asearch", b"/v1/users%2Fada")),
    *(
        (path, 404)
        for path in (b"/v1/admin/feeds/:rebuild", b"/newsfeed.user.v1.UserService/GetMe")
    ),
    *((path, 400) for path in (b"", b"v1/feed", b"*", b"/v1/feed?x", b"/v1/feed#x", b"/v1/feed x")),
    *(
        (path, 400)
        for path in (b"/v1/../v1/feed", b"/v1/./feed", b"/v1/users/%2e%2E", b"/v1/users/.")
    ),
    *((path, 400) for path in (b"/v1/feed;a=b", b"/v1/users/..;/follow", b"/v1/users/a;b/follow")),
    *(
        (path, 400)
        for path in (b"/v1/users/%00", b"/v1/users/a%0d%0ab", b"/v1/users/a\0", b"/v1\\feed")
    ),
    *((path, 400) for path in (b"/v1/users/%ff", b"/v1/users/\xff", b"/v1/users/%c0%ae%c0%ae")),
    *(
        (path, 400)
        for path in (b"/v1/users/%", b"/v1/users/%4", b"/v1/users/%zz", b"/v1/users/%u0041")
    ),
]


@pytest.mark.parametrize(("method", "path", "rpc", "values"), FOUND)
def test_finds(method: str, path: bytes, rpc: str, values: list[str]) -> None:
    route, found = ROUTER.match(method, path)
    assert (route.descriptor.name, found) == (rpc, values)


@pytest.mark.parametrize(("path", "status"), REFUSED)
def test_refuses(path: bytes, status: int) -> None:
    with pytest.raises(Refused) as refused:
        ROUTER.match("GET", path)
    assert refused.value.status == status


def test_another_method_learns_which_there_are() -> None:
    with pytest.raises(Refused) as refused:
        ROUTER.match("PUT", b"/v1/posts/a")
    assert refused.value.status == 405
    assert refused.value.headers == [(b"allow", b"DELETE, GET, HEAD, PATCH")]
    assert ROUTER.allowed(b"/v1/posts/a") == ("DELETE", "GET", "HEAD", "PATCH")
    assert ROUTER.allowed(b"/v1/users/a/follow") == ("DELETE", "PUT")


UNCLEAR = {
    "twice": {"A": HttpRule(get="/v1/a/{name}"), "B": HttpRule(get="/v1/a/{count}")},
    "name beside variable": {"A": HttpRule(get="/v1/a/{name}"), "B": HttpRule(get="/v1/a/me")},
    "no such field": {"A": HttpRule(get="/v1/{nobody}")},
    "a list": {"A": HttpRule(get="/v1/{tags}")},
    "a message": {"A": HttpRule(get="/v1/{inner_part}")},
    "one field twice": {"A": HttpRule(get="/v1/{name}/{name}")},
    "many segments": {"A": HttpRule(get="/v1/{name=**}")},
    "wildcard": {"A": HttpRule(get="/v1/*")},
    "empty segment": {"A": HttpRule(get="/v1//a")},
    "body is no message": {"A": HttpRule(post="/v1/a", body="name")},
    "response body": {"A": HttpRule(get="/v1/a", response_body="size_ms")},
    "custom": {"A": HttpRule(custom={"kind": "COPY", "path": "/v1/a"})},
}


@pytest.mark.parametrize("rules", UNCLEAR.values(), ids=UNCLEAR)
def test_a_contract_that_is_unclear_does_not_start(rules: dict[str, HttpRule]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Router(methods(rules))


def test_only_people_come_over_http() -> None:
    rules = {"A": HttpRule(get="/v1/a")}
    for access in (options_pb2.ACCESS_SERVICE, options_pb2.ACCESS_UNSPECIFIED):
        with pytest.raises(ValueError, match="only services"):
            Router(methods(rules, access))
    with pytest.raises(ValueError, match="stream"):
        Router(methods(rules, client_streaming=True))
    assert [each.access for each in Router(methods(rules)).routes] == [options_pb2.ACCESS_USER]
