"""Everybody follows the same person at once, against the same follows spread over many.

Each of 200 people follows, unfollows, and so on, and follows in the end. The clients are a process
of their own, `python -m bench.measures.follow ADDRESS`, that does rounds as told on standard input
and prints the changes per second of each.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence

import grpc
from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import GraphServiceStub

from bench.tools.measure import Measure, Site
from devstack.rig import bearer

PEOPLE = 200
CHANGES_EACH = 5  # an odd number: it ends with a follow
CHANNELS = 4

WRONG_COUNTS = """
SELECT count(*) FROM people WHERE user_id = ANY($1::uuid[]) AND (
    follower_count <> (SELECT count(*) FROM follows WHERE followee_id = people.user_id)
    OR following_count <> (SELECT count(*) FROM follows WHERE follower_id = people.user_id))
"""


async def follow_at_once(site: Site) -> list[Measure]:
    """Each round has people of its own, so that every follow is a new one."""
    ids = [str(each) for each in site.world.ids[1:]]
    actors = ids[-PEOPLE:]
    tokens = [site.rig.user_token(each) for each in site.world.ids[-PEOPLE:]]
    followees = ids[-PEOPLE * (site.rounds + 2) : -PEOPLE]
    spread = [followees[n : n + PEOPLE] for n in range(PEOPLE, len(followees), PEOPLE)]
    hot = [[each] * PEOPLE for each in followees[: site.rounds]]
    targets = [each for pair in zip(hot, spread, strict=True) for each in pair]
    async with site.rig.run() as user_svc:
        rates = await _in_a_process(user_svc.address, tokens, targets)
    wrong = await site.session.fetchval(WRONG_COUNTS, actors + followees)
    return [
        Measure(
            "follow.hot_ratio",
            "x",
            [hot / spread for hot, spread in zip(rates[::2], rates[1::2], strict=True)],
            at_least=0.5,
        ),
        Measure("follow.hot_per_s", "changes/s", rates[::2]),
        Measure("follow.spread_per_s", "changes/s", rates[1::2]),
        Measure("follow.wrong_counts", "people", [wrong], at_most=0),
    ]


async def _in_a_process(
    address: str, tokens: Sequence[str], rounds: Sequence[Sequence[str]]
) -> list[float]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.measures.follow",
        address,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await child.communicate(json.dumps([tokens, rounds]).encode())
    rates: list[float] = json.loads(output)
    return rates


async def clients(
    address: str, tokens: Sequence[str], rounds: Sequence[Sequence[str]]
) -> list[float]:
    """In each round person n changes their following of the n-th target, all at once."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(CHANNELS)]
    stubs = [GraphServiceStub(channel) for channel in channels]

    async def change(number: int, target: str) -> None:
        stub = stubs[number % CHANNELS]
        metadata = bearer(tokens[number])
        for count in range(CHANGES_EACH):
            if count % 2 == 0:
                await stub.FollowUser(pb.FollowUserRequest(user_id=target), metadata=metadata)
            else:
                await stub.UnfollowUser(pb.UnfollowUserRequest(user_id=target), metadata=metadata)

    rates = []
    for targets in rounds:
        started_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number, target in enumerate(targets):
                group.create_task(change(number, target))
        rates.append(len(targets) * CHANGES_EACH / (time.perf_counter() - started_s))
    for channel in channels:
        await channel.close()
    return rates


if __name__ == "__main__":
    print(json.dumps(asyncio.run(clients(sys.argv[1], *json.load(sys.stdin)))))
