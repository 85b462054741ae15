"""Path, query and body become one message; each field from one place, each wrong one named."""

import pytest
from google.api.http_pb2 import HttpRule
from google.protobuf import json_format

from gateway.contract import load_contract
from gateway.model import JsonBounds
from gateway.queries import RequestDecoder
from gateway.routes import Router
from svckit.errors import InvalidArgument
from tests.stacks.gateway_protos import methods

ROUTER = Router([method for service in load_contract().services for method in service.methods])
TRIAL = Router(
    methods(
        {
            "Read": HttpRule(get="/v1/read/{count}/{open}"),
            "Write": HttpRule(post="/v1/write/{name}", body="inner_part"),
        }
    )
)


def decode(method: str, path: str, query: str = "", body: str = "", router: Router = ROUTER):
    route, values = router.match(method, path.encode())
    return RequestDecoder(route, JsonBounds()).decode(
        values, query.encode("latin-1"), body.encode()
    )


def found(
    method: str, path: str, query: str = "", body: str = "", router: Router = ROUTER
) -> dict[str, object]:
    message = decode(method, path, query, body, router)
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def refused(
    method: str, path: str, query: str = "", body: str = "", router: Router = ROUTER
) -> list[str]:
    with pytest.raises(InvalidArgument) as error:
        decode(method, path, query, body, router)
    return [each.field for each in error.value.violations]


def test_query_in_both_spellings() -> None:
    expected = {"page_size": 5, "page_token": "a b+c&d=é"}
    for names in ("pageSize=5&pageToken", "page_size=5&page_token"):
        assert found("GET", "/v1/feed", f"{names}=a+b%2Bc%26d=%C3%A9") == expected
    assert found("GET", "/v1/feed", "&pageSize=5&&") == {"page_size": 5}
    assert found("GET", "/v1/feed", "afterPostId=") == {"after_post_id": ""}


def test_query_of_every_kind() -> None:
    query = "verb=ACTIVITY_VERB_LIKE&startTime=2026-11-20T12:34:56.5Z&actorId=a&pageSize=-1"
    assert found("GET", "/v1/admin/activity", query) == {
        "verb": "ACTIVITY_VERB_LIKE",
        "start_time": "2026-11-20T12:34:56.500Z",
        "actor_id": "a",
        "page_size": -1,
    }
    query = "tags=a&tags=b&ratio=1.5&innerPart.sizeMs=7&other_part.size_ms=-8&name=true"
    assert found("GET", "/v1/read/9007199254740993/true", query, router=TRIAL) == {
        "count": "9007199254740993",
        "open": True,
        "tags": ["a", "b"],
        "ratio": 1.5,
        "inner_part": {"size_ms": "7"},
        "other_part": {"size_ms": "-8"},
        "name": "true",
    }


QUERIES = [
    ("pagesize=1", ["pagesize"]),
    ("pageSize=1&pageSize=1", ["page_size"]),
    ("pageSize=1&page_size=1", ["page_size"]),
    ("pageSize=", ["page_size"]),
    ("pageSize", ["page_size"]),
    ("pageSize=1.5&pageToken=%ff", ["page_size", "query"]),
    ("pageSize=0x10", ["page_size"]),
    ("pageSize=99999999999", ["page_size"]),
    ("pageSize=" + "9" * 10_000, ["page_size"]),
    ("pageToken=100%", ["query"]),
    ("a%0d%0ab=1", ["a\\r\\nb"]),
    ("pageSize[]=1", ["pageSize[]"]),
    ("&".join(f"x{number}=1" for number in range(50)), [f"x{number}" for number in range(20)]),
]


@pytest.mark.parametrize(("query", "fields"), QUERIES, ids=[query[:20] for query, _ in QUERIES])
def test_a_wrong_query_is_named(query: str, fields: list[str]) -> None:
    assert refused("GET", "/v1/feed", query) == fields


def test_values_in_a_path_are_of_the_fields_type() -> None:
    assert refused("GET", "/v1/read/x/yes", router=TRIAL) == ["count", "open"]
    assert refused("GET", "/v1/read/1/True", "ratio=NaN&ratio=1", router=TRIAL) == ["open", "ratio"]
    assert refused("GET", "/v1/admin/activity", "startTime=now&verb=like") == ["start_time", "verb"]


def test_a_field_comes_from_one_place() -> None:
    assert refused("GET", "/v1/users/a", "userId=b") == ["userId"]
    assert refused("POST", "/v1/posts/a/comments", "", '{"postId": "b"}') == ["post_id"]
    assert refused("POST", "/v1/posts/a/comments", "content=b", "{}") == ["content"]
    assert refused("POST", "/v1/write/a", "innerPart.sizeMs=1", "{}", router=TRIAL) == [
        "innerPart.sizeMs"
    ]


def test_the_body_is_where_the_rule_says() -> None:
    created = found("POST", "/v1/posts/a/comments", "", '{"content": "b"}')
    assert created == {"post_id": "a", "content": "b"}
    written = found("POST", "/v1/write/a", "count=5", '{"sizeMs": 6}', router=TRIAL)
    assert written == {"name": "a", "count": "5", "inner_part": {"size_ms": "6"}}
    assert refused("POST", "/v1/write/a", "", '{"name": "b"}', router=TRIAL) == ["inner_part.name"]
    assert refused("GET", "/v1/feed", "", "{}") == ["body"]
    assert refused("DELETE", "/v1/posts/a", "", "{}") == ["body"]
    assert refused("POST", "/v1/auth/logout") == ["body"]
    assert found("POST", "/v1/auth/logout", "", "{}") == {}


def test_what_is_wrong_anywhere_is_told_together() -> None:
    fields = refused("POST", "/v1/write/a", "count=x&y=1", '{"sizeMs": "z"}', router=TRIAL)
    assert fields == ["inner_part.size_ms", "count", "y"]


PATCHES = [
    ('{"bio": "", "displayName": "Ada"}', "bio,displayName"),
    ('{"bio": null, "avatar_url": "x"}', "avatarUrl"),
    ('{"bio": "x", "displayName": "Ada", "updateMask": "bio"}', "bio"),
    ('{"bio": "x", "updateMask": ""}', ""),
    ("{}", None),
]


@pytest.mark.parametrize(("body", "mask"), PATCHES)
def test_a_patch_means_the_fields_that_are_there(body: str, mask: str | None) -> None:
    message = decode("PATCH", "/v1/me", "", body)
    assert json_format.MessageToDict(message).get("updateMask") == mask


def test_a_patch_does_not_mean_what_stands_in_the_path() -> None:
    message = decode("PATCH", "/v1/posts/a", "", '{"metadata": {"tags": []}}')
    assert list(message.update_mask.paths) == ["metadata"]
    assert message.post_id == "a"
