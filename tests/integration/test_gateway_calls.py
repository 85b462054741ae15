"""Calls over HTTP to a real user_svc: what goes in, what comes out, and what goes along."""

import asyncio
import gzip
import json
import logging
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.feed.v1 import feed_service_pb2 as feed_pb

from svckit import errors
from svckit.context import Call, current_call
from tests.polling import until
from tests.stacks.gateway_stack import GatewayStack, open_gateway_stack, serving_beside
from tests.stacks.user_stack import PASSWORD, UserStack

CONTENT = content_pb.DESCRIPTOR.services_by_name["ContentService"]
FEED = feed_pb.DESCRIPTOR.services_by_name["FeedService"]
TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"
POST_ID = str(uuid.uuid4())


class Content:
    """Notes the calls that reach it, and does what the test says."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.text = "hello"
        self.error: Exception | None = None
        self.wait_s = 0.0

    async def get_post(self, request: content_pb.GetPostRequest) -> content_pb.GetPostResponse:
        call = current_call.get()
        assert call is not None
        self.calls.append(call)
        await asyncio.sleep(self.wait_s)
        if self.error is not None:
            raise self.error
        post = content_pb.Post(post_id=request.post_id, content=self.text)
        return content_pb.GetPostResponse(post=post)


@pytest.fixture(scope="module")
async def content() -> Content:
    return Content()


@pytest.fixture(scope="module")
async def stack(
    user_stack: UserStack, keys_folder: Path, content: Content
) -> AsyncIterator[GatewayStack]:
    methods = {"GetPost": content.get_post}
    async with (
        serving_beside(user_stack, keys_folder, CONTENT, methods) as content_target,
        open_gateway_stack(
            keys_folder,
            USER_SVC_TARGET=user_stack.address,
            CONTENT_SVC_TARGET=content_target,
            FEED_SVC_TARGET="127.0.0.1:1",  # nobody
            REQUEST_TIMEOUT_S="1",
            CORS_ORIGINS="https://app.example.com",
        ) as stack,
    ):
        yield stack


@pytest.fixture(autouse=True)
def anew(content: Content) -> None:
    content.calls.clear()
    content.text, content.error, content.wait_s = "hello", None, 0.0


async def test_the_life_of_an_account(stack: GatewayStack) -> None:
    name = f"ada_{uuid.uuid4().hex[:8]}"
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    signed_up = await stack.request("POST", "/v1/auth/signup", None, body)
    assert signed_up.status == 200
    assert signed_up.headers["cache-control"] == "no-store"
    token = signed_up.json["tokens"]["accessToken"]
    user_id = signed_up.json["user"]["userId"]
    changed = await stack.request("PATCH", "/v1/me", token, {"displayName": "Ada"})
    assert changed.json["user"]["displayName"] == "Ada"
    for path in (f"/v1/users/{user_id}", f"/v1/users:byUsername/{name}", "/v1/me"):
        assert (await stack.request("GET", path, token)).json["user"] == changed.json["user"]
    found = await stack.request("GET", f"/v1/users:search?query={name}&page_size=5", token)
    assert [each["username"] for each in found.json["users"]] == [name]
    head = await stack.request("HEAD", "/v1/me", token)
    assert head.body == b""
    assert head.headers["content-length"] == str(len(changed.body))
    assert (await stack.request("DELETE", f"/v1/users/{user_id}", token)).status == 200


async def test_errors_of_a_service_come_with_their_details(
    stack: GatewayStack, user_stack: UserStack
) -> None:
    ada = await user_stack.sign_up("ada")
    token = ada.tokens.access_token
    missing = await stack.request("GET", f"/v1/users/{uuid.uuid4()}", token)
    assert (missing.status, missing.error["status"]) == (404, "NOT_FOUND")
    assert missing.reason == "USER_NOT_FOUND"
    assert missing.error["details"][0]["domain"] == "newsfeed"
    bad = await stack.request("GET", "/v1/users/nobody", token)
    assert (bad.status, bad.error["code"]) == (400, 400)
    assert bad.error["details"][1]["fieldViolations"][0]["field"] == "user_id"
    selfish = await stack.request("PUT", f"/v1/users/{ada.user_id}/follow", token)
    assert (selfish.status, selfish.reason) == (400, "SELF_TARGET")
    taken = {"username": ada.user.username, "email": "new@example.com", "password": PASSWORD}
    doubled = await stack.request("POST", "/v1/auth/signup", None, taken)
    assert (doubled.status, doubled.reason) == (409, "USERNAME_TAKEN")
    admin = await stack.request("GET", "/v1/admin/users", token)
    assert (admin.status, admin.reason) == (403, "PERMISSION_DENIED")
    wrong = {"login": ada.user.username, "password": "not the right one"}
    refused = await stack.request("POST", "/v1/auth/login", None, wrong)
    assert (refused.status, refused.reason) == (401, "WRONG_CREDENTIALS")


async def test_who_is_not_there_says_when_to_come_back_and_not_where_it_is(
    stack: GatewayStack, user_stack: UserStack
) -> None:
    ada = await user_stack.sign_up("ada")
    gone = await stack.request("GET", "/v1/feed", ada.tokens.access_token)
    assert (gone.status, gone.reason) == (503, "DEPENDENCY_UNAVAILABLE")
    assert gone.error["details"][0]["metadata"] == {"dependency": "feed_svc"}
    assert int(gone.headers["retry-after"]) >= 1
    assert b"127.0.0.1" not in gone.body
    unoffered = await stack.request("GET", "/v1/trending/posts", ada.tokens.access_token)
    assert (unoffered.status, unoffered.reason) == (501, "UNIMPLEMENTED")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (RuntimeError("secret"), 500, "INTERNAL"),
        (errors.ResourceExhausted(retry_after_s=2.5), 503, "OVERLOADED"),
        (errors.Unimplemented(), 501, "UNIMPLEMENTED"),
        (errors.Aborted(), 409, "CONFLICT"),
        (errors.FailedPrecondition(), 400, "INTERNAL"),
    ],
)
async def test_statuses_are_mapped_as_usual(
    stack: GatewayStack, content: Content, error: Exception, status: int, reason: str
) -> None:
    content.error = error
    reply = await stack.request("GET", f"/v1/posts/{POST_ID}", x_request_id="r-1")
    assert (reply.status, reply.reason) == (status, reason)
    assert b"secret" not in reply.body
    if status == 500:
        assert reply.error["details"][0]["metadata"] == {"request_id": "r-1"}
    if reason == "OVERLOADED":
        assert reply.headers["retry-after"] == "3"


async def test_a_call_ends_in_time(stack: GatewayStack, content: Content) -> None:
    content.wait_s = 30
    reply = await stack.request("GET", f"/v1/posts/{POST_ID}")
    assert (reply.status, reply.reason) == (504, "DEADLINE_EXCEEDED")


async def test_request_id_trace_and_the_callers_token_go_along_and_nothing_else(
    stack: GatewayStack, user_stack: UserStack, content: Content
) -> None:
    ada, eve = await user_stack.sign_up("ada"), await user_stack.sign_up("eve")
    told = {
        "x_request_id": "r-42",
        "traceparent": TRACE,
        "x_user_id": eve.user_id,
        "grpc_metadata_authorization": f"Bearer {eve.tokens.access_token}",
        "grpc_metadata_x_user_id": eve.user_id,
        "grpc_timeout": "1n",
    }
    reply = await stack.request("GET", f"/v1/posts/{POST_ID}", ada.tokens.access_token, **told)
    assert reply.headers["x-request-id"] == "r-42"
    (call,) = content.calls
    assert call.request_id == "r-42"
    assert call.traceparent is not None
    assert call.traceparent[:36] == TRACE[:36]
    assert call.token == ada.tokens.access_token
    assert call.caller is not None
    assert str(call.caller.user_id) == ada.user_id
    made = await stack.request(
        "GET", f"/v1/posts/{POST_ID}", None, None, **(told | {"x_request_id": "\t"})
    )
    assert content.calls[1].request_id == made.headers["x-request-id"] != "r-42"
    assert content.calls[1].caller is None


async def test_on_a_public_call_a_bad_token_counts_as_none(
    stack: GatewayStack, content: Content
) -> None:
    for token in ("nonsense", "\xff", ""):
        assert (await stack.request("GET", f"/v1/posts/{POST_ID}", token)).status == 200
    assert [call.token for call in content.calls] == [None] * 3


async def test_an_ended_session_is_refused_here(stack: GatewayStack, user_stack: UserStack) -> None:
    ada = await user_stack.sign_up("ada")
    token = ada.tokens.access_token
    assert (await stack.request("POST", "/v1/auth/logout", token, {})).status == 200
    await until(lambda: stack.knows_of_ended(token))
    reply = await stack.request("GET", "/v1/feed", token)
    assert (reply.status, reply.reason) == (401, "TOKEN_REVOKED")
    assert reply.headers["www-authenticate"] == "Bearer"


async def test_public_reads_may_be_kept_and_need_not_be_sent_again(
    stack: GatewayStack, user_stack: UserStack, content: Content
) -> None:
    path = f"/v1/posts/{POST_ID}"
    first = await stack.request("GET", path)
    assert first.headers["cache-control"].startswith("public, max-age=10")
    again = await stack.request("GET", path, if_none_match=f'"other", {first.headers["etag"]}')
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    content.text = "changed"
    changed = await stack.request("GET", path, if_none_match=first.headers["etag"])
    assert changed.status == 200
    ada = await user_stack.sign_up("ada")
    signed_in = await stack.request("GET", path, ada.tokens.access_token)
    assert signed_in.headers["cache-control"] == "no-store"
    content.error = errors.Unavailable()
    assert (await stack.request("GET", path)).headers["cache-control"] == "no-store"


async def test_large_reads_are_compressed_for_who_takes_it(
    stack: GatewayStack, content: Content
) -> None:
    path = f"/v1/posts/{POST_ID}"
    content.text = "hello " * 500
    plain = await stack.request("GET", path)
    assert "content-encoding" not in plain.headers
    for takes in ("gzip", "br, gzip;q=0.5", "*"):
        small = await stack.request("GET", path, accept_encoding=takes)
        assert small.headers["content-encoding"] == "gzip"
        assert gzip.decompress(small.body) == plain.body
        assert "accept-encoding" in small.headers["vary"]
    for takes in ("identity", "gzip;q=0", "br"):
        reply = await stack.request("GET", path, accept_encoding=takes)
        assert reply.body == plain.body
    content.text = "hello"
    assert (
        "content-encoding" not in (await stack.request("GET", path, accept_encoding="gzip")).headers
    )


async def test_pages_of_known_origins_may_call(stack: GatewayStack) -> None:
    origin, path = "https://app.example.com", f"/v1/posts/{POST_ID}"
    asked = await stack.request(
        "OPTIONS", "/v1/me", origin=origin, access_control_request_method="PATCH"
    )
    assert asked.status == 204
    assert asked.headers["access-control-allow-origin"] == origin
    assert "PATCH" in asked.headers["access-control-allow-methods"]
    assert "authorization" in asked.headers["access-control-allow-headers"]
    reply = await stack.request("GET", path, origin=origin)
    assert reply.headers["access-control-allow-origin"] == origin
    assert "x-request-id" in reply.headers["access-control-expose-headers"]
    failed = await stack.request("GET", "/v1/me", origin=origin)
    assert (failed.status, failed.headers["access-control-allow-origin"]) == (401, origin)
    stranger = await stack.request("GET", path, origin="https://evil.example.com")
    assert "access-control-allow-origin" not in stranger.headers
    assert "access-control-allow-credentials" not in reply.headers


async def test_what_is_not_there_and_what_is_asked_wrongly(stack: GatewayStack) -> None:
    missing = await stack.request("GET", "/v1/nothing")
    assert (missing.status, missing.error["status"]) == (404, "NOT_FOUND")
    wrong = await stack.request("POST", "/v1/me", None, {})
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET, HEAD, PATCH")
    options = await stack.request("OPTIONS", "/v1/me")
    assert options.headers["allow"] == "GET, HEAD, PATCH, OPTIONS"
    assert (await stack.request("POST", "/healthz")).status == 404
    unauthenticated = await stack.request("PATCH", "/v1/me", None, {"nonsense": 1})
    assert unauthenticated.status == 401


async def test_every_answer_has_the_headers_that_keep_browsers_safe(stack: GatewayStack) -> None:
    for path in ("/", "/v1/me", "/nothing", "/docs", "/healthz", f"/v1/posts/{POST_ID}"):
        reply = await stack.request("GET", path)
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["x-request-id"]
        assert "server" not in reply.headers


async def test_the_gateways_own_pages(stack: GatewayStack) -> None:
    assert (await stack.request("GET", "/")).json["name"] == "newsfeed"
    assert (await stack.request("GET", "/healthz")).status == 200
    await stack.request("GET", f"/v1/posts/{POST_ID}")
    metrics = (await stack.request("GET", "/metrics")).body.decode()
    assert 'newsfeed_http_requests_total{route="GET /v1/posts/{post_id}",status="200"}' in metrics
    document = await stack.request("GET", "/openapi.json", accept_encoding="gzip")
    assert json.loads(gzip.decompress(document.body))["openapi"].startswith("3.1")
    assert b"<html" in (await stack.request("GET", "/docs")).body
    assert b"<html" in (await stack.request("GET", "/redoc")).body


async def test_one_line_in_the_log_for_each_request(
    stack: GatewayStack, user_stack: UserStack, caplog: pytest.LogCaptureFixture
) -> None:
    ada = await user_stack.sign_up("ada")
    caplog.set_level(logging.INFO, "gateway")
    reply = await stack.request("GET", f"/v1/users/{ada.user_id}", ada.tokens.access_token)
    await stack.request("GET", "/healthz")
    (line,) = [each.__dict__ for each in caplog.records if each.message == "request"]
    assert (line["status"], line["bytes"]) == (200, len(reply.body))
    assert line["person_id"] == ada.user_id
    assert line["ms"] > 0
    assert ada.tokens.access_token not in str(line)


async def test_ready_once_all_have_been_there_and_while_anyone_is(
    user_stack: UserStack, keys_folder: Path, stack: GatewayStack
) -> None:
    reply = await stack.request("GET", "/readyz")
    assert reply.status == 503
    assert reply.json["services"]["feed_svc"] == "away"
    assert (await stack.request("GET", "/v1/me")).status == 401  # it serves all the same
    async with open_gateway_stack(keys_folder, USER_SVC_TARGET=user_stack.address) as other:

        async def is_ready() -> bool:
            return (await other.request("GET", "/readyz")).status == 200

        await until(is_ready)


async def test_a_stop_finishes_what_was_accepted(
    user_stack: UserStack, keys_folder: Path, content: Content
) -> None:
    content.wait_s = 0.3
    methods = {"GetPost": content.get_post}
    async with serving_beside(user_stack, keys_folder, CONTENT, methods) as target:
        async with open_gateway_stack(
            keys_folder, USER_SVC_TARGET=user_stack.address, CONTENT_SVC_TARGET=target
        ) as stack:
            answer = asyncio.create_task(stack.request("GET", f"/v1/posts/{POST_ID}"))
            await until(lambda: len(content.calls) == 1)
        reply = await answer
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        with pytest.raises(ConnectionError):
            await stack.request("GET", "/healthz")
