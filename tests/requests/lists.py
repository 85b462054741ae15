"""Paged lists of user_svc, read as a client reads them."""

from collections.abc import AsyncIterator
from typing import Any

from newsfeed.user.v1 import user_service_pb2 as pb

from tests.stacks.user_stack import Person


async def page(person: Person, rpc: str, request: Any) -> Any:
    """By `Service.Method`."""
    service, _, name = rpc.partition(".")
    stub = {"UserService": person.users, "GraphService": person.graph}[service]
    return await getattr(stub, name)(request)


def ids(answer: Any) -> list[str]:
    if isinstance(answer, pb.SuggestUsersResponse):
        return [each.user.user_id for each in answer.suggestions]
    return [user.user_id for user in answer.users]


async def pages(person: Person, rpc: str, request: Any) -> AsyncIterator[list[str]]:
    """Until the token is empty."""
    while True:
        answer = await page(person, rpc, request)
        yield ids(answer)
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


async def everybody(person: Person, rpc: str, request: Any) -> list[str]:
    """All pages of a list, of seven each."""
    request.page_size = 7
    return [each async for part in pages(person, rpc, request) for each in part]
