"""What every call to another service carries, and when it is tried again."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import (
    AuthServiceStub,
    GraphServiceStub,
    UserServiceStub,
)

from svckit import errors
from svckit.context import Call, current_call
from svckit.rpc.client import RetryBudget, ServiceChannel
from svckit.rpc.limits import ChannelLimits
from tests.stacks.rpc_server import SOMEBODY, bearer, dialled, serving
from user_svc.model import UserNotFound

USERS = pb.DESCRIPTOR.services_by_name["UserService"]
AUTH = pb.DESCRIPTOR.services_by_name["AuthService"]
GRAPH = pb.DESCRIPTOR.services_by_name["GraphService"]
TIMEOUT_S = 1.5  # less than a channel's own
ROUNDED_S = 0.05  # gRPC rounds deadlines up


def target(port: int) -> str:
    return f"127.0.0.1:{port}"


class Flaky:
    """Fails the first calls with UNAVAILABLE."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    async def answer(self, _: object) -> pb.BatchGetUsersResponse:
        self.calls += 1
        if self.calls <= self.failures:
            raise errors.Unavailable
        return pb.BatchGetUsersResponse()


async def test_a_call_within_a_call_takes_over_deadline_request_id_and_trace() -> None:
    outer: list[tuple[Call, float]] = []
    inner: list[tuple[Call, float]] = []

    def note(calls: list[tuple[Call, float]]) -> None:
        call = current_call.get()
        assert call is not None
        calls.append((call, call.remaining_s()))

    async def back(_: object) -> pb.BatchGetUsersResponse:
        note(inner)
        return pb.BatchGetUsersResponse()

    async with (
        serving(USERS, {"BatchGetUsers": back}) as back_server,
        ServiceChannel(target(back_server.port), lambda: "service") as onward,
    ):

        async def front(_: object) -> pb.GetRelationshipResponse:
            note(outer)
            await onward.stub(UserServiceStub).BatchGetUsers(pb.BatchGetUsersRequest())
            return pb.GetRelationshipResponse()

        async with (
            serving(GRAPH, {"GetRelationship": front}) as front_server,
            dialled(front_server) as channel,
        ):
            await GraphServiceStub(channel).GetRelationship(
                pb.GetRelationshipRequest(user_id=SOMEBODY),
                metadata=(*bearer("user"), ("x-request-id", "r-1")),
                timeout=TIMEOUT_S,
            )
    (outer_call, outer_s), (inner_call, inner_s) = outer[0], inner[0]
    assert inner_s < outer_s <= TIMEOUT_S + ROUNDED_S
    assert inner_call.request_id == "r-1"
    assert inner_call.traceparent == outer_call.traceparent
    assert inner_call.caller is not None
    assert inner_call.caller.role == "service"


async def test_reads_are_tried_again_when_the_server_is_unavailable() -> None:
    flaky = Flaky(failures=2)
    async with (
        serving(USERS, {"BatchGetUsers": flaky.answer}) as server,
        ServiceChannel(target(server.port), lambda: "service") as channel,
    ):
        await channel.stub(UserServiceStub).BatchGetUsers(pb.BatchGetUsersRequest())
    assert flaky.calls == 3


async def test_what_may_not_be_repeated_is_not_tried_again() -> None:
    flaky = Flaky(failures=1)
    request = pb.SignUpRequest(username="ada", email="ada@example.com", password="correct horse")
    async with (
        serving(AUTH, {"SignUp": flaky.answer}) as server,
        ServiceChannel(target(server.port)) as channel,
    ):
        with pytest.raises(errors.Unavailable):
            await channel.stub(AuthServiceStub).SignUp(request)
    assert flaky.calls == 1


async def test_retries_are_a_share_of_the_calls() -> None:
    flaky = Flaky(failures=10_000)
    async with (
        serving(USERS, {"BatchGetUsers": flaky.answer}) as server,
        ServiceChannel(target(server.port), lambda: "service") as channel,
    ):
        stub = channel.stub(UserServiceStub)
        for _ in range(50):
            with pytest.raises(errors.Unavailable):
                await stub.BatchGetUsers(pb.BatchGetUsersRequest())
    reserve = RetryBudget().reserve
    assert flaky.calls <= 50 + reserve + 50 * RetryBudget().share + 1


async def test_errors_arrive_as_domain_errors_of_the_same_kind() -> None:
    async def missing(_: object) -> None:
        raise UserNotFound(user_id="42")

    async def wrong(_: object) -> None:
        raise errors.InvalidArgument.of("user_ids", "too many")

    async def broken(_: object) -> None:
        raise RuntimeError

    async with (
        serving(USERS, {"GetMe": missing, "BatchGetUsers": wrong, "GetUser": broken}) as server,
        ServiceChannel(target(server.port), lambda: "service") as as_service,
        ServiceChannel(target(server.port), lambda: "user") as as_user,
    ):
        with pytest.raises(errors.NotFound) as not_found:
            await as_user.stub(UserServiceStub).GetMe(pb.GetMeRequest())
        assert not_found.value.reason == "USER_NOT_FOUND"
        assert not_found.value.metadata == {"user_id": "42"}
        with pytest.raises(errors.InvalidArgument) as invalid:
            await as_service.stub(UserServiceStub).BatchGetUsers(pb.BatchGetUsersRequest())
        assert invalid.value.violations == (errors.FieldViolation("user_ids", "too many"),)
        with pytest.raises(errors.Unavailable):  # its fault, not our caller's
            await as_user.stub(UserServiceStub).GetUser(pb.GetUserRequest(user_id=SOMEBODY))


async def test_a_silent_server_costs_no_more_than_the_default_timeout() -> None:
    async def mute(_: object) -> None:
        await asyncio.Event().wait()

    async with (
        serving(USERS, {"GetMe": mute}) as server,
        ServiceChannel(
            target(server.port), lambda: "user", ChannelLimits(timeout_s=0.1)
        ) as channel,
    ):
        with pytest.raises(errors.DeadlineExceeded):
            await channel.stub(UserServiceStub).GetMe(pb.GetMeRequest())


async def test_a_stream_that_breaks_raises_and_one_that_is_left_is_cancelled() -> None:
    left = asyncio.Event()

    async def followers(
        request: pb.StreamFollowerIdsRequest,
    ) -> AsyncIterator[pb.StreamFollowerIdsResponse]:
        try:
            yield pb.StreamFollowerIdsResponse()
            if request.after:
                raise errors.Unavailable
            await asyncio.Event().wait()
        finally:
            left.set()

    async with (
        serving(GRAPH, {"StreamFollowerIds": followers}) as server,
        ServiceChannel(target(server.port), lambda: "service") as channel,
    ):
        stub = channel.stub(GraphServiceStub)
        with pytest.raises(errors.Unavailable):
            async for _ in stub.StreamFollowerIds(
                pb.StreamFollowerIdsRequest(user_id=SOMEBODY, after=bytes(16))
            ):
                pass
        left.clear()
        stream = stub.StreamFollowerIds(pb.StreamFollowerIdsRequest(user_id=SOMEBODY))
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            await left.wait()


async def test_no_server_is_unavailable() -> None:
    async with ServiceChannel("127.0.0.1:1", limits=ChannelLimits(timeout_s=1)) as channel:
        with pytest.raises(errors.Unavailable) as caught:
            await channel.stub(UserServiceStub).GetMe(pb.GetMeRequest())
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)
