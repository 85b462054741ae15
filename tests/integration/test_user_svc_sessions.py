"""Logging in and out over gRPC: what each token is good for, and until when."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from newsfeed.user.v1 import user_service_pb2 as pb

from svckit.auth.tokens import UserTokenSigner
from svckit.ids import new_id
from svckit.postgres.changes import Changes
from svckit.postgres.outbox import append
from tests.polling import LATE_S, until
from tests.requests.refusals import refusal
from tests.stacks.user_stack import CHEAP_PASSWORDS, PASSWORD, Client, Person, UserStack
from user_svc.model import RefreshTokenInvalid, RefreshTokenReused, SessionId
from user_svc.passwords import Passwords
from user_svc.session_store import SessionStore
from user_svc.sessions import RefreshToken, Sessions, SessionSettings
from user_svc.store import PeopleStore, SearchSettings

IN_FORCE_S = 2.0
OTHER_PASSWORD = "another horse, another battery"
INVALID = "UNAUTHENTICATED REFRESH_TOKEN_INVALID"


async def refresh(client: Client, refresh_token: str) -> pb.Tokens:
    request = pb.RefreshTokensRequest(refresh_token=refresh_token)
    return (await client.auth.RefreshTokens(request)).tokens


async def living_sessions(stack: UserStack, person: Person) -> int:
    count: int = await stack.app.database.fetchval(
        "SELECT count(*) FROM sessions WHERE user_id = $1::text::uuid AND revoke_time IS NULL",
        person.user_id,
    )
    return count


async def change_password(person: Person, current: str, new: str) -> pb.Tokens:
    request = pb.ChangePasswordRequest(current_password=current, new_password=new)
    return (await person.auth.ChangePassword(request)).tokens


async def test_signing_up_opens_a_session(user_stack: UserStack) -> None:
    person = await user_stack.sign_up("ada")
    me = (await person.users.GetMe(pb.GetMeRequest())).user
    assert me == person.user
    assert (me.role, me.display_name, me.bio) == (pb.ROLE_USER, me.username, "")
    left_s = person.tokens.expire_time.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(minutes=14) < left_s <= timedelta(minutes=15)


@pytest.mark.parametrize("spell", [str, str.upper, "  {}  ".format, "\u3000{}\n".format])
@pytest.mark.parametrize("field", ["username", "email"])
async def test_one_logs_in_by_name_or_address(
    user_stack: UserStack, field: str, spell: Callable[[str], str]
) -> None:
    person = await user_stack.sign_up("ada")
    login = spell(getattr(person.user, field))
    answer = await user_stack.nobody.auth.LogIn(pb.LogInRequest(login=login, password=PASSWORD))
    assert answer.user == person.user
    again = Person(user_stack.channel, answer.user, answer.tokens)
    assert (await again.users.GetMe(pb.GetMeRequest())).user == person.user


async def test_names_and_addresses_are_given_once(user_stack: UserStack) -> None:
    person = await user_stack.sign_up("ada")
    name, email = person.user.username, person.user.email
    before = await user_stack.digest()
    for username, address, expected in (
        (name, "new@example.com", "ALREADY_EXISTS USERNAME_TAKEN"),
        ("new_name", email, "ALREADY_EXISTS EMAIL_TAKEN"),
        ("new_name", email.upper(), "ALREADY_EXISTS EMAIL_TAKEN"),
    ):
        request = pb.SignUpRequest(username=username, email=address, password=PASSWORD)
        assert (await refusal(user_stack.nobody.auth.SignUp(request))).says == expected
    assert await user_stack.digest() == before


async def test_of_many_who_want_a_name_at_once_one_gets_it(user_stack: UserStack) -> None:
    requests = [
        pb.SignUpRequest(username="wanted", email=f"wanted{n}@example.com", password=PASSWORD)
        for n in range(10)
    ]
    sign_ups = [user_stack.nobody.auth.SignUp(request) for request in requests]
    answers = await asyncio.gather(*sign_ups, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert len(refused) == 9
    assert {each.code() for each in refused} == {grpc.StatusCode.ALREADY_EXISTS}


async def test_an_unknown_login_and_a_wrong_password_look_alike(user_stack: UserStack) -> None:
    person = await user_stack.sign_up("ada")
    refused = [
        await refusal(user_stack.nobody.auth.LogIn(pb.LogInRequest(login=login, password="wrong")))
        for login in (person.user.username, person.user.email, "nobody_at_all", "no@example.com")
    ]
    assert refused == [refused[0]] * 4
    assert refused[0].says == "UNAUTHENTICATED WRONG_CREDENTIALS"


async def test_the_51st_session_ends_the_one_that_was_refreshed_longest_ago(
    user_stack: UserStack,
) -> None:
    person = await user_stack.sign_up("ada")
    second = await user_stack.log_in(person)
    person_tokens = await refresh(person, person.tokens.refresh_token)
    for _ in range(49):
        await user_stack.log_in(person)
    assert await living_sessions(user_stack, person) == 50
    assert (await refusal(refresh(person, second.tokens.refresh_token))).says == INVALID
    await refresh(person, person_tokens.refresh_token)


async def test_a_refresh_token_gives_the_next_one(user_stack: UserStack) -> None:
    person = await user_stack.sign_up("ada")
    tokens = person.tokens
    for _ in range(5):
        before, tokens = tokens, await refresh(user_stack.nobody, tokens.refresh_token)
        assert tokens.refresh_token != before.refresh_token
        assert tokens.access_token != before.access_token
        client = Client(user_stack.channel, tokens.access_token)
        assert (await client.users.GetMe(pb.GetMeRequest())).user == person.user
    assert await living_sessions(user_stack, person) == 1


async def test_20_parallel_refreshes_of_one_token_leave_one_living_family(
    user_stack: UserStack,
) -> None:
    person = await user_stack.sign_up("ada")
    token = person.tokens.refresh_token
    for _ in range(5):
        # Each has its connection when they start, else they come one after another.
        await asyncio.gather(*(person.users.GetMe(pb.GetMeRequest()) for _ in range(20)))
        answers = await asyncio.gather(*(refresh(user_stack.nobody, token) for _ in range(20)))
        (token,) = {answer.refresh_token for answer in answers}
        for answer in answers:
            client = Client(user_stack.channel, answer.access_token)
            assert (await client.users.GetMe(pb.GetMeRequest())).user == person.user
    assert await living_sessions(user_stack, person) == 1
    await refresh(user_stack.nobody, token)


class Hours:
    """A clock for the sessions of a test."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **time: float) -> None:
        self.now += timedelta(**time)


def sessions_by(stack: UserStack, clock: Callable[[], datetime]) -> Sessions:
    """The use cases of the stack, in another time."""
    database = stack.app.database
    return Sessions(
        Changes(database, append, lambda: None),
        SessionStore(database),
        PeopleStore(database, SearchSettings()),
        Passwords(replace(CHEAP_PASSWORDS, waiting_max=0)),
        UserTokenSigner(stack.app.keys),
        clock,
        SessionSettings(),
    )


async def test_within_the_grace_a_used_token_gives_the_same_successor(
    user_stack: UserStack,
) -> None:
    person, clock = await user_stack.sign_up("ada"), Hours()
    sessions = sessions_by(user_stack, clock)
    first = await sessions.refresh(person.tokens.refresh_token)
    clock.pass_by(seconds=15)
    again = await sessions.refresh(person.tokens.refresh_token)
    assert again.refresh_token == first.refresh_token
    assert await living_sessions(user_stack, person) == 1


async def test_after_the_grace_a_used_token_ends_the_family(user_stack: UserStack) -> None:
    person, clock = await user_stack.sign_up("ada"), Hours()
    other_session = await user_stack.log_in(person)
    sessions = sessions_by(user_stack, clock)
    successor = await sessions.refresh(person.tokens.refresh_token)
    clock.pass_by(seconds=15.001)
    with pytest.raises(RefreshTokenReused):
        await sessions.refresh(person.tokens.refresh_token)
    for token in (person.tokens.refresh_token, successor.refresh_token):
        with pytest.raises(RefreshTokenInvalid):
            await sessions.refresh(token)
    assert await living_sessions(user_stack, person) == 1
    await sessions.refresh(other_session.tokens.refresh_token)


async def test_the_grandparent_of_a_token_ends_the_family_at_once(user_stack: UserStack) -> None:
    person = await user_stack.sign_up("ada")
    second = await refresh(person, person.tokens.refresh_token)
    await refresh(person, second.refresh_token)
    reused = await refusal(refresh(person, person.tokens.refresh_token))
    assert reused.says == "UNAUTHENTICATED REFRESH_TOKEN_REUSED"
    assert await living_sessions(user_stack, person) == 0


async def test_a_session_lives_for_30_days_after_its_last_refresh(user_stack: UserStack) -> None:
    person, clock = await user_stack.sign_up("ada"), Hours()
    sessions = sessions_by(user_stack, clock)
    token = person.tokens.refresh_token
    for _ in range(3):
        clock.pass_by(days=29.99)
        token = (await sessions.refresh(token)).refresh_token
    clock.pass_by(days=30, seconds=1)
    with pytest.raises(RefreshTokenInvalid):
        await sessions.refresh(token)


async def test_a_token_of_a_wrong_family_is_garbage_and_harms_nobody(
    user_stack: UserStack,
) -> None:
    """Whoever knows a session's id must not be able to end it."""
    person, other = await user_stack.sign_up("ada"), await user_stack.sign_up("eve")
    mine = RefreshToken.parse(person.tokens.refresh_token)
    others = RefreshToken.parse(other.tokens.refresh_token)
    garbage = [
        replace(mine, family=others.family),
        replace(mine, family=others.family, secret=others.secret),
        replace(mine, session_id=others.session_id),
        replace(mine, session_id=SessionId(new_id())),
    ]
    before = await user_stack.digest()
    for token in garbage:
        assert (await refusal(refresh(user_stack.nobody, token.text()))).says == INVALID
    assert await user_stack.digest() == before
    used_up = replace(mine, secret=others.secret).text()  # as far as anybody can tell
    reused = await refusal(refresh(user_stack.nobody, used_up))
    assert reused.says == "UNAUTHENTICATED REFRESH_TOKEN_REUSED"


async def test_logging_out_ends_this_session_only(user_stack: UserStack) -> None:
    person = await user_stack.sign_up("ada")
    other = await user_stack.log_in(person)
    assert (await person.auth.LogOut(pb.LogOutRequest())).ended_session_count == 1
    assert (await refusal(refresh(person, person.tokens.refresh_token))).says == INVALID
    await refresh(other, other.tokens.refresh_token)


async def test_logging_out_everywhere_ends_all_sessions_of_that_person(
    user_stack: UserStack,
) -> None:
    person, stranger = await user_stack.sign_up("ada"), await user_stack.sign_up("bob")
    others = [await user_stack.log_in(person) for _ in range(3)]
    answer = await person.auth.LogOut(pb.LogOutRequest(all_sessions=True))
    assert answer.ended_session_count == 4
    for each in (person, *others):
        assert (await refusal(refresh(each, each.tokens.refresh_token))).says == INVALID
    await refresh(stranger, stranger.tokens.refresh_token)


async def test_a_new_password_ends_every_session_but_the_one_it_opens(
    user_stack: UserStack,
) -> None:
    person = await user_stack.sign_up("ada")
    other = await user_stack.log_in(person)
    tokens = await change_password(person, PASSWORD, OTHER_PASSWORD)
    for each in (person, other):
        assert (await refusal(refresh(each, each.tokens.refresh_token))).says == INVALID
    await refresh(person, tokens.refresh_token)
    assert await living_sessions(user_stack, person) == 1
    wrong = await refusal(user_stack.log_in(person, PASSWORD))
    assert wrong.says == "UNAUTHENTICATED WRONG_CREDENTIALS"
    await user_stack.log_in(person, OTHER_PASSWORD)


async def test_the_wrong_current_password_changes_nothing(user_stack: UserStack) -> None:
    person = await user_stack.sign_up("ada")
    before = await user_stack.digest()
    refused = await refusal(change_password(person, OTHER_PASSWORD, OTHER_PASSWORD))
    assert refused.says == "PERMISSION_DENIED WRONG_PASSWORD"
    assert await user_stack.digest() == before


async def test_of_two_changes_of_a_password_at_once_one_counts(user_stack: UserStack) -> None:
    person = await user_stack.sign_up("ada")
    changes = [change_password(person, PASSWORD, f"{OTHER_PASSWORD} {n}") for n in range(5)]
    answers = await asyncio.gather(*changes, return_exceptions=True)
    assert sum(isinstance(answer, pb.Tokens) for answer in answers) == 1
    assert await living_sessions(user_stack, person) == 1


async def log_out(person: Person, _: UserStack) -> None:
    await person.auth.LogOut(pb.LogOutRequest())


async def log_out_elsewhere(person: Person, stack: UserStack) -> None:
    await (await stack.log_in(person)).auth.LogOut(pb.LogOutRequest(all_sessions=True))


async def take_another_password(person: Person, _: UserStack) -> None:
    await change_password(person, PASSWORD, OTHER_PASSWORD)


async def delete_the_account(person: Person, _: UserStack) -> None:
    await person.delete()


async def be_deleted(person: Person, stack: UserStack) -> None:
    await (await stack.sign_up_with_role(pb.ROLE_ADMIN)).delete(person)


async def get_another_role(person: Person, stack: UserStack) -> None:
    admin = await stack.sign_up_with_role(pb.ROLE_ADMIN)
    request = pb.SetRoleRequest(user_id=person.user_id, role=pb.ROLE_MODERATOR)
    await admin.users.SetRole(request)


async def use_a_refresh_token_thrice(person: Person, _: UserStack) -> None:
    first = await refresh(person, person.tokens.refresh_token)
    await refresh(person, first.refresh_token)
    await refusal(refresh(person, person.tokens.refresh_token))


@pytest.mark.parametrize(
    "end",
    [
        log_out,
        log_out_elsewhere,
        take_another_password,
        delete_the_account,
        be_deleted,
        get_another_role,
        use_a_refresh_token_thrice,
    ],
)
async def test_an_access_token_is_refused_within_two_seconds(
    user_stack: UserStack, end: Callable[[Person, UserStack], Awaitable[None]]
) -> None:
    person, bystander = await user_stack.sign_up("ada"), await user_stack.sign_up("bob")
    probe = pb.ListBlocksRequest()
    await person.graph.ListBlocks(probe)
    await end(person, user_stack)
    ended_s = time.monotonic()

    async def is_revoked() -> bool:
        try:
            await person.graph.ListBlocks(probe)
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
        return False

    await until(is_revoked, timeout_s=IN_FORCE_S + LATE_S)
    assert time.monotonic() - ended_s < IN_FORCE_S + LATE_S
    assert (await refusal(person.graph.ListBlocks(probe))).reason == "TOKEN_REVOKED"
    await bystander.graph.ListBlocks(probe)


async def test_services_learn_of_the_end_of_a_session(user_stack: UserStack) -> None:
    person = await user_stack.sign_up("ada")
    list_revocations = user_stack.service.auth.ListRevocations
    known = (await list_revocations(pb.ListRevocationsRequest())).revocations
    await person.auth.LogOut(pb.LogOutRequest())
    now_known = (await list_revocations(pb.ListRevocationsRequest())).revocations
    (new,) = [each for each in now_known if each not in known]
    assert len(now_known) == len(known) + 1
    times = [each.revoke_time.ToDatetime(UTC) for each in now_known]
    assert times == sorted(times)
    request = pb.ListRevocationsRequest(since_time=new.revoke_time)
    assert new in (await list_revocations(request)).revocations
    request.since_time.nanos += 1000
    assert new not in (await list_revocations(request)).revocations


async def test_the_published_keys_are_public_and_verify(user_stack: UserStack) -> None:
    keys = (await user_stack.nobody.auth.GetJwks(pb.GetJwksRequest())).keys
    (key,) = user_stack.app.keys.keys().values()
    assert [(each.kid, each.x) for each in keys] == [(key.kid, key.public_jwk()["x"])]
    assert (keys[0].kty, keys[0].crv, keys[0].use, keys[0].alg) == (
        "OKP",
        "Ed25519",
        "sig",
        "EdDSA",
    )
