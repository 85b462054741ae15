"""Logging in: what the answer gives away, and what 50 at once do to everybody else."""

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import AuthServiceStub

from bench.tools.lag import FILE_VARIABLE
from bench.tools.measure import Measure, Site
from devstack.programs import USER_SVC
from svckit.ids import new_id

if TYPE_CHECKING:
    from newsfeed.user.v1.user_service_pb2_grpc import AuthServiceAsyncStub

PASSWORD = "correct horse battery"
AT_ONCE = 50
PAIRS_PER_ROUND = 20

Answer = tuple[grpc.StatusCode, str | None, tuple[tuple[str, str | bytes], ...]]


async def log_in(site: Site) -> list[Measure]:
    """An unknown login and a wrong password take turns; then many log in at once, a few times."""
    name = f"u{new_id().hex[-20:]}"
    windows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lag.json"
        environment = {FILE_VARIABLE: str(file)}
        async with (
            site.rig.run(USER_SVC, "bench.tools.lag", **environment) as user_svc,
            grpc.aio.insecure_channel(user_svc.address) as channel,
        ):
            stub = AuthServiceStub(channel)
            sign_up = pb.SignUpRequest(
                username=name, email=f"{name}@example.org", password=PASSWORD
            )
            await stub.SignUp(sign_up)
            ratios = [await _time_ratio(stub, name) for _ in range(site.rounds)]
            right = pb.LogInRequest(login=name, password=PASSWORD)
            for _ in range(site.rounds):
                started_s = time.monotonic()
                await asyncio.gather(*(stub.LogIn(right) for _ in range(AT_ONCE)))
                windows.append((started_s, time.monotonic()))
        samples = json.loads(file.read_text(encoding="ascii"))
    lags = [[1000 * lag for at, lag in samples if start <= at <= end] for start, end in windows]
    return [
        Measure("login.unknown_to_wrong", "x", ratios, at_least=0.9),
        Measure("login.wrong_to_unknown", "x", [1 / each for each in ratios], at_least=0.9),
        Measure(
            "login.lag_p99",
            "ms",
            [statistics.quantiles(each, n=100)[98] for each in lags],
            None,
            50,
        ),
        Measure("login.per_s", "log-ins/s", [AT_ONCE / (end - start) for start, end in windows]),
    ]


async def _time_ratio(stub: "AuthServiceAsyncStub", name: str) -> float:
    """The median time for an unknown login over that for a wrong password."""
    unknown = pb.LogInRequest(login="nobody_has_this", password="a wrong password")
    wrong = pb.LogInRequest(login=name, password="a wrong password")
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(PAIRS_PER_ROUND):
        answers = []
        for request, kept in zip((unknown, wrong), times, strict=True):
            started_s = time.perf_counter()
            answers.append(await refusal(stub, request))
            kept.append(time.perf_counter() - started_s)
        assert answers[0] == answers[1], answers
    return statistics.median(times[0]) / statistics.median(times[1])


async def refusal(stub: "AuthServiceAsyncStub", request: pb.LogInRequest) -> Answer:
    """All that the client gets, but for the request's own id."""
    try:
        await stub.LogIn(request)
    except grpc.aio.AioRpcError as error:
        trailing = tuple(pair for pair in error.trailing_metadata() if pair[0] != "x-request-id")
        return error.code(), error.details(), trailing
    raise AssertionError("nobody may log in so")
