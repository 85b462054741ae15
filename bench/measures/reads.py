"""Reads against an rpc that does nothing, and the stream of all followers of one person."""

import time
from collections.abc import Sequence

import grpc
from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import GraphServiceStub

from bench.tools.echo import RESPONSE_VARIABLE, RPC_VARIABLE
from bench.tools.load import generate
from bench.tools.measure import Measure, Site
from devstack.programs import USER_SVC
from devstack.rig import Running, bearer
from svckit.ids import ID_BYTES

GET_USER = "/newsfeed.user.v1.UserService/GetUser"
CONCURRENCY = 32
PEOPLE_ASKED_FOR = 1000
LONG_LIVED = {"CONNECTION_AGE_S": "3600"}
STREAMS = 10
MIB = 1024 * 1024


async def get_user(site: Site) -> list[Measure]:
    people = site.world.ids[-PEOPLE_ASKED_FOR:]
    token = site.rig.user_token(site.world.hub)
    requests = [pb.GetUserRequest(user_id=str(each)).SerializeToString() for each in people]
    async with site.rig.run(**LONG_LIVED) as user_svc:
        return await beside_echo(
            site, user_svc, GET_USER, [token], requests, name="user.get", at_least=0.6
        )


async def beside_echo(
    site: Site,
    program: Running,
    path: str,
    tokens: Sequence[str],
    requests: Sequence[bytes],
    *,
    name: str,
    at_least: float,
) -> list[Measure]:
    """An rpc that reads, against one with the same answer that does nothing.

    Rounds alternate between the two servers; the CPU is that of the server's process.
    """

    async def measure(server: Running) -> tuple[float, float]:
        cpu_s = server.cpu_s
        outcome = await generate(
            server.address, path, tokens, requests, concurrency=CONCURRENCY, seconds=site.seconds
        )
        assert outcome.errors == 0
        return outcome.per_s, 1e6 * (server.cpu_s - cpu_s) / outcome.calls

    async with grpc.aio.insecure_channel(program.address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        response = await call(requests[0], metadata=bearer(tokens[0]))
    told = LONG_LIVED | {
        RPC_VARIABLE: path.rpartition(".")[2],
        RESPONSE_VARIABLE: response.hex(),
    }
    async with site.rig.run(USER_SVC, "bench.tools.echo", **told) as echo:
        rounds = [(await measure(program), await measure(echo)) for _ in range(site.rounds)]
    return [
        Measure(f"{name}_ratio", "x", [got[0] / nothing[0] for got, nothing in rounds], at_least),
        Measure(f"{name}_per_s", "calls/s", [got[0] for got, _ in rounds]),
        Measure(f"{name}_echo_per_s", "calls/s", [nothing[0] for _, nothing in rounds]),
        Measure(f"{name}_cpu", "us/call", [got[1] for got, _ in rounds]),
        Measure(f"{name}_echo_cpu", "us/call", [nothing[1] for _, nothing in rounds]),
    ]


async def stream_follower_ids(site: Site) -> list[Measure]:
    """All followers of the hub; the client is in this process, which has nothing else to do."""
    rates, growths = [], []
    metadata = bearer(site.rig.service_token())
    request = pb.StreamFollowerIdsRequest(user_id=str(site.world.hub))
    followers = site.world.followers[0]
    async with (
        site.rig.run() as user_svc,
        grpc.aio.insecure_channel(user_svc.address) as channel,
    ):
        stub = GraphServiceStub(channel)
        before_bytes: int | None = None
        for _ in range(STREAMS + 1):
            received, peak_bytes, started_s = 0, 0, time.perf_counter()
            async for chunk in stub.StreamFollowerIds(request, metadata=metadata):
                received += len(chunk.follower_ids) // ID_BYTES
                peak_bytes = max(peak_bytes, user_svc.process.memory_info().rss)
            assert received == followers
            rates.append(received / (time.perf_counter() - started_s))
            before_bytes = before_bytes or peak_bytes  # that of the first, which warms up
            growths.append((peak_bytes - before_bytes) / MIB)
    return [
        Measure("stream.ids_per_s", "ids/s", rates[1:], at_least=500_000),
        Measure("stream.growth", "MiB", [max(growths)], at_most=10),
    ]
