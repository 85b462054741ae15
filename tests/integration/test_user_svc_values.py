"""Names, addresses, pictures, ids and batches that look almost right are refused by their field."""

import grpc
import pytest
from newsfeed.user.v1 import user_service_pb2 as pb

from tests.requests.refusals import refusal
from tests.stacks.user_stack import PASSWORD, UserStack

INVALID_FIELD = "INVALID_ARGUMENT INVALID_FIELD"


@pytest.mark.parametrize(
    "username",
    [
        "s\u043emebody",  # Cyrillic o
        "somebod\u0443",  # Cyrillic u
        "\uff53\uff4f\uff4d\uff45",  # full width
        "\u017fomebody",  # a long s, which becomes an s in capitals
        "\u212aarl",  # the sign for Kelvin, which becomes a k in small letters
        "som\u00e9",
        "some\u0301",
        "\u0661\u0662\u0663",  # digits, but Arabic ones
        "Somebody",
        "some body",
        "some-body",
        "some.body",
        "somebody\n",
        "@somebody",
        "ab",
        "x" * 31,
    ],
)
async def test_usernames_are_plain(user_stack: UserStack, username: str) -> None:
    request = pb.SignUpRequest(username=username, email="a@example.com", password=PASSWORD)
    before = await user_stack.digest()
    refused = await refusal(user_stack.nobody.auth.SignUp(request))
    assert (refused.says, refused.fields) == (INVALID_FIELD, ("username",))
    assert await user_stack.digest() == before


@pytest.mark.parametrize(
    "email",
    [
        "somebody",
        "somebody@example",
        "somebody@@example.com",
        "some body@example.com",
        "somebody@example.com\n",
        "somebody@ex\u0430mple.com",
        "\u212aarl@example.com",
        f"{'x' * 65}@example.com",
        f"somebody@{'x' * 245}.com",
        '"<script>"@example.com',
    ],
)
async def test_addresses_are_plain(user_stack: UserStack, email: str) -> None:
    request = pb.SignUpRequest(username="somebody", email=email, password=PASSWORD)
    refused = await refusal(user_stack.nobody.auth.SignUp(request))
    assert (refused.says, refused.fields) == (INVALID_FIELD, ("email",))


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//example.com/x.png",
        "ftp://example.com/x.png",
        "https://",
        "https://example.com/a b.png",
        "https://user@example.com/x.png",
        "https://example.com\\@evil.example",
        "https://ex\u0430mple.com/",
        "https://example.com/\u202egnp.x",
        "https://example.com/\n",
        f"https://example.com/{'x' * 2000}",
    ],
)
async def test_pictures_are_on_the_web(user_stack: UserStack, url: str) -> None:
    person = await user_stack.sign_up()
    refused = await refusal(person.users.UpdateMe(pb.UpdateMeRequest(avatar_url=url)))
    assert (refused.says, refused.fields) == (INVALID_FIELD, ("avatar_url",))


@pytest.mark.parametrize(
    "user_id",
    [
        "me",
        "{01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7}",
        "urn:uuid:01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7",
        "01934f5e7c1a7d3b9a520c6f4be1d2a7",
        "01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a",
        "01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7 ",
        "01934f5e-7c1a-7d3b-9a52-0c6f4be1d2ag",
        "\uff1001934f5e-7c1a-7d3b-9a52-0c6f4be1d2",
        "' OR 1=1 --",
    ],
)
async def test_ids_are_uuids(user_stack: UserStack, user_id: str) -> None:
    person = await user_stack.sign_up()
    refused = await refusal(person.users.GetUser(pb.GetUserRequest(user_id=user_id)))
    assert (refused.says, refused.fields) == (INVALID_FIELD, ("user_id",))


async def test_all_wrong_fields_are_named_at_once(user_stack: UserStack) -> None:
    refused = await refusal(user_stack.nobody.auth.SignUp(pb.SignUpRequest(display_name="\0")))
    assert refused.says == INVALID_FIELD
    assert set(refused.fields) == {"username", "email", "password", "display_name"}


async def test_batches_are_bounded(user_stack: UserStack) -> None:
    person = await user_stack.sign_up()
    get = user_stack.service.users.BatchGetUsers
    most = pb.BatchGetUsersRequest(
        user_ids=[person.user_id] * 250, usernames=[person.user.username] * 250
    )
    assert [user.user_id for user in (await get(most)).users] == [person.user_id]
    for more in ({"user_ids": [person.user_id]}, {"usernames": ["x"]}):
        request = pb.BatchGetUsersRequest(**more)
        request.MergeFrom(most)
        refused = await refusal(get(request))
        assert (refused.says, refused.fields) == (INVALID_FIELD, ("user_ids",))


async def test_an_answer_stays_small_however_much_is_wrong(user_stack: UserStack) -> None:
    """Errors travel in headers, which clients take few kilobytes of."""
    request = pb.BatchGetUsersRequest(user_ids=["nobody"] * 500)
    refused = await refusal(user_stack.service.users.BatchGetUsers(request))
    assert refused.says == INVALID_FIELD
    assert refused.fields[:2] == ("user_ids[0]", "user_ids[1]")


async def test_a_message_that_is_too_large_is_refused(user_stack: UserStack) -> None:
    request = pb.LogInRequest(login="x", password="x" * (4 * 2**20))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user_stack.nobody.auth.LogIn(request)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
