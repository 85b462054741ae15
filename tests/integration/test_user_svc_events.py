"""What others learn: each change leaves exactly its events, in the lanes of the contract."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.message import Message
from newsfeed.events.v1 import events_pb2 as events
from newsfeed.user.v1 import user_service_pb2 as pb

from devstack.background import in_background
from svckit.events.bus import BusRecord
from tests.polling import until
from tests.requests.refusals import refusal
from tests.stacks.user_stack import (
    PASSWORD,
    Person,
    UserStack,
    open_user_stack,
)

Told = list[tuple[str, Message]]


def told(emitted: Sequence[events.Event]) -> Told:
    """Each event's lane and payload. What all events have in common is checked here."""
    assert len({event.event_id for event in emitted}) == len(emitted)
    for event in emitted:
        assert event.schema_version == 1
        age = datetime.now(UTC) - event.occur_time.ToDatetime(UTC)
        assert timedelta(0) <= age < timedelta(seconds=5)
    return [(event.lane, getattr(event, str(event.WhichOneof("payload")))) for event in emitted]


async def two(stack: UserStack) -> tuple[Person, Person]:
    return await stack.sign_up("ada"), await stack.sign_up("bob")


def follow_removed(follower: Person, followee: Person) -> tuple[str, Message]:
    removed = events.FollowRemoved(follower_id=follower.user_id, followee_id=followee.user_id)
    return followee.user_id, removed


def without_email(user: pb.User) -> pb.User:
    public = pb.User()
    public.CopyFrom(user)
    public.ClearField("email")
    return public


async def test_a_new_account(user_stack: UserStack) -> None:
    async with user_stack.emitted() as emitted:
        ada = await user_stack.sign_up("ada")
    created = events.UserCreated(user=without_email(ada.user))
    assert told(emitted) == [(ada.user_id, created)]


async def test_a_new_profile(user_stack: UserStack) -> None:
    ada = await user_stack.sign_up("ada")
    async with user_stack.emitted() as emitted:
        user = (await ada.users.UpdateMe(pb.UpdateMeRequest(bio="new"))).user
    assert told(emitted) == [(ada.user_id, events.UserUpdated(user=without_email(user)))]


async def test_a_new_role(user_stack: UserStack) -> None:
    admin, ada = await user_stack.sign_up_with_role(pb.ROLE_ADMIN), await user_stack.sign_up()
    request = pb.SetRoleRequest(user_id=ada.user_id, role=pb.ROLE_MODERATOR)
    async with user_stack.emitted() as emitted:
        user = (await admin.users.SetRole(request)).user
        await admin.users.SetRole(request)
    assert told(emitted) == [(ada.user_id, events.UserUpdated(user=without_email(user)))]


async def test_the_end_of_an_account(user_stack: UserStack) -> None:
    """One event; none for the edges, that go with it."""
    ada, bob = await two(user_stack)
    admin = await user_stack.sign_up_with_role(pb.ROLE_ADMIN)
    await ada.act("Follow", bob)
    await bob.act("Follow", ada)
    async with user_stack.emitted() as emitted:
        await ada.delete()
        await admin.delete(ada)
        await user_stack.settle()
    assert told(emitted) == [(ada.user_id, events.UserDeleted(user_id=ada.user_id))]


async def test_follow_and_unfollow(user_stack: UserStack) -> None:
    ada, bob = await two(user_stack)
    async with user_stack.emitted() as emitted:
        await ada.act("Follow", bob)
    activity = events.ActivityOccurred(
        actor_id=ada.user_id, verb=events.ACTIVITY_VERB_FOLLOW, target_user_id=bob.user_id
    )
    added = events.FollowAdded(follower_id=ada.user_id, followee_id=bob.user_id)
    assert told(emitted) == [(bob.user_id, added), (ada.user_id, activity)]
    async with user_stack.emitted() as emitted:
        await ada.act("Unfollow", bob)
    assert told(emitted) == [follow_removed(ada, bob)]


@pytest.mark.parametrize("blocker_follows", [True, False])
@pytest.mark.parametrize("blocked_follows", [True, False])
async def test_block_and_unblock(
    user_stack: UserStack, *, blocker_follows: bool, blocked_follows: bool
) -> None:
    ada, bob = await two(user_stack)
    if blocker_follows:
        await ada.act("Follow", bob)
    if blocked_follows:
        await bob.act("Follow", ada)
    async with user_stack.emitted() as emitted:
        await ada.act("Block", bob)
    added = events.BlockAdded(
        blocker_id=ada.user_id,
        blocked_id=bob.user_id,
        blocker_was_following=blocker_follows,
        blocked_was_following=blocked_follows,
    )
    expected: Told = [(bob.user_id, added)]
    expected += [follow_removed(ada, bob)] * blocker_follows
    expected += [follow_removed(bob, ada)] * blocked_follows
    assert told(emitted) == expected
    async with user_stack.emitted() as emitted:
        await ada.act("Unblock", bob)
    removed = events.BlockRemoved(blocker_id=ada.user_id, blocked_id=bob.user_id)
    assert told(emitted) == [(bob.user_id, removed)]


async def test_mute_and_unmute(user_stack: UserStack) -> None:
    ada, bob = await two(user_stack)
    async with user_stack.emitted() as emitted:
        await ada.act("Mute", bob)
        await ada.act("Unmute", bob)
    added = events.MuteAdded(muter_id=ada.user_id, muted_id=bob.user_id)
    removed = events.MuteRemoved(muter_id=ada.user_id, muted_id=bob.user_id)
    assert told(emitted) == [(bob.user_id, added), (bob.user_id, removed)]


async def test_what_changes_nothing_tells_nothing(user_stack: UserStack) -> None:
    ada, bob = await two(user_stack)
    for verb in ("Follow", "Mute"):
        await ada.act(verb, bob)
    async with user_stack.emitted() as emitted:
        for verb in ("Follow", "Mute", "Unblock"):
            await ada.act(verb, bob)
        for verb in ("Unfollow", "Unmute", "Unblock"):
            await bob.act(verb, ada)
        await ada.users.UpdateMe(pb.UpdateMeRequest(bio="", display_name=ada.user.username))
        await ada.users.UpdateMe(pb.UpdateMeRequest())
        await user_stack.log_in(ada)
        await user_stack.settle()
    assert told(emitted) == []


async def test_what_is_refused_tells_nothing(user_stack: UserStack) -> None:
    ada, bob = await two(user_stack)
    await ada.act("Block", bob)
    taken = pb.SignUpRequest(
        username=ada.user.username, email="free@example.com", password=PASSWORD
    )
    async with user_stack.emitted() as emitted:
        await refusal(bob.act("Follow", ada))
        await refusal(ada.act("Follow", ada))
        await refusal(bob.delete(ada))
        await refusal(ada.users.UpdateMe(pb.UpdateMeRequest(display_name="\0")))
        await refusal(user_stack.nobody.auth.SignUp(taken))
    assert told(emitted) == []


async def test_an_event_carries_the_trace_of_its_request(user_stack: UserStack) -> None:
    ada, bob = await two(user_stack)
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace_id}-00f067aa0ba902b7-01"
    async with user_stack.emitted() as emitted:
        await user_stack.nobody.graph.MuteUser(
            pb.MuteUserRequest(user_id=bob.user_id),
            metadata=[*ada.metadata, ("traceparent", parent)],
        )
    assert [event.traceparent.split("-")[1] for event in emitted] == [trace_id]


class InMemoryBus:
    """Remembers the first arrival of each event, in order: any may come again."""

    def __init__(self) -> None:
        self.records: dict[str, BusRecord] = {}

    async def publish(self, records: Sequence[BusRecord]) -> None:
        for record in records:
            self.records.setdefault(str(record.event_id), record)

    async def epoch(self) -> None:
        return None


async def test_what_was_committed_reaches_the_bus_in_the_order_of_each_lane(
    postgres_dsn: str, tmp_path: Path
) -> None:
    bus = InMemoryBus()
    async with open_user_stack(postgres_dsn, tmp_path, bus) as stack:
        assert stack.app.relay is not None
        async with in_background(stack.app.relay.run()), stack.emitted() as emitted:
            ada, bob = await two(stack)
            for verb in ("Follow", "Unfollow", "Block", "Unblock", "Follow", "Mute") * 3:
                await ada.act(verb, bob)
            await asyncio.gather(*(stack.sign_up("someone") for _ in range(10)))
            await bob.delete()
            count = await stack.app.database.fetchval("SELECT count(*) FROM outbox")
            await until(lambda: len(bus.records) >= count, timeout_s=20.0)
        published = [events.Event.FromString(record.payload) for record in bus.records.values()]
        assert len(published) == count
        for lane in {event.lane for event in emitted}:
            assert [each for each in published if each.lane == lane] == [
                each for each in emitted if each.lane == lane
            ]
