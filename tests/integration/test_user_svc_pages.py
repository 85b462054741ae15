"""Paged lists of user_svc: whole, in order, bounded, and with tokens that work for nothing else.

The paged rpcs come from the descriptors: a new one is tested without being listed.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from newsfeed.user.v1 import user_service_pb2 as pb

from tests.requests.lists import ids, page, pages
from tests.requests.refusals import refusal
from tests.requests.sensible_requests import REQUESTS
from tests.stacks.user_stack import Person, UserStack

PAGED = [
    f"{service.name}.{method.name}"
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if "page_token" in method.input_type.fields_by_name
]
EVERY_LIST = pytest.mark.parametrize("rpc", PAGED)
FRIENDS = 5


@pytest.fixture(scope="module")
async def host(user_stack: UserStack) -> Person:
    """An admin each of whose lists has FRIENDS people, and whose search finds as many more."""
    host = await user_stack.sign_up_with_role(pb.ROLE_ADMIN, "host")
    for _ in range(FRIENDS):
        friend = await user_stack.sign_up(f"{host.user.username}_friend")
        stranger = await user_stack.sign_up("stranger")
        await host.act("Follow", friend)
        await friend.act("Follow", host)
        await friend.act("Follow", stranger)
        await host.act("Block", await user_stack.sign_up("foe"))
        await host.act("Mute", await user_stack.sign_up("bore"))
    return host


async def first_page(stack: UserStack, person: Person, rpc: str) -> tuple[Any, str]:
    """A request for single entries, and the token that goes on after the first."""
    request: Any = await REQUESTS[rpc](stack, person)
    request.page_size = 1
    token = (await page(person, rpc, request)).next_page_token
    assert token
    return request, token


@EVERY_LIST
@pytest.mark.parametrize("size", [1, 2, FRIENDS, 100])
async def test_pages_have_everybody_once(
    user_stack: UserStack, host: Person, rpc: str, size: int
) -> None:
    request: Any = await REQUESTS[rpc](user_stack, host)
    whole = ids(await page(host, rpc, request))
    assert len(whole) in {FRIENDS, FRIENDS + 1}  # searches find the host as well
    request.page_size = size
    parts = [part async for part in pages(host, rpc, request)]
    assert [each for part in parts for each in part] == whole
    assert all(len(part) == size for part in parts[:-1])
    assert parts[-1]  # an empty token is the end: no page is there for nothing


@EVERY_LIST
async def test_a_token_that_was_changed_is_refused(
    user_stack: UserStack, host: Person, rpc: str
) -> None:
    request, token = await first_page(user_stack, host, rpc)
    changed = [token[:-1], token[1:], token[: len(token) // 2], token + "A", token + "=", token * 2]
    changed += [f" {token}", f"{token}\n", token.swapcase(), token[::-1]]
    for place in range(0, len(token), 5):
        other = "B" if token[place] == "A" else "A"
        changed.append(token[:place] + other + token[place + 1 :])
    await assert_refused(host, rpc, request, changed)


@EVERY_LIST
async def test_a_token_of_another_person_is_refused(
    user_stack: UserStack, host: Person, rpc: str
) -> None:
    request, token = await first_page(user_stack, host, rpc)
    other = await user_stack.sign_up_with_role(pb.ROLE_ADMIN)
    await assert_refused(other, rpc, request, [token])


@EVERY_LIST
async def test_a_token_of_another_list_is_refused(
    user_stack: UserStack, host: Person, rpc: str
) -> None:
    request, _ = await first_page(user_stack, host, rpc)
    others = [await first_page(user_stack, host, other) for other in PAGED if other != rpc]
    await assert_refused(host, rpc, request, [token for _, token in others])


@EVERY_LIST
async def test_a_token_of_another_filter_is_refused(
    user_stack: UserStack, host: Person, rpc: str
) -> None:
    request, token = await first_page(user_stack, host, rpc)
    other = await user_stack.sign_up()
    changes = {"user_id": other.user_id, "query": "host", "role": pb.ROLE_USER}
    for field in set(request.DESCRIPTOR.fields_by_name) - {"page_size", "page_token"}:
        changed = type(request)()
        changed.CopyFrom(request)
        setattr(changed, field, changes[field])
        await assert_refused(host, rpc, changed, [token])


async def assert_refused(person: Person, rpc: str, request: Any, tokens: Sequence[str]) -> None:
    for token in tokens:
        request.page_token = token
        refused = await refusal(page(person, rpc, request))
        assert refused.says == "INVALID_ARGUMENT INVALID_PAGE_TOKEN", token
        assert refused.fields == ("page_token",)


@EVERY_LIST
async def test_the_page_size_may_change_on_the_way(
    user_stack: UserStack, host: Person, rpc: str
) -> None:
    request, token = await first_page(user_stack, host, rpc)
    first = ids(await page(host, rpc, request))
    request.page_token, request.page_size = token, 100
    rest = ids(await page(host, rpc, request))
    request.page_token = ""
    assert first + rest == ids(await page(host, rpc, request))


async def test_a_page_has_20_or_at_most_100(user_stack: UserStack) -> None:
    person = await user_stack.sign_up("person")
    for _ in range(101):
        await (await user_stack.sign_up("fan")).act("Follow", person)
    sizes = {}
    for size in (0, 20, 99, 100, 101, 10**9):
        request = pb.ListFollowersRequest(user_id=person.user_id, page_size=size)
        sizes[size] = len((await person.graph.ListFollowers(request)).users)
    assert sizes == {0: 20, 20: 20, 99: 99, 100: 100, 101: 100, 10**9: 100}


async def test_lists_are_newest_first_and_stay_whole_while_others_come_and_go(
    user_stack: UserStack,
) -> None:
    person = await user_stack.sign_up("person")
    fans = [await user_stack.sign_up("fan") for _ in range(7)]
    for fan in fans:
        await fan.act("Follow", person)
    seen: list[str] = []
    request = pb.ListFollowersRequest(user_id=person.user_id, page_size=2)
    async for part in pages(person, "GraphService.ListFollowers", request):
        seen += part
        await (await user_stack.sign_up("newcomer")).act("Follow", person)
        if len(seen) == 4:
            await fans[-1].act("Unfollow", person)  # seen
            await fans[0].act("Unfollow", person)  # not seen yet
    assert seen == [fan.user_id for fan in reversed(fans[1:])]
