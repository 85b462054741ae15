"""A small world that lives at random, and every read of the graph against a plain model of it."""

import random
from collections.abc import Iterable, Sequence
from uuid import UUID

import pytest
from newsfeed.user.v1 import user_service_pb2 as pb

from svckit.ids import new_id, pack_ids
from tests.oracle.shared.graph_model import GraphModel
from tests.requests.lists import everybody
from tests.requests.refusals import refusal
from tests.stacks.user_stack import Person, UserStack

PEOPLE = 30
ACTS = 700
SEED = 20261120
VERBS = {"Follow": 30, "Unfollow": 4, "Block": 2, "Unblock": 1, "Mute": 2, "Unmute": 1}


class World:
    """Living and deleted people, and what the model knows of them."""

    def __init__(self, people: Sequence[Person]) -> None:
        self.living = list(people)
        self.dead: list[Person] = []
        self.model = GraphModel()

    async def act(self, verb: str, actor: Person, target: Person) -> None:
        if self.model.act(verb, actor.user_id, target.user_id):
            await actor.act(verb, target)
        else:
            assert (await refusal(actor.act(verb, target))).reason == "BLOCKED"

    async def delete(self, person: Person) -> None:
        await person.delete()
        self.living.remove(person)
        self.dead.append(person)
        self.model.delete(person.user_id)


@pytest.fixture(scope="module")
async def world(user_stack: UserStack) -> World:
    chance = random.Random(SEED)
    world = World([await user_stack.sign_up("person") for _ in range(PEOPLE)])
    for turn in range(ACTS):
        verb = chance.choices(list(VERBS), weights=list(VERBS.values()))[0]
        await world.act(verb, *chance.sample(world.living, 2))
        if turn % 200 == 199:
            await world.delete(chance.choice(world.living))
    return world


def packed(user_ids: Iterable[str]) -> bytes:
    """As services get them: ascending."""
    return pack_ids(sorted(map(UUID, user_ids)))


async def test_lists_of_follows(world: World) -> None:
    """Before and after a purge: who was deleted is hidden at once."""
    viewer = world.living[0]
    for person in world.living:
        followers = pb.ListFollowersRequest(user_id=person.user_id)
        following = pb.ListFollowingRequest(user_id=person.user_id)
        assert await everybody(viewer, "GraphService.ListFollowers", followers) == (
            world.model.followers(person.user_id)
        )
        assert await everybody(viewer, "GraphService.ListFollowing", following) == (
            world.model.followees(person.user_id)
        )


async def test_lists_of_blocks_and_mutes(world: World) -> None:
    for person in world.living:
        blocked = await everybody(person, "GraphService.ListBlocks", pb.ListBlocksRequest())
        muted = await everybody(person, "GraphService.ListMutes", pb.ListMutesRequest())
        assert sorted(blocked) == sorted(world.model.blocked(person.user_id))
        assert sorted(muted) == sorted(world.model.muted(person.user_id))


async def test_relationships(user_stack: UserStack, world: World) -> None:
    others = [each.user_id for each in (*world.living, *world.dead)]
    user_ids = pack_ids(map(UUID, [*others, str(new_id())]))
    for viewer in world.living:
        request = pb.BatchGetRelationshipsRequest(viewer_id=viewer.user_id, user_ids=user_ids)
        answer = await user_stack.service.graph.BatchGetRelationships(request)
        expected = [
            pb.FullRelationship(**world.model.relationship(viewer.user_id, other), exists=True)
            for other in others[: len(world.living)]
        ]
        nothing = [pb.FullRelationship()] * (len(world.dead) + 1)
        assert list(answer.relationships) == expected + nothing


async def test_what_services_read_for_fan_out_and_feeds(
    user_stack: UserStack, world: World
) -> None:
    await user_stack.settle()
    graph, model = user_stack.service.graph, world.model
    for person in world.living:
        user_id = person.user_id
        chunks = graph.StreamFollowerIds(pb.StreamFollowerIdsRequest(user_id=user_id))
        streamed = b"".join([chunk.follower_ids async for chunk in chunks])
        assert streamed == packed(model.followers(user_id))
        followees = await graph.ListFolloweeIds(pb.ListFolloweeIdsRequest(user_id=user_id))
        assert followees.followee_ids == packed(model.followees(user_id))
        found = await graph.GetViewerGraph(pb.GetViewerGraphRequest(viewer_id=user_id))
        found.ClearField("read_time")
        assert found == pb.GetViewerGraphResponse(
            exists=True,
            followee_ids=packed(model.followees(user_id)),
            blocked_ids=packed(model.blocked(user_id)),
            blocked_by_ids=packed(model.blocked_by(user_id)),
            muted_ids=packed(model.muted(user_id)),
        )


async def test_who_is_hidden_from_whom(user_stack: UserStack, world: World) -> None:
    """In the order asked, and of the deleted, the unknown and the asked twice too."""
    await user_stack.settle()
    people = [each.user_id for each in (*world.living, *world.dead)]
    random.Random(SEED).shuffle(people)
    asked = [*people, str(new_id()), people[0]]
    request = pb.BatchGetHiddenIdsRequest(viewer_ids=pack_ids(map(UUID, asked)))
    answer = await user_stack.service.graph.BatchGetHiddenIds(request)
    expected = [packed(world.model.hidden(viewer)) for viewer in asked]
    assert list(answer.hidden) == [pb.HiddenIds(user_ids=each) for each in expected]
    assert sum(map(bool, expected)) > PEOPLE / 2


async def test_suggestions(user_stack: UserStack, world: World) -> None:
    await user_stack.settle()
    some = 0
    for viewer in world.living:
        answer = await viewer.graph.SuggestUsers(pb.SuggestUsersRequest(page_size=100))
        suggested = [(each.user.user_id, each.mutual_count) for each in answer.suggestions]
        assert suggested == world.model.suggestions(viewer.user_id)
        assert await everybody(viewer, "GraphService.SuggestUsers", pb.SuggestUsersRequest()) == [
            user_id for user_id, _ in suggested
        ]
        some += bool(suggested)
    assert some > PEOPLE / 2  # else the world is too small to prove anything


async def test_counts(user_stack: UserStack, world: World) -> None:
    """Right before deltas are folded and after; of purged people once they are purged."""
    await user_stack.app.maintenance.purge_deleted()
    request = pb.BatchGetUsersRequest(user_ids=[person.user_id for person in world.living])
    expected = {
        person.user_id: (
            len(world.model.followers(person.user_id)),
            len(world.model.followees(person.user_id)),
        )
        for person in world.living
    }
    for _ in ("before", "after"):
        users = (await user_stack.service.users.BatchGetUsers(request)).users
        found = {user.user_id: (user.follower_count, user.following_count) for user in users}
        assert found == expected
        await user_stack.app.maintenance.fold_counts()


async def test_suggestions_stay_bounded_around_a_hub(user_stack: UserStack) -> None:
    """Somebody follows 300 people, each of whom follows the same 300 and one of their own."""
    viewer = await user_stack.sign_up("viewer")
    await user_stack.app.database.execute(
        """
        WITH crowd AS (
            INSERT INTO users (user_id, username, email, display_name, bio, avatar_url, role,
                create_time)
            SELECT gen_random_uuid(), kind || n, kind || n || '@example.com', kind, '', '',
                'user', now()
            FROM unnest(ARRAY['friend', 'hub', 'rare']) AS kind, generate_series(1, 300) AS n
            RETURNING user_id, display_name AS kind, substring(username from '[0-9]+') AS number
        ), counted AS (
            INSERT INTO follow_counts (user_id) SELECT user_id FROM crowd
        ), known AS (
            INSERT INTO follows (follower_id, followee_id, create_time)
            SELECT $1::text::uuid, user_id, now() FROM crowd WHERE kind = 'friend'
        )
        INSERT INTO follows (follower_id, followee_id, create_time)
        SELECT friend.user_id, other.user_id,
            CASE other.kind WHEN 'rare' THEN now() ELSE now() - interval '1 hour' END
        FROM crowd AS friend, crowd AS other
        WHERE friend.kind = 'friend'
            AND (other.kind = 'hub' OR (other.kind = 'rare' AND other.number = friend.number))
        """,
        viewer.user_id,
    )
    answer = await viewer.graph.SuggestUsers(pb.SuggestUsersRequest(page_size=100))
    # Of the last 200 friends the last 100 followees each: 99 that all share, one of their own.
    assert [each.mutual_count for each in answer.suggestions] == [200] * 99 + [1]
    suggested = await everybody(viewer, "GraphService.SuggestUsers", pb.SuggestUsersRequest())
    assert len(suggested) == len(set(suggested)) == 200
