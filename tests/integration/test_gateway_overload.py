"""Too much at once: who is let in gets an answer, the rest is told so at once and cheaply."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from newsfeed.content.v1 import content_service_pb2 as pb

from tests.polling import until
from tests.stacks.gateway_stack import (
    GatewayStack,
    Reply,
    open_gateway_stack,
    request_bytes,
    serving_beside,
)
from tests.stacks.user_stack import UserStack

CONTENT = pb.DESCRIPTOR.services_by_name["ContentService"]
POST = f"/v1/posts/{uuid.uuid4()}"
ROOM = 3


class Hanging:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.calls = 0
        self.go_on = asyncio.Event()

    async def answer(self, _: object) -> pb.GetPostResponse:
        self.calls += 1
        await self.go_on.wait()
        return pb.GetPostResponse()


@pytest.fixture
async def hanging() -> Hanging:
    return Hanging()


@asynccontextmanager
async def no_room(stack: GatewayStack, hanging: Hanging) -> AsyncIterator[None]:
    """All room that the service has is taken until the block ends."""
    async with AsyncExitStack() as still_open:
        for _ in range(ROOM):
            connection = await still_open.enter_async_context(stack.connection())
            await connection.get(POST)
        await until(lambda: hanging.calls == ROOM)
        yield


@pytest.fixture
async def stack(
    user_stack: UserStack, keys_folder: Path, hanging: Hanging
) -> AsyncIterator[GatewayStack]:
    methods = {"GetPost": hanging.answer}
    async with (
        serving_beside(user_stack, keys_folder, CONTENT, methods) as target,
        open_gateway_stack(
            keys_folder,
            USER_SVC_TARGET=user_stack.address,
            CONTENT_SVC_TARGET=target,
            REQUESTS_MAX=str(ROOM),
        ) as stack,
    ):
        yield stack


async def test_as_many_as_there_is_room_for_are_served_and_the_rest_is_refused_at_once(
    stack: GatewayStack, hanging: Hanging
) -> None:
    async with AsyncExitStack() as still_open:
        connections = [await still_open.enter_async_context(stack.connection()) for _ in range(20)]
        for connection in connections:  # all arrive before any is begun
            connection.writer.write(request_bytes("GET", POST))
        replies = [asyncio.create_task(connection.reply()) for connection in connections]
        await until(lambda: sum(reply.done() for reply in replies) == 20 - ROOM)
        for reply in replies:
            if reply.done():
                assert_told(reply.result())
        hanging.go_on.set()
        statuses = Counter([(await reply).status for reply in replies])
        assert statuses == {200: ROOM, 503: 20 - ROOM}
        assert hanging.calls == ROOM
        for connection in connections:  # all of them are as good as before
            assert (await connection.request("GET", POST)).status == 200


def assert_told(reply: Reply) -> None:
    assert (reply.status, reply.reason) == (503, "OVERLOADED")
    assert int(reply.headers["retry-after"]) >= 1
    assert len(reply.headers["x-request-id"]) == 32
    assert reply.headers["cache-control"] == "no-store"


async def test_a_service_that_hangs_takes_no_other_with_it(
    stack: GatewayStack, user_stack: UserStack, hanging: Hanging
) -> None:
    ada = await user_stack.sign_up("ada")
    async with no_room(stack, hanging):
        async with stack.connection() as connection:
            for method in ("GET", "HEAD", "GET"):
                assert (await connection.request(method, POST)).status == 503
            assert (await connection.request("GET", "/healthz")).status == 200
        for path in ("/v1/me", "/healthz", "/metrics"):
            assert (await stack.request("GET", path, ada.tokens.access_token)).status == 200
        assert (await stack.request("GET", "/nothing")).status == 404
        hanging.go_on.set()


async def test_the_body_of_who_is_refused_is_not_taken_for_a_request(
    stack: GatewayStack, hanging: Hanging
) -> None:
    smuggled = request_bytes("GET", "/healthz")
    async with no_room(stack, hanging):
        async with stack.connection() as connection:
            data = request_bytes("POST", "/v1/posts", None, smuggled)
            await connection.send(data[:-10])
            assert_told(await connection.reply())
            await connection.send(data[-10:] + request_bytes("GET", "/nothing"))
            assert (await connection.reply()).status == 404
        hanging.go_on.set()


async def test_places_are_given_back_by_those_who_never_get_an_answer(
    stack: GatewayStack, hanging: Hanging
) -> None:
    for _ in range(3 * ROOM):
        async with stack.connection() as connection:
            await connection.get(POST)
    hanging.go_on.set()

    async def is_served() -> bool:
        return (await stack.request("GET", POST)).status == 200

    await until(is_served)
