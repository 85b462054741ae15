"""Every HTTP rule of the contract, called well: what OpenAPI promises comes, and nothing else.

The rules are read from the contract, so none can be forgotten. Each call is one that somebody would
make, about people and posts that others have had to do with.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from google.api.http_pb2 import HttpRule
from google.protobuf.message import Message
from newsfeed.analytics.v1 import analytics_service_pb2 as analytics_pb
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.user.v1 import user_service_pb2 as user_pb
from openapi_schema_validator import OAS31Validator

from tests.contract.contract_descriptors import RPC_LIST, Rpc, route_of
from tests.requests.http_calls import HttpCall, http_call
from tests.requests.openapi import closed
from tests.requests.sensible_content_requests import CONTENT_REQUESTS
from tests.requests.sensible_feed_requests import FEED_REQUESTS, UNIMPLEMENTED
from tests.requests.sensible_requests import REQUESTS
from tests.stacks.feed_stack import FeedStack, Reader
from tests.stacks.gateway_stack import GatewayStack
from tests.stacks.user_stack import Person

FIRST_EVENT_S = 1.0
EVENTS = "text/event-stream"
NOTHING: Sequence[object] = (0, False, "0", "", [], {})
RULES = [(rpc, rule) for rpc in RPC_LIST for rule in rpc.http_rules]
EVERY_RULE = pytest.mark.parametrize(
    ("rpc", "rule"), RULES, ids=[route_of(rule) for _, rule in RULES]
)
# Where an rpc has several rules: what the others than the first need.
OTHER_REQUESTS: Mapping[str, Callable[[Person], Message]] = {
    "GET /v1/users:byUsername/{username}": lambda owner: user_pb.GetUserRequest(
        username=owner.user.username
    ),
}
ABSENT = {
    "AnalyticsService.GetPostEngagement": analytics_pb.GetPostEngagementRequest(post_id="any"),
    "AnalyticsService.GetUserEngagement": analytics_pb.GetUserEngagementRequest(user_id="any"),
}


def key_of(rpc: Rpc) -> str:
    return ".".join(rpc.full_name.split(".")[-2:])


async def somebody(stack: FeedStack) -> Reader:
    """Has posted, follows, is followed, blocks, mutes, and would find new people."""
    names = ("owner", "friend", "stranger", "blocked", "muted")
    owner, friend, stranger, blocked, muted = [await stack.sign_up(name) for name in names]
    await owner.act("Follow", friend)
    await friend.act("Follow", owner)
    await friend.act("Follow", stranger)
    await owner.act("Block", blocked)
    await owner.act("Mute", muted)
    place = content_pb.Location(latitude=53.5, longitude=9.9, name="Hamburg")
    picture = content_pb.Media(url="photos/1.jpg", kind=content_pb.MEDIA_KIND_IMAGE, width=1600)
    post = await friend.publish(
        f"hello #world and @{owner.person.user.username}",
        metadata=content_pb.PostMetadata(location=place, media=[picture]),
    )
    await owner.share(post)
    return owner


async def talked_about(stack: FeedStack, post_id: str) -> None:
    """Somebody likes the post and comments on it."""
    reader, post = await stack.sign_up("reader"), content_pb.Post(post_id=post_id)
    await reader.like(post)
    await reader.comment(post)


async def request_for(stack: FeedStack, rpc: Rpc, rule: HttpRule, owner: Person) -> Message:
    if other := OTHER_REQUESTS.get(route_of(rule)):
        return other(owner)
    key = key_of(rpc)
    if rpc.service.startswith("newsfeed.analytics."):
        request_class = getattr(analytics_pb, rpc.method.input_type.rpartition(".")[2])
        absent: Message = ABSENT.get(key) or request_class()
        return absent
    if rpc.service.startswith("newsfeed.feed."):
        return FEED_REQUESTS[key](owner)
    if rpc.service.startswith("newsfeed.content."):
        request = await CONTENT_REQUESTS[key](stack.contents, owner)
        if post_id := getattr(request, "post_id", ""):
            await talked_about(stack, post_id)
        return request
    return await REQUESTS[key](stack.contents.people, owner)


async def token_for(stack: FeedStack, rpc: Rpc, owner: Person) -> str | None:
    if rpc.access == "PUBLIC":
        return None
    person = (await stack.admin()).person if rpc.access == "ADMIN" else owner
    return person.tokens.access_token


def operation_of(document: Any, rule: HttpRule) -> Any:
    method, template = route_of(rule).split(" ")
    path = re.sub(r"_([a-z])(?=[a-z_]*})", lambda at: at[1].upper(), template)
    return document["paths"][path][method.lower()]


def schema_of(document: Any, operation: Any, status: int) -> Any:
    responses = operation["responses"]
    response = responses.get(str(status)) or responses[f"{status // 100}XX"]
    if reference := response.get("$ref"):
        response = document["components"]["responses"][reference.rpartition("/")[2]]
    return response["content"]["application/json"]["schema"]


def validate(document: Any, schema: Any, body: object) -> None:
    OAS31Validator({**schema, "components": document["components"]}).validate(body)


@pytest.fixture(scope="module")
async def document(gateway_stack: GatewayStack) -> Any:
    return closed((await gateway_stack.request("GET", "/openapi.json")).json)


def test_the_document_has_these_rules_and_no_others(document: Any) -> None:
    documented = sum(len(operations) for operations in document["paths"].values())
    assert documented == len(RULES)
    assert all(operation_of(document, rule) for _, rule in RULES)


@EVERY_RULE
async def test_a_good_call_gets_what_is_promised(
    gateway_stack: GatewayStack, feed_stack: FeedStack, document: Any, rpc: Rpc, rule: HttpRule
) -> None:
    owner = (await somebody(feed_stack)).person
    operation = operation_of(document, rule)
    call = http_call(rule, await request_for(feed_stack, rpc, rule, owner))
    token = await token_for(feed_stack, rpc, owner)
    is_offered = key_of(rpc) not in UNIMPLEMENTED and not rpc.service.startswith(
        "newsfeed.analytics."
    )
    if is_offered and rpc.method.server_streaming:
        found = await first_event(gateway_stack, call, token)
        event = operation["responses"]["200"]["content"][EVENTS]["schema"]
        validate(document, event["properties"]["data"]["contentSchema"], found)
        return
    reply = await gateway_stack.request(call.method, call.path, token, call.body)
    assert reply.status == (200 if is_offered else 501), reply.body
    assert reply.headers["content-type"] == "application/json"
    validate(document, schema_of(document, operation, reply.status), reply.json)
    if is_offered and call.method == "GET":
        seen = [value for value in reply.json.values() if value not in NOTHING]
        assert seen, "there is something to see"


async def first_event(stack: GatewayStack, call: HttpCall, token: str | None) -> Any:
    """What is in the first event that is one, within a second."""
    async with stack.connection() as connection, asyncio.timeout(FIRST_EVENT_S):
        await connection.get(call.path, token)
        status, headers = await connection.head()
        assert (status, headers["content-type"]) == (200, EVENTS)
        while "data: " not in (event := await connection.event()):
            pass
    return json.loads(event.partition("data: ")[2])


async def test_a_post_that_nobody_has_liked_says_so_in_figures(
    gateway_stack: GatewayStack, feed_stack: FeedStack
) -> None:
    ada = await feed_stack.sign_up("ada")
    await ada.publish("hello")
    token = ada.person.tokens.access_token
    feed = (await gateway_stack.request("GET", "/v1/feed", token)).json
    (item,) = feed.pop("items")
    counts = dict.fromkeys(("likeCount", "commentCount", "shareCount", "viewCount"), "0")
    assert item["engagement"] == counts
    assert item["viewer"] == {"liked": False, "shared": False}
    assert item["author"]["avatarUrl"] == ""
    assert item["post"]["metadata"] == {"tags": [], "media": []}
    assert feed == {"nextPageToken": "", "degraded": False}
