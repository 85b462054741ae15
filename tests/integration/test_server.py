"""What every call of every service goes through, over real connections."""

import asyncio
import logging
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import GraphServiceStub, UserServiceStub

from svckit.context import Call, current_call
from svckit.rpc.server import Server, ServerSettings
from svckit.rpc.status import rich_status
from tests.stacks.rpc_server import SOMEBODY, NamedRoles, bearer, dialled, serving
from user_svc.model import UserNotFound

USERS = pb.DESCRIPTOR.services_by_name["UserService"]
GRAPH = pb.DESCRIPTOR.services_by_name["GraphService"]
LOCAL = "127.0.0.1"


def reason_of(error: grpc.aio.AioRpcError) -> tuple[str, dict[str, str]]:
    info = error_details_pb2.ErrorInfo()
    assert rich_status(error).details[0].Unpack(info)
    return info.reason, dict(info.metadata)


async def refusal(call: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_an_unforeseen_error_tells_nothing_but_the_request_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def boom(_: object) -> None:
        raise RuntimeError("password of the database")

    async with serving(USERS, {"GetMe": boom}) as server, dialled(server) as channel:
        metadata = (*bearer("user"), ("x-request-id", "abc-1"))
        with caplog.at_level(logging.ERROR):
            error = await refusal(
                UserServiceStub(channel).GetMe(pb.GetMeRequest(), metadata=metadata)
            )
    assert error.code() is grpc.StatusCode.INTERNAL
    assert reason_of(error) == ("INTERNAL", {"request_id": "abc-1"})
    assert "password" not in f"{error.details()}{error.trailing_metadata()}"
    assert caplog.records[0].exc_info is not None


async def test_a_domain_error_becomes_its_status_with_reason_and_data() -> None:
    async def missing(_: object) -> None:
        raise UserNotFound(user_id="42")

    async with serving(USERS, {"GetMe": missing}) as server, dialled(server) as channel:
        error = await refusal(
            UserServiceStub(channel).GetMe(pb.GetMeRequest(), metadata=bearer("user"))
        )
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert reason_of(error) == ("USER_NOT_FOUND", {"user_id": "42"})


async def test_bytes_that_are_no_message_are_the_callers_mistake() -> None:
    async with serving(USERS, {}) as server, dialled(server) as channel:
        get_me: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        get_me = channel.unary_unary(f"/{USERS.full_name}/GetMe")
        error = await refusal(get_me(b"\xff\xff\xff", metadata=bearer("user")))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(error)[0] == "INVALID_MESSAGE"


async def test_a_call_ends_at_the_servers_limit_or_at_the_callers_deadline() -> None:
    remaining_s: list[float] = []

    async def slow(_: object) -> None:
        call = current_call.get()
        assert call is not None
        remaining_s.append(call.remaining_s())
        await asyncio.Event().wait()

    settings = ServerSettings(host=LOCAL, call_timeout_s=2.0)
    async with serving(USERS, {"GetMe": slow}, settings) as server, dialled(server) as channel:
        stub = UserServiceStub(channel)
        error = await refusal(stub.GetMe(pb.GetMeRequest(), metadata=bearer("user")))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert reason_of(error)[0] == "DEADLINE_EXCEEDED"
        await refusal(stub.GetMe(pb.GetMeRequest(), metadata=bearer("user"), timeout=0.5))
    assert 0.6 < remaining_s[0] <= 2.0
    assert remaining_s[1] < 0.6  # the caller's 500 ms, and some for the way


async def test_beyond_the_limit_calls_are_refused_at_once_and_streams_count_apart() -> None:
    let_go, arrived = asyncio.Event(), asyncio.Semaphore(0)

    async def hold(_: object) -> pb.GetRelationshipResponse:
        arrived.release()
        await let_go.wait()
        return pb.GetRelationshipResponse()

    async def stream(_: object) -> AsyncIterator[pb.StreamFollowerIdsResponse]:
        yield pb.StreamFollowerIdsResponse()
        await let_go.wait()

    methods = {"GetRelationship": hold, "StreamFollowerIds": stream}
    settings = ServerSettings(host=LOCAL, calls_max=1, streams_max=1)
    async with serving(GRAPH, methods, settings) as server, dialled(server) as channel:
        stub = GraphServiceStub(channel)
        request = pb.GetRelationshipRequest(user_id=SOMEBODY)
        held = asyncio.ensure_future(stub.GetRelationship(request, metadata=bearer("user")))
        await arrived.acquire()
        error = await refusal(stub.GetRelationship(request, metadata=bearer("user")))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(error)[0] == "OVERLOADED"
        retry = error_details_pb2.RetryInfo()
        assert rich_status(error).details[1].Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() > 0

        open_stream = stub.StreamFollowerIds(
            pb.StreamFollowerIdsRequest(user_id=SOMEBODY), metadata=bearer("service")
        )
        await open_stream.read()
        second = stub.StreamFollowerIds(
            pb.StreamFollowerIdsRequest(user_id=SOMEBODY), metadata=bearer("service")
        )
        assert (await refusal(second.read())).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        let_go.set()
        await held


async def test_request_ids_and_traces_are_taken_when_they_are_sane() -> None:
    seen: list[Call] = []

    async def note(_: object) -> pb.GetMeResponse:
        call = current_call.get()
        assert call is not None
        seen.append(call)
        return pb.GetMeResponse()

    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    async with serving(USERS, {"GetMe": note}) as server, dialled(server) as channel:
        stub = UserServiceStub(channel)
        for request_id, traceparent in (("client-7", trace), ("two words", "00-nonsense")):
            metadata = (("x-request-id", request_id), ("traceparent", traceparent))
            await stub.GetMe(pb.GetMeRequest(), metadata=(*bearer("user"), *metadata))
    assert (seen[0].request_id, seen[0].traceparent) == ("client-7", trace)
    assert len(seen[1].request_id) == 32
    assert seen[1].traceparent is not None
    assert seen[1].traceparent.endswith("-00")
    assert seen[1].traceparent != trace


@pytest.mark.parametrize(
    "metadata",
    [
        (("authorization", "Basic dXNlcjpwYXNz"),),
        (("authorization", "user"),),
        (("authorization", "bearer user"),),
        (("authorization", "Bearer user"), ("authorization", "Bearer admin")),
        (("authorization", "Bearer "),),
    ],
)
async def test_only_one_bearer_token_is_a_token(metadata: tuple[tuple[str, str], ...]) -> None:
    async with serving(USERS, {}) as server, dialled(server) as channel:
        error = await refusal(UserServiceStub(channel).GetMe(pb.GetMeRequest(), metadata=metadata))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason_of(error)[0] == "TOKEN_INVALID"


async def test_a_stream_is_closed_when_its_reader_leaves() -> None:
    closed = asyncio.Event()

    async def endless(_: object) -> AsyncIterator[pb.StreamFollowerIdsResponse]:
        try:
            while True:
                yield pb.StreamFollowerIdsResponse(follower_ids=bytes(65_536))
        finally:
            closed.set()

    methods = {"StreamFollowerIds": endless}
    async with serving(GRAPH, methods) as server, dialled(server) as channel:
        call = GraphServiceStub(channel).StreamFollowerIds(
            pb.StreamFollowerIdsRequest(user_id=SOMEBODY), metadata=bearer("service")
        )
        await call.read()
        call.cancel()
        async with asyncio.timeout(5):
            await closed.wait()


async def test_health_follows_the_checks() -> None:
    is_down = True

    async def check() -> None:
        if is_down:
            raise ConnectionError

    async with serving(USERS, {}, checks=[check]) as server, dialled(server) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def reaches(status: str) -> None:
            for name in ("", USERS.full_name):
                async with asyncio.timeout(5):
                    request = health_pb2.HealthCheckRequest(service=name)
                    while True:
                        answer = await health.Check(request)  # type: ignore[attr-defined]
                        if answer.ServingStatus.Name(answer.status) == status:
                            break

        await reaches("NOT_SERVING")
        is_down = False
        await reaches("SERVING")
        is_down = True
        await reaches("NOT_SERVING")


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with serving(USERS, {}) as server:
        with pytest.raises(RuntimeError, match=str(server.port)):
            Server(ServerSettings(host=LOCAL), server.port, NamedRoles(), {}, [])
