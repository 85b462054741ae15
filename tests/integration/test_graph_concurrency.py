"""Many people change the edges of one person at once: nobody's counts differ from the edges."""

import asyncio
import random
from pathlib import Path

import asyncpg
import grpc
from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import GraphServiceStub

from devstack.dataset import Size, load
from devstack.rig import Rig

ACTORS = 60
CHANGES_EACH = 12
VERBS = ("Follow", "Unfollow", "Block", "Unblock")
VERB_WEIGHTS = (4, 4, 1, 1)
WORLD = Size(people=ACTORS + 2, follows=ACTORS + 1, blocks=0, mutes=0, sessions=0)

EXPECTED = {grpc.StatusCode.OK, grpc.StatusCode.FAILED_PRECONDITION}  # the latter: a block
WRONG_COUNTS = """
SELECT user_id, follower_count, following_count FROM people
WHERE follower_count <> (SELECT count(*) FROM follows WHERE followee_id = people.user_id)
    OR following_count <> (SELECT count(*) FROM follows WHERE follower_id = people.user_id)
"""
EVENTS_OF_FOLLOWS = """
SELECT count(*) FILTER (WHERE type = 'FollowAdded') - count(*) FILTER (WHERE type = 'FollowRemoved')
FROM outbox
"""


async def test_counts_equal_edges_after_everybody_follows_one_person(
    tmp_path: Path, database_dsn: str
) -> None:
    """Follows, unfollows, blocks of the same people, in both directions, while counts fold."""
    world = await load(database_dsn, WORLD)
    rig = Rig(tmp_path, database_dsn)
    famous, other, *actors = map(str, world.ids)
    tokens = dict(zip(map(str, world.ids), map(rig.user_token, world.ids), strict=True))
    async with rig.run() as program, grpc.aio.insecure_channel(program.address) as channel:
        graph = GraphServiceStub(channel)

        async def change(actor: str, seed: int) -> None:
            choices = random.Random(seed)
            for _ in range(CHANGES_EACH):
                target = famous if choices.random() < 0.8 else other
                one, two = (actor, target) if choices.random() < 0.9 else (target, actor)
                (verb,) = choices.choices(VERBS, VERB_WEIGHTS)
                call = getattr(graph, f"{verb}User")
                request = getattr(pb, f"{verb}UserRequest")
                metadata = (("authorization", f"Bearer {tokens[one]}"),)
                outcome = call(request(user_id=two), metadata=metadata, timeout=30)
                assert await outcome.code() in EXPECTED

        async with asyncio.TaskGroup() as group:
            for seed, actor in enumerate(actors):
                group.create_task(change(actor, seed))

    connection = await asyncpg.connect(database_dsn)
    try:
        assert await connection.fetch(WRONG_COUNTS) == []
        edges = await connection.fetchval("SELECT count(*) FROM follows")
        assert await connection.fetchval(EVENTS_OF_FOLLOWS) == edges - WORLD.follows
    finally:
        await connection.close()
