"""Profiles, roles, search and the end of an account, over gRPC."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from newsfeed.user.v1 import user_service_pb2 as pb

from tests.requests.lists import everybody
from tests.requests.refusals import refusal
from tests.stacks.user_stack import PASSWORD, Person, UserStack
from user_svc.maintenance import Maintenance, MaintenanceSettings
from user_svc.model import UserId
from user_svc.upkeep_store import UpkeepStore

NOT_FOUND = "NOT_FOUND USER_NOT_FOUND"


async def get(viewer: Person, person: Person) -> pb.User:
    return (await viewer.users.GetUser(pb.GetUserRequest(user_id=person.user_id))).user


async def sign_up_as(stack: UserStack, username: str, display_name: str) -> Person:
    request = pb.SignUpRequest(
        username=username,
        email=f"{username}@example.com",
        password=PASSWORD,
        display_name=display_name,
    )
    answer = await stack.nobody.auth.SignUp(request)
    return Person(stack.channel, answer.user, answer.tokens)


async def search(viewer: Person, query: str) -> list[str]:
    answer = await viewer.users.SearchUsers(pb.SearchUsersRequest(query=query, page_size=100))
    return [user.username for user in answer.users]


async def test_a_person_is_found_by_id_and_by_username(user_stack: UserStack) -> None:
    ada, bob = await user_stack.sign_up("ada"), await user_stack.sign_up("bob")
    found = await get(ada, bob)
    by_name = await ada.users.GetUser(pb.GetUserRequest(username=bob.user.username))
    assert by_name.user == found
    assert not found.HasField("email")
    found.email = bob.user.email
    assert found == bob.user
    both = pb.GetUserRequest(user_id=bob.user_id, username=bob.user.username)
    assert (await refusal(ada.users.GetUser(both))).fields == ("user_id",)


@pytest.mark.parametrize(
    ("change", "mask", "expected"),
    [
        ({"bio": "new"}, None, ("old name", "new", "https://old.example")),
        ({"bio": ""}, None, ("old name", "", "https://old.example")),
        ({"display_name": " new ", "avatar_url": ""}, None, ("new", "old bio", "")),
        (
            {"bio": "new", "display_name": "new"},
            ["bio"],
            ("old name", "new", "https://old.example"),
        ),
        ({}, ["bio", "avatar_url"], ("old name", "", "")),
        ({"bio": "one\r\ntwo\n"}, None, ("old name", "one\ntwo", "https://old.example")),
        ({"display_name": "e\u0301"}, None, ("\u00e9", "old bio", "https://old.example")),
        ({"display_name": "x" * 60, "bio": "y" * 500}, None, ("x" * 60, "y" * 500, None)),
    ],
)
async def test_a_profile_changes_where_it_is_meant(
    user_stack: UserStack,
    change: dict[str, Any],
    mask: Sequence[str] | None,
    expected: tuple[str, str, str | None],
) -> None:
    ada = await user_stack.sign_up("ada")
    old: dict[str, Any] = {
        "display_name": "old name",
        "bio": "old bio",
        "avatar_url": "https://old.example",
    }
    await ada.users.UpdateMe(pb.UpdateMeRequest(**old))
    request = pb.UpdateMeRequest(**change)
    if mask is not None:
        request.update_mask.paths.extend(mask)
    user = (await ada.users.UpdateMe(request)).user
    assert (user.display_name, user.bio) == expected[:2]
    assert user.avatar_url == (expected[2] if expected[2] is not None else old["avatar_url"])
    assert user == (await ada.users.GetMe(pb.GetMeRequest())).user


async def test_a_display_name_may_be_emptied_by_nobody(user_stack: UserStack) -> None:
    ada = await user_stack.sign_up("ada")
    request = pb.UpdateMeRequest()
    request.update_mask.paths.append("display_name")
    assert (await refusal(ada.users.UpdateMe(request))).fields == ("display_name",)


async def test_a_search_finds_by_prefix_first_and_then_what_is_similar(
    user_stack: UserStack,
) -> None:
    viewer = await user_stack.sign_up("viewer")
    await sign_up_as(user_stack, "zephyrine", "Someone")
    await sign_up_as(user_stack, "other_name", "Zephyrine Grey")
    await sign_up_as(user_stack, "my_zephyr", "Windy")
    await sign_up_as(user_stack, "unrelated", "Nobody")
    assert await search(viewer, "zephyr") == ["zephyrine", "other_name", "my_zephyr"]
    for query in ("@zephyr", " ZEPHYR ", "@Zephyr"):
        assert await search(viewer, query) == await search(viewer, "zephyr")
    mistyped = await search(viewer, "zephyrina")
    assert sorted(mistyped) == ["my_zephyr", "other_name", "zephyrine"]
    assert await search(viewer, "grey") == ["other_name"]
    assert await search(viewer, "z") == ["zephyrine", "other_name"]
    assert await search(viewer, "qqqq") == []


@pytest.mark.parametrize("query", ["%", "_", "\\", "%%%", "___", "a%", "' OR 1=1", "(", "[a-z]*"])
async def test_signs_of_patterns_are_plain_text(user_stack: UserStack, query: str) -> None:
    viewer = await user_stack.sign_up("viewer")
    await sign_up_as(user_stack, f"plain_{viewer.user.username}", "Plain")
    assert await search(viewer, query) == []
    admin = await user_stack.sign_up_with_role(pb.ROLE_ADMIN)
    assert not (await admin.users.ListUsers(pb.ListUsersRequest(query=query))).users


@pytest.mark.parametrize(
    "name", ["Ünal Öz", "Åsa", "ΑΘΗΝΑ", "李小龍", "Łukasz", "👩‍👩‍👧 family", "100%_sure\\"]
)
async def test_names_of_all_scripts_are_found(user_stack: UserStack, name: str) -> None:
    viewer = await user_stack.sign_up("viewer")
    person = await sign_up_as(user_stack, f"{viewer.user.username}_x", name)
    assert person.user.display_name == name
    for query in (name, name[:2], name.lower(), name.upper()):
        assert person.user.username in await search(viewer, query), query


async def test_a_long_result_comes_whole_in_pages(user_stack: UserStack) -> None:
    viewer = await user_stack.sign_up("viewer")
    people = [await user_stack.sign_up("quixotic") for _ in range(60)]
    found = await everybody(
        viewer, "UserService.SearchUsers", pb.SearchUsersRequest(query="quixotic")
    )
    assert sorted(found) == sorted(person.user_id for person in people)


async def test_admins_list_accounts_newest_first_by_role_and_prefix(
    user_stack: UserStack,
) -> None:
    admin = await user_stack.sign_up_with_role(pb.ROLE_ADMIN)
    users = [await user_stack.sign_up("listed") for _ in range(8)]
    moderators = [await user_stack.sign_up_with_role(pb.ROLE_MODERATOR, "listed") for _ in range(8)]

    async def listed(role: "pb.Role.ValueType") -> list[str]:
        request = pb.ListUsersRequest(role=role, query="listed_")
        return await everybody(admin, "UserService.ListUsers", request)

    def newest_first(people: list[Person]) -> list[str]:
        return [person.user_id for person in reversed(people)]

    assert await listed(pb.ROLE_UNSPECIFIED) == newest_first(users + moderators)
    assert await listed(pb.ROLE_USER) == newest_first(users)
    assert await listed(pb.ROLE_MODERATOR) == newest_first(moderators)
    assert await listed(pb.ROLE_ADMIN) == []


async def test_a_batch_has_each_person_once(user_stack: UserStack) -> None:
    ada, bob = await user_stack.sign_up("ada"), await user_stack.sign_up("bob")
    gone = await user_stack.sign_up("gone")
    await gone.delete()
    request = pb.BatchGetUsersRequest(
        user_ids=[ada.user_id, ada.user_id.upper(), gone.user_id, str(UUID(int=0))],
        usernames=[ada.user.username, bob.user.username, gone.user.username, "No Such Name"],
    )
    users = (await user_stack.service.users.BatchGetUsers(request)).users
    assert sorted(user.user_id for user in users) == [ada.user_id, bob.user_id]
    assert not (await user_stack.service.users.BatchGetUsers(pb.BatchGetUsersRequest())).users


async def set_role(admin: Person, person: Person, role: "pb.Role.ValueType") -> pb.User:
    request = pb.SetRoleRequest(user_id=person.user_id, role=role)
    return (await admin.users.SetRole(request)).user


async def test_a_new_role_is_there_with_the_next_log_in(user_stack: UserStack) -> None:
    admin = await user_stack.sign_up_with_role(pb.ROLE_ADMIN)
    ada = await user_stack.sign_up("ada")
    assert (await set_role(admin, ada, pb.ROLE_ADMIN)).role == pb.ROLE_ADMIN
    request = pb.RefreshTokensRequest(refresh_token=ada.tokens.refresh_token)
    ended = await refusal(ada.auth.RefreshTokens(request))
    assert ended.reason == "REFRESH_TOKEN_INVALID"
    ada = await user_stack.log_in(ada)
    await ada.users.ListUsers(pb.ListUsersRequest())
    before = await user_stack.digest()
    assert (await set_role(admin, ada, pb.ROLE_ADMIN)).role == pb.ROLE_ADMIN  # has it already
    assert await user_stack.digest() == before


async def test_the_last_admin_stays(user_stack: UserStack) -> None:
    """However many admins try to do away with each other at once."""
    await user_stack.app.database.execute("UPDATE users SET role = 'user' WHERE role = 'admin'")
    admins = [await user_stack.sign_up_with_role(pb.ROLE_ADMIN, "admin") for _ in range(6)]
    acts = [set_role(admin, admin, pb.ROLE_USER) for admin in admins[:3]]
    deletions = [admin.delete() for admin in admins[3:]]
    answers = await asyncio.gather(*acts, *deletions, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert len(refused) == 1
    left = await user_stack.app.database.fetch(
        "SELECT user_id::text FROM users WHERE role = 'admin' AND delete_time IS NULL"
    )
    (last,) = [admin for admin in admins if admin.user_id == left[0][0]]
    assert len(left) == 1
    before = await user_stack.digest()
    for call in (last.delete(), set_role(last, last, pb.ROLE_MODERATOR)):
        assert (await refusal(call)).says == "FAILED_PRECONDITION LAST_ADMIN"
    assert await user_stack.digest() == before


async def test_nobody_is_nobody_to_an_admin_too(user_stack: UserStack) -> None:
    admin = await user_stack.sign_up_with_role(pb.ROLE_ADMIN)
    ghost = Person(user_stack.channel, pb.User(user_id=str(UUID(int=7))), pb.Tokens())
    gone = await user_stack.sign_up("gone")
    await gone.delete()
    before = await user_stack.digest()
    assert (await refusal(admin.delete(ghost))).says == NOT_FOUND
    for person in (ghost, gone):
        assert (await refusal(set_role(admin, person, pb.ROLE_USER))).says == NOT_FOUND
    assert await user_stack.digest() == before


async def test_who_is_deleted_is_hidden_at_once(user_stack: UserStack) -> None:
    """Before any edge has been purged."""
    ada, bob, eve = [await user_stack.sign_up(name) for name in ("ada", "bob", "eve")]
    for person in (ada, bob):
        await person.act("Follow", eve)
        await eve.act("Follow", person)
    await ada.act("Mute", eve)
    await bob.act("Follow", ada)
    await eve.delete()
    for call in (
        ada.users.GetUser(pb.GetUserRequest(user_id=eve.user_id)),
        ada.users.GetUser(pb.GetUserRequest(username=eve.user.username)),
        ada.graph.GetRelationship(pb.GetRelationshipRequest(user_id=eve.user_id)),
        ada.graph.ListFollowers(pb.ListFollowersRequest(user_id=eve.user_id)),
        ada.graph.ListFollowing(pb.ListFollowingRequest(user_id=eve.user_id)),
    ):
        assert (await refusal(call)).says == NOT_FOUND
    for rpc, about_bob in (
        ("GraphService.ListFollowers", pb.ListFollowersRequest(user_id=bob.user_id)),
        ("GraphService.ListFollowing", pb.ListFollowingRequest(user_id=bob.user_id)),
        ("GraphService.ListMutes", pb.ListMutesRequest()),
        ("GraphService.SuggestUsers", pb.SuggestUsersRequest()),
        ("UserService.SearchUsers", pb.SearchUsersRequest(query=eve.user.username)),
    ):
        assert eve.user_id not in await everybody(ada, rpc, about_bob), rpc
    wrong = await refusal(user_stack.log_in(eve))
    assert wrong.says == "UNAUTHENTICATED WRONG_CREDENTIALS"


async def test_what_is_left_of_the_deleted_says_nothing_about_them(user_stack: UserStack) -> None:
    eve = await user_stack.sign_up("evelyn")
    await eve.users.UpdateMe(pb.UpdateMeRequest(display_name="Evelyn E.", bio="mine"))
    await eve.delete()
    row = await user_stack.app.database.fetchrow(
        "SELECT users::text FROM users WHERE user_id = $1::text::uuid", eve.user_id
    )
    assert row is not None
    for word in ("evelyn", "Evelyn", "mine"):
        assert word not in row[0]
    secrets = await user_stack.app.database.fetchval(
        "SELECT count(*) FROM credentials WHERE user_id = $1::text::uuid", eve.user_id
    )
    assert secrets == 0


async def test_edges_of_the_deleted_go_in_batches_and_counts_follow(
    user_stack: UserStack,
) -> None:
    small_steps = Maintenance(
        UpkeepStore(user_stack.app.database),
        lambda: datetime.now(UTC),
        MaintenanceSettings(purge_edges_max=3),
    )
    eve = await user_stack.sign_up("eve")
    people = [await user_stack.sign_up("person") for _ in range(8)]
    for person in people:
        await person.act("Follow", eve)
        await eve.act("Follow", person)
    for person in people[1:]:
        await person.act("Follow", people[0])
    await eve.act("Block", people[-1])
    await people[-2].act("Mute", eve)
    await eve.delete()
    await small_steps.purge_deleted()
    await small_steps.fold_counts()
    for table, one, other in (
        ("follows", "follower_id", "followee_id"),
        ("blocks", "blocker_id", "blocked_id"),
        ("mutes", "muter_id", "muted_id"),
    ):
        left = await user_stack.app.database.fetchval(
            f"SELECT count(*) FROM {table} WHERE $1::text::uuid IN ({one}, {other})", eve.user_id
        )
        assert left == 0
    first, *rest = [await get(people[0], person) for person in people]
    assert (first.follower_count, first.following_count) == (7, 0)
    assert {(user.follower_count, user.following_count) for user in rest} == {(0, 1)}
    before = await user_stack.digest()
    await user_stack.settle()
    assert await user_stack.digest() == before


async def test_deleting_again_answers_as_the_first_time(user_stack: UserStack) -> None:
    admin = await user_stack.sign_up_with_role(pb.ROLE_ADMIN)
    eve, stranger = await user_stack.sign_up("eve"), await user_stack.sign_up("stranger")
    first = await eve.delete()
    assert abs(datetime.now(UTC) - first) < timedelta(seconds=5)
    before = await user_stack.digest()
    assert await admin.delete(eve) == first
    # Oneself too, in the moment in which the token still passes.
    user_id = UserId(UUID(eve.user_id))
    assert await user_stack.app.accounts.delete(user_id, user_id, is_admin=False) == first
    denied = await refusal(stranger.delete(eve))
    assert denied.says == "PERMISSION_DENIED PERMISSION_DENIED"
    assert await user_stack.digest() == before


async def test_the_name_and_address_of_the_deleted_are_free(user_stack: UserStack) -> None:
    eve = await user_stack.sign_up("eve")
    await eve.delete()
    again = await sign_up_as(user_stack, eve.user.username, "")
    assert again.user.email == eve.user.email
    assert again.user_id != eve.user_id
    assert await get(again, again) == again.user


async def test_following_and_being_deleted_at_once_leaves_no_edge(user_stack: UserStack) -> None:
    eve = await user_stack.sign_up("eve")
    fans = [await user_stack.sign_up("fan") for _ in range(20)]
    follows = [fan.act("Follow", eve) for fan in fans]
    await asyncio.gather(*follows[:10], eve.delete(), *follows[10:], return_exceptions=True)
    await user_stack.settle()
    assert [(await get(fan, fan)).following_count for fan in fans] == [0] * 20
