"""Changes that met another transaction are done again: callers see nothing of it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.events.v1 import events_pb2
from newsfeed.user.v1 import user_service_pb2 as pb

import content_svc
import user_svc
from svckit.postgres.client import Database
from tests.polling import until
from tests.requests.sensible_content_requests import CONTENT_REQUESTS
from tests.requests.sensible_requests import REQUESTS
from tests.stacks.content_stack import ContentStack, open_content_stack
from tests.stacks.user_stack import PASSWORD, Person, UserStack, open_user_stack
from tests.troubles.outrun import outrun_in_mongo, outrun_in_postgres, use_cases_that_write

# What there has to be before it can be taken away.
BEFORE = {
    "GraphService.UnfollowUser": "GraphService.FollowUser",
    "GraphService.UnblockUser": "GraphService.BlockUser",
    "GraphService.UnmuteUser": "GraphService.MuteUser",
    "ContentService.UnlikePost": "ContentService.LikePost",
}

# By how much each table or collection grows with a call, and the events that tell of it.
Effect = tuple[dict[str, int], list[str | None]]


def rpcs_that_write(file: FileDescriptor) -> list[str]:
    return [
        f"{service.name}.{method.name}"
        for service in file.services_by_name.values()
        for method in service.methods
        if method.GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS
    ]


@pytest.fixture
def tries() -> Counter[str]:
    """How often the work of each use case was done."""
    return Counter()


async def test_every_change_of_user_svc_is_done_again_and_counts_once(
    postgres_dsn: str, user_stack: UserStack, tmp_path: Path, tries: Counter[str]
) -> None:
    async with open_user_stack(
        postgres_dsn, tmp_path, unit_of_work=outrun_in_postgres(tries)
    ) as outrun:
        for stack in (user_stack, outrun):
            await stack.sign_up_with_role(pb.ROLE_ADMIN, "keeper")
        for rpc in rpcs_that_write(pb.DESCRIPTOR):
            expected = await effect_on_people(user_stack, rpc)
            before = tries.total()
            assert await effect_on_people(outrun, rpc) == expected, rpc
            assert tries.total() > before, rpc
        admin = await outrun.app.accounts.create_admin("boss", "boss@example.com", PASSWORD)
        assert await outrun.app.accounts.get_by_username("boss") == admin
    check_tries(tries, user_svc)


async def test_every_change_of_content_svc_is_done_again_and_counts_once(
    mongodb_url: str,
    user_stack: UserStack,
    content_stack: ContentStack,
    keys_folder: Path,
    tries: Counter[str],
) -> None:
    async with open_content_stack(
        mongodb_url, user_stack, keys_folder, unit_of_work=outrun_in_mongo(tries)
    ) as outrun:
        for rpc in rpcs_that_write(content_pb.DESCRIPTOR):
            expected = await effect_on_posts(content_stack, rpc)
            before = tries.total()
            assert await effect_on_posts(outrun, rpc) == expected, rpc
            assert tries.total() > before, rpc
        expected = await effect_of_deletion(content_stack)
        assert await effect_of_deletion(outrun) == expected
    check_tries(tries, content_svc)


def check_tries(tries: Counter[str], service: ModuleType) -> None:
    """Every use case that writes was outrun; so each was done twice as often as it was asked."""
    assert service.__file__ is not None
    assert set(tries) == use_cases_that_write(Path(service.__file__).parent)
    assert all(count % 2 == 0 for count in tries.values()), tries


async def effect_on_people(stack: UserStack, rpc: str) -> Effect:
    caller = await stack.sign_up_with_role(pb.ROLE_ADMIN)
    request = (await REQUESTS[rpc](stack, caller)).SerializeToString()
    if rpc in BEFORE:
        await stack.call_raw(BEFORE[rpc], request, caller.metadata)
    before, rows = await stack.digest(), await stack.row_counts()
    async with stack.emitted() as events:
        await stack.call_raw(rpc, request, caller.metadata)
    assert await stack.digest() != before
    return grown(rows, await stack.row_counts()), kinds(events)


async def effect_on_posts(stack: ContentStack, rpc: str) -> Effect:
    caller = await stack.people.sign_up()
    request = (await CONTENT_REQUESTS[rpc](stack, caller)).SerializeToString()
    if rpc in BEFORE:
        await stack.call_raw(BEFORE[rpc], request, caller.metadata)
    before, documents = await stack.digest(), await stack.document_counts()
    async with stack.emitted() as events:
        await stack.call_raw(rpc, request, caller.metadata)
    assert await stack.digest() != before
    return grown(documents, await stack.document_counts()), kinds(events)


async def effect_of_deletion(stack: ContentStack) -> Effect:
    """A person is deleted who has made everything that one can make."""
    author, other = await stack.sign_up("author"), await stack.sign_up("other")
    post = await other.publish("of another")
    await author.publish("of one's own")
    await author.comment(post)
    await author.like(post)
    documents = await stack.document_counts()
    async with stack.emitted() as events:
        await stack.tell_of_deletion(author)
        await stack.purge()
    return grown(documents, await stack.document_counts()), kinds(events)


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in after.items()}


def kinds(events: Sequence[events_pb2.Event]) -> list[str | None]:
    return [event.WhichOneof("payload") for event in events]


async def test_follows_that_deadlock_are_done_again(user_stack: UserStack) -> None:
    """A session that takes the locks of two people in the wrong order is in the follows' way."""
    database = user_stack.app.database
    ada, bob = [await user_stack.sign_up(name) for name in ("ada", "bob")]
    low, high = sorted([await lock_key(database, ada), await lock_key(database, bob)])
    deadlocks_before = await deadlocks(database)
    await have_deadlocks_noticed_after(database, "3s")
    async with database.transaction() as stranger:
        await stranger.execute("SET LOCAL deadlock_timeout = '1h'")  # it is not the one to give way
        await stranger.execute("SELECT pg_advisory_xact_lock($1)", high)
        follows = [
            asyncio.create_task(one.act("Follow", other)) for one, other in ((ada, bob), (bob, ada))
        ]
        await until(lambda: both_wait(database))
        await stranger.execute("SELECT pg_advisory_xact_lock($1)", low)
    found = await asyncio.gather(*follows)
    assert [each.is_following for each in found] == [True, True]
    for person in (ada, bob):
        user = (await person.users.GetMe(pb.GetMeRequest())).user
        assert (user.follower_count, user.following_count) == (1, 1)
    await until(lambda: more_deadlocks(database, deadlocks_before))


async def lock_key(database: Database, person: Person) -> int:
    key: int = await database.fetchval(
        "SELECT uuid_hash_extended($1::text::uuid, 0)", person.user_id
    )
    return key


async def have_deadlocks_noticed_after(database: Database, time: str) -> None:
    """On connections that are opened from now on."""
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '{time}'")
    await database._pool.expire_connections()


async def both_wait(database: Database) -> bool:
    waiting: int = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return waiting == 2


async def deadlocks(database: Database) -> int:
    """How many the server has noticed in this database; it tells a little later."""
    found: int = await database.fetchval(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return found


async def more_deadlocks(database: Database, before: int) -> bool:
    return await deadlocks(database) > before
