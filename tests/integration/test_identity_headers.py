"""One is who one's token says: other headers that name somebody give nothing, at every door.

What each rpc answers to them without a token, and to tokens that are none, is in the access walk.
"""

from collections.abc import Mapping

import pytest
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.feed.v1 import feed_service_pb2 as feed_pb
from newsfeed.user.v1 import user_service_pb2 as user_pb

from tests.requests.refusals import refusal
from tests.stacks.feed_stack import FeedStack, Reader
from tests.stacks.gateway_stack import GatewayStack

# {id}, {name} and {token} become an admin's.
HEADERS: Mapping[str, str] = {
    "x-user-id": "{id}",
    "x-user": "{name}",
    "x-role": "admin",
    "x-user-role": "ROLE_ADMIN",
    "x-authenticated-userid": "{id}",
    "x-authorization": "Bearer {token}",
    "x-access-token": "{token}",
    "x-forwarded-user": "{id}",
    "x-forwarded-access-token": "{token}",
    "x-forwarded-for": "127.0.0.1",
    "x-original-url": "/v1/admin/users",
    "x-http-method-override": "DELETE",
    "x-service-name": "feed_svc",
    "x-request-id": "{id}",
    "x-goog-authenticated-user-id": "{id}",
    "x-amzn-oidc-identity": "{id}",
    "remote-user": "{name}",
    "from": "{name}",
    "sub": "{id}",
    "user-id": "{id}",
    "role": "admin",
    "cookie": "user_id={id}; role=admin; access_token={token}",
    "proxy-authorization": "Bearer {token}",
    "grpc-metadata-authorization": "Bearer {token}",
    "grpc-metadata-x-user-id": "{id}",
    "grpcgateway-authorization": "Bearer {token}",
    "grpcgateway-user-id": "{id}",
}


def claims(admin: Reader) -> dict[str, str]:
    person = admin.person
    known = {
        "id": person.user_id,
        "name": person.user.username,
        "token": person.tokens.access_token,
    }
    return {name: value.format_map(known) for name, value in HEADERS.items()}


def metadata(admin: Reader) -> tuple[tuple[str, str], ...]:
    return tuple(claims(admin).items())


@pytest.mark.parametrize("header", [*HEADERS, None], ids=str)
async def test_the_gateway_goes_by_the_token_alone(
    gateway_stack: GatewayStack, feed_stack: FeedStack, header: str | None
) -> None:
    """Each header alone, and all at once."""
    user, admin = await feed_stack.sign_up(), await feed_stack.admin()
    told = {
        name.replace("-", "_"): value
        for name, value in claims(admin).items()
        if header in {name, None}
    }
    request, token = gateway_stack.request, user.person.tokens.access_token
    for path in ("/v1/me", "/v1/feed", "/v1/admin/users"):
        nobody = await request("GET", path, **told)
        assert (nobody.status, nobody.reason) == (401, "TOKEN_MISSING"), path
    denied = await request("GET", "/v1/admin/users", token, **told)
    assert (denied.status, denied.reason) == (403, "PERMISSION_DENIED")
    me = await request("GET", "/v1/me", token, **told)
    assert me.json["user"]["userId"] == user.user_id
    posted = await request("POST", "/v1/posts", token, {"content": "mine"}, **told)
    assert posted.json["post"]["authorId"] == user.user_id
    feed = await request("GET", "/v1/feed", token, **told)
    assert [item["post"]["authorId"] for item in feed.json["items"]] == [user.user_id]


async def test_user_svc_goes_by_the_token_alone(feed_stack: FeedStack) -> None:
    user, admin = await feed_stack.sign_up(), await feed_stack.admin()
    users = feed_stack.contents.people.nobody.users
    told = metadata(admin)
    assert (await refusal(users.GetMe(user_pb.GetMeRequest(), metadata=told))).says == (
        "UNAUTHENTICATED TOKEN_MISSING"
    )
    told += user.person.metadata
    me = await users.GetMe(user_pb.GetMeRequest(), metadata=told)
    assert me.user.user_id == user.user_id
    for call in (
        users.ListUsers(user_pb.ListUsersRequest(), metadata=told),
        users.DeleteUser(user_pb.DeleteUserRequest(user_id=admin.user_id), metadata=told),
        users.BatchGetUsers(user_pb.BatchGetUsersRequest(), metadata=told),
    ):
        assert (await refusal(call)).says == "PERMISSION_DENIED PERMISSION_DENIED"


async def test_content_svc_goes_by_the_token_alone(feed_stack: FeedStack) -> None:
    user, admin = await feed_stack.sign_up(), await feed_stack.admin()
    nobody, told = feed_stack.contents.nobody, metadata(admin)
    create = content_pb.CreatePostRequest(content="mine")
    assert (await refusal(nobody.CreatePost(create, metadata=told))).says == (
        "UNAUTHENTICATED TOKEN_MISSING"
    )
    told += user.person.metadata
    post = (await nobody.CreatePost(create, metadata=told)).post
    assert post.author_id == user.user_id
    others = await admin.publish("not theirs")
    delete = content_pb.DeletePostRequest(post_id=others.post_id)
    assert (await refusal(nobody.DeletePost(delete, metadata=told))).says == (
        "PERMISSION_DENIED PERMISSION_DENIED"
    )


async def test_feed_svc_goes_by_the_token_alone(feed_stack: FeedStack) -> None:
    user, admin = await feed_stack.sign_up(), await feed_stack.admin()
    await user.publish("mine")
    await admin.publish("not theirs")
    nobody, told = feed_stack.nobody, metadata(admin)
    assert (
        await refusal(nobody.ListHomeFeed(feed_pb.ListHomeFeedRequest(), metadata=told))
    ).says == ("UNAUTHENTICATED TOKEN_MISSING")
    told += user.person.metadata
    feed = await nobody.ListHomeFeed(feed_pb.ListHomeFeedRequest(), metadata=told)
    assert [item.author.user_id for item in feed.items] == [user.user_id]
    evict = feed_pb.EvictFeedRequest(user_id=admin.user_id)
    assert (await refusal(nobody.EvictFeed(evict, metadata=told))).says == (
        "PERMISSION_DENIED PERMISSION_DENIED"
    )
