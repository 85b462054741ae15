"""GetUser against an rpc that does nothing, and the stream of all followers of one person."""

import time

import grpc
import psutil
from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import GraphServiceStub, UserServiceStub

from bench.echo import RESPONSE_VARIABLE
from bench.load import generate
from bench.measure import Measure, Site
from bench.stack import Running
from svckit.ids import ID_BYTES

GET_USER = "/newsfeed.user.v1.UserService/GetUser"
CONCURRENCY = 32
PEOPLE_ASKED_FOR = 1000
LONG_LIVED = {"CONNECTION_AGE_S": "3600"}
STREAMS = 10
MIB = 1024 * 1024


async def get_user(site: Site) -> list[Measure]:
    """Rounds alternate between the two servers; the CPU is that of the server's process."""
    bench, people = site.bench, site.world.ids[-PEOPLE_ASKED_FOR:]
    token = bench.user_token(site.world.hub)
    requests = [pb.GetUserRequest(user_id=str(each)).SerializeToString() for each in people]

    async def measure(program: Running) -> tuple[float, float]:
        cpu_s = _cpu_s(program.process)
        outcome = await generate(
            program.address,
            GET_USER,
            token,
            requests,
            concurrency=CONCURRENCY,
            seconds=site.seconds,
        )
        assert outcome.errors == 0
        return outcome.per_s, 1e6 * (_cpu_s(program.process) - cpu_s) / outcome.calls

    async with bench.run(**LONG_LIVED) as user_svc:
        response = await _response(user_svc, token, requests[0])
        told = LONG_LIVED | {RESPONSE_VARIABLE: response.hex()}
        async with bench.run("bench.echo", **told) as echo:
            rounds = [(await measure(user_svc), await measure(echo)) for _ in range(site.rounds)]
    return [
        Measure("user.get_ratio", "x", [got[0] / nothing[0] for got, nothing in rounds], 0.6),
        Measure("user.get_per_s", "calls/s", [got[0] for got, _ in rounds]),
        Measure("user.echo_per_s", "calls/s", [nothing[0] for _, nothing in rounds]),
        Measure("user.get_cpu", "us/call", [got[1] for got, _ in rounds]),
        Measure("user.echo_cpu", "us/call", [nothing[1] for _, nothing in rounds]),
    ]


async def _response(user_svc: Running, token: str, request: bytes) -> bytes:
    async with grpc.aio.insecure_channel(user_svc.address) as channel:
        metadata = (("authorization", f"Bearer {token}"),)
        got = await UserServiceStub(channel).GetUser(
            pb.GetUserRequest.FromString(request), metadata=metadata
        )
    return got.SerializeToString()


async def stream_follower_ids(site: Site) -> list[Measure]:
    """All followers of the hub; the client is in this process, which has nothing else to do."""
    rates, growths = [], []
    metadata = (("authorization", f"Bearer {site.bench.service_token()}"),)
    request = pb.StreamFollowerIdsRequest(user_id=str(site.world.hub))
    followers = site.world.followers[0]
    async with (
        site.bench.run() as user_svc,
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


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
