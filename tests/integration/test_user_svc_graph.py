"""Following, blocking and muting over gRPC: what each act does, and what it refuses."""

from uuid import UUID

import pytest
from newsfeed.user.v1 import user_service_pb2 as pb

from tests.requests.refusals import refusal
from tests.stacks.user_stack import Person, UserStack
from user_svc.model import BATCH_MAX, GraphSettings

LIMITS = GraphSettings()
VERBS = ("Follow", "Unfollow", "Block", "Unblock", "Mute", "Unmute")
NOBODY_ID = "01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7"
EVERY_ACT = pytest.mark.parametrize("verb", VERBS)


async def two(stack: UserStack) -> tuple[Person, Person]:
    return await stack.sign_up("ada"), await stack.sign_up("bob")


async def counts(viewer: Person, person: Person) -> tuple[int, int]:
    user = (await viewer.users.GetUser(pb.GetUserRequest(user_id=person.user_id))).user
    return user.follower_count, user.following_count


def edges(relationship: pb.Relationship) -> set[str]:
    return {field.name for field, _ in relationship.ListFields()}


@EVERY_ACT
async def test_an_act_needs_another_person(user_stack: UserStack, verb: str) -> None:
    ada = await user_stack.sign_up("ada")
    before = await user_stack.digest()
    assert (await refusal(ada.act(verb, ada))).says == "FAILED_PRECONDITION SELF_TARGET"
    assert await user_stack.digest() == before


@EVERY_ACT
async def test_an_act_needs_somebody_who_is_there(user_stack: UserStack, verb: str) -> None:
    ada, bob = await two(user_stack)
    await ada.act("Follow", bob)
    await bob.delete()
    nobody = Person(user_stack.channel, pb.User(user_id=NOBODY_ID), pb.Tokens())
    before = await user_stack.digest()
    for other in (bob, nobody):
        refused = await refusal(ada.act(verb, other))
        assert refused.says == "NOT_FOUND USER_NOT_FOUND"
        assert refused.metadata == {"user_id": other.user_id}
    assert await user_stack.digest() == before


@EVERY_ACT
async def test_who_was_deleted_acts_no_more(user_stack: UserStack, verb: str) -> None:
    """Also in the moment in which their token still passes."""
    ada, bob = await two(user_stack)
    await ada.delete()
    before = await user_stack.digest()
    assert (await refusal(ada.act(verb, bob))).says == "UNAUTHENTICATED TOKEN_REVOKED"
    assert await user_stack.digest() == before


@pytest.mark.parametrize("blocker", ["the follower", "the followee"])
async def test_nobody_follows_across_a_block(user_stack: UserStack, blocker: str) -> None:
    ada, bob = await two(user_stack)
    await (ada.act("Block", bob) if blocker == "the follower" else bob.act("Block", ada))
    before = await user_stack.digest()
    refused = await refusal(ada.act("Follow", bob))
    assert refused.says == "FAILED_PRECONDITION BLOCKED"
    assert refused.metadata == {"user_id": bob.user_id}
    assert await user_stack.digest() == before


@EVERY_ACT
async def test_twice_is_as_good_as_once(user_stack: UserStack, verb: str) -> None:
    ada, bob = await two(user_stack)
    if verb.startswith("Un"):
        await ada.act(verb.removeprefix("Un").capitalize(), bob)
    first = await ada.act(verb, bob)
    before = await user_stack.digest()
    assert await ada.act(verb, bob) == first
    assert await user_stack.digest() == before


async def test_a_follow_counts_on_both_sides(user_stack: UserStack) -> None:
    ada, bob = await two(user_stack)
    assert edges(await ada.act("Follow", bob)) == {"is_following"}
    assert (await counts(ada, ada), await counts(ada, bob)) == ((0, 1), (1, 0))
    assert edges(await bob.act("Follow", ada)) == {"is_following", "is_followed_by"}
    assert (await counts(ada, ada), await counts(ada, bob)) == ((1, 1), (1, 1))
    assert edges(await ada.act("Unfollow", bob)) == {"is_followed_by"}
    assert (await counts(ada, ada), await counts(ada, bob)) == ((1, 0), (0, 1))


async def test_a_block_ends_following_both_ways(user_stack: UserStack) -> None:
    ada, bob = await two(user_stack)
    await ada.act("Follow", bob)
    await bob.act("Follow", ada)
    assert edges(await ada.act("Block", bob)) == {"is_blocking"}
    assert (await counts(ada, ada), await counts(ada, bob)) == ((0, 0), (0, 0))
    assert edges(await ada.act("Unblock", bob)) == set()
    assert edges(await ada.act("Follow", bob)) == {"is_following"}


async def test_nobody_is_told_who_blocks_or_mutes_them(user_stack: UserStack) -> None:
    ada, bob = await two(user_stack)
    await ada.act("Block", bob)
    await ada.act("Mute", bob)
    request = pb.GetRelationshipRequest(user_id=ada.user_id)
    assert edges((await bob.graph.GetRelationship(request)).relationship) == set()


async def test_a_mute_shows_to_nobody_else_and_keeps_the_follow(user_stack: UserStack) -> None:
    ada, bob = await two(user_stack)
    await ada.act("Follow", bob)
    assert edges(await ada.act("Mute", bob)) == {"is_following", "is_muting"}
    assert edges(await bob.act("Follow", ada)) == {"is_following", "is_followed_by"}
    assert edges(await ada.act("Unmute", bob)) == {"is_following", "is_followed_by"}


async def test_to_oneself_there_is_nothing(user_stack: UserStack) -> None:
    ada = await user_stack.sign_up("ada")
    request = pb.GetRelationshipRequest(user_id=ada.user_id)
    assert edges((await ada.graph.GetRelationship(request)).relationship) == set()


async def insert_crowd(stack: UserStack, size: int) -> None:
    """People of whom there are ids only, made in one statement."""
    await stack.app.database.execute(
        """
        WITH crowd AS (
            INSERT INTO users (user_id, username, email, display_name, bio, avatar_url, role,
                create_time)
            SELECT gen_random_uuid(), 'crowd' || n, 'crowd' || n || '@example.com', '', '', '',
                'user', now()
            FROM generate_series(1, $1::integer) AS n
            ON CONFLICT DO NOTHING RETURNING user_id
        )
        INSERT INTO follow_counts (user_id) SELECT user_id FROM crowd
        """,
        size,
    )


@pytest.mark.parametrize(
    ("verb", "table", "actor", "target"),
    [
        ("Follow", "follows", "follower_id", "followee_id"),
        ("Block", "blocks", "blocker_id", "blocked_id"),
        ("Mute", "mutes", "muter_id", "muted_id"),
    ],
)
async def test_there_is_a_limit_to_ones_edges(
    user_stack: UserStack, verb: str, table: str, actor: str, target: str
) -> None:
    ada, bob = await two(user_stack)
    carl = await user_stack.sign_up("carl")
    await insert_crowd(user_stack, LIMITS.edges_max)
    await user_stack.app.database.execute(
        f"INSERT INTO {table} ({actor}, {target}, create_time)"
        " SELECT $1::text::uuid, user_id, now() FROM users WHERE username LIKE 'crowd%' LIMIT $2",
        ada.user_id,
        LIMITS.edges_max - 1,
    )
    await ada.act(verb, bob)
    before = await user_stack.digest()
    refused = await refusal(ada.act(verb, carl))
    assert refused.says == "FAILED_PRECONDITION EDGE_LIMIT_REACHED"
    assert refused.metadata == {"kind": verb.lower(), "limit": str(LIMITS.edges_max)}
    await ada.act(verb, bob)  # is there already
    assert await user_stack.digest() == before
    await ada.act(f"Un{verb.lower()}", bob)
    await ada.act(verb, carl)
    await bob.act(verb, ada)  # the limit is of those who act


async def stream(stack: UserStack, user_id: str, after: bytes = b"") -> list[bytes]:
    """The chunks."""
    request = pb.StreamFollowerIdsRequest(user_id=user_id, after=after)
    answers = [answer async for answer in stack.service.graph.StreamFollowerIds(request)]
    assert all(answer.position == answer.follower_ids[-16:] for answer in answers)
    return [answer.follower_ids for answer in answers]


def unpacked(packed: bytes) -> list[str]:
    return [str(UUID(bytes=packed[at : at + 16])) for at in range(0, len(packed), 16)]


async def test_a_stream_of_followers_goes_on_where_it_broke(user_stack: UserStack) -> None:
    ada = await user_stack.sign_up("ada")
    await insert_crowd(user_stack, 3 * LIMITS.stream_chunk_ids)
    await user_stack.app.database.execute(
        "INSERT INTO follows (followee_id, follower_id, create_time)"
        " SELECT $1::text::uuid, user_id, now() FROM users WHERE username LIKE 'crowd%' LIMIT $2",
        ada.user_id,
        2 * LIMITS.stream_chunk_ids,
    )
    chunks = await stream(user_stack, ada.user_id)
    assert [len(chunk) // 16 for chunk in chunks] == [
        LIMITS.stream_chunk_ids,
        LIMITS.stream_chunk_ids,
    ]
    ids = unpacked(b"".join(chunks))
    assert ids == sorted(set(ids))
    rest = await stream(user_stack, ada.user_id, after=chunks[0][-16:])
    assert rest == chunks[1:]
    assert await stream(user_stack, ada.user_id, after=chunks[1][-16:]) == []
    assert (
        b"".join(await stream(user_stack, ada.user_id, after=UUID(ids[99]).bytes))
        == (b"".join(chunks)[100 * 16 :])
    )


async def hidden(stack: UserStack, viewer_ids: bytes) -> list[pb.HiddenIds]:
    request = pb.BatchGetHiddenIdsRequest(viewer_ids=viewer_ids)
    return list((await stack.service.graph.BatchGetHiddenIds(request)).hidden)


BLOCKS = ("blocks", "blocker_id", "blocked_id")
BLOCKED_BY = ("blocks", "blocked_id", "blocker_id")
MUTES = ("mutes", "muter_id", "muted_id")


async def insert_hidden(
    stack: UserStack, viewer: Person, count: int, *kinds: tuple[str, str, str]
) -> None:
    """So many people, shared out among the kinds of edges."""
    await insert_crowd(stack, count)
    for rest, (table, actor, target) in enumerate(kinds):
        await stack.app.database.execute(
            f"INSERT INTO {table} ({actor}, {target}, create_time)"
            " SELECT $1::text::uuid, user_id, now() FROM users WHERE username = ANY($2)",
            viewer.user_id,
            [f"crowd{n}" for n in range(1, count + 1) if n % len(kinds) == rest],
        )


async def test_hidden_from_one_is_who_blocks_or_is_blocked_or_muted(user_stack: UserStack) -> None:
    """Each once, at once, and only to those two whom it is about."""
    ada, bob = await two(user_stack)
    carl, dora, eve = [await user_stack.sign_up(name) for name in ("carl", "dora", "eve")]
    await ada.act("Block", bob)
    await carl.act("Block", ada)
    await ada.act("Mute", dora)
    for verb in ("Block", "Mute"):
        await ada.act(verb, eve)
        await eve.act(verb, ada)
    of_ada = b"".join(sorted(each.id_bytes for each in (bob, carl, dora, eve)))
    viewers = (dora, ada, carl, bob)
    found = await hidden(user_stack, b"".join(each.id_bytes for each in viewers))
    expected = [b"", of_ada, ada.id_bytes, ada.id_bytes]
    assert found == [pb.HiddenIds(user_ids=each) for each in expected]
    await ada.act("Unblock", bob)
    await eve.delete()
    assert await hidden(user_stack, bob.id_bytes + eve.id_bytes) == [pb.HiddenIds()] * 2
    assert await hidden(user_stack, b"") == []


async def test_beyond_the_limit_services_learn_that_there_are_more(user_stack: UserStack) -> None:
    ada, bob = await two(user_stack)
    carl = await user_stack.sign_up("carl")
    await insert_hidden(user_stack, ada, LIMITS.hidden_ids_max, BLOCKS, BLOCKED_BY, MUTES)
    (all_of_them,) = await hidden(user_stack, ada.id_bytes)
    ids = unpacked(all_of_them.user_ids)
    assert (len(ids), ids == sorted(set(ids)), all_of_them.truncated) == (
        LIMITS.hidden_ids_max,
        True,
        False,
    )
    await ada.act("Mute", bob)
    found = await hidden(user_stack, carl.id_bytes + ada.id_bytes + carl.id_bytes)
    assert found == [pb.HiddenIds(), pb.HiddenIds(truncated=True), pb.HiddenIds()]


async def test_the_largest_answer_fits_into_a_message(user_stack: UserStack) -> None:
    ada, bob = await two(user_stack)
    await insert_hidden(user_stack, ada, LIMITS.hidden_ids_per_answer_max // BATCH_MAX, MUTES)
    found = await hidden(user_stack, ada.id_bytes * BATCH_MAX)
    assert {len(each.user_ids) // 16 for each in found} == {
        LIMITS.hidden_ids_per_answer_max // BATCH_MAX
    }
    await ada.act("Mute", bob)
    assert await hidden(user_stack, ada.id_bytes * BATCH_MAX) == (
        [pb.HiddenIds(truncated=True)] * BATCH_MAX
    )


async def test_of_who_is_not_there_services_learn_that_there_is_nothing(
    user_stack: UserStack,
) -> None:
    """Also before the edges of somebody who was deleted have been purged."""
    ada, bob = await two(user_stack)
    await ada.act("Follow", bob)
    await bob.act("Follow", ada)
    await ada.act("Mute", bob)
    await ada.delete()
    graph = user_stack.service.graph
    for user_id in (ada.user_id, NOBODY_ID):
        assert await stream(user_stack, user_id) == []
        followees = await graph.ListFolloweeIds(pb.ListFolloweeIdsRequest(user_id=user_id))
        assert followees.followee_ids == b""
        found = await graph.GetViewerGraph(pb.GetViewerGraphRequest(viewer_id=user_id))
        found.ClearField("read_time")
        assert found == pb.GetViewerGraphResponse()
        request = pb.BatchGetRelationshipsRequest(
            viewer_id=bob.user_id, user_ids=UUID(user_id).bytes
        )
        answer = await graph.BatchGetRelationships(request)
        assert list(answer.relationships) == [pb.FullRelationship()]
