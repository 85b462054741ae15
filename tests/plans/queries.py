"""Every method of user_svc's stores and of its outbox, asked once with values that matter.

The values are the costly ones: the person whom everybody follows, the one who follows most, full
batches, first pages.
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import cast

from devstack.dataset import World
from svckit.events.outbox import OutboxRecord
from svckit.ids import MAX_ID, NIL_ID, new_id
from svckit.postgres.changes import Change, Changes
from svckit.postgres.client import Connection
from svckit.postgres.client import Session as DatabaseSession
from svckit.postgres.outbox import PostgresOutbox, append
from tests.plans.plans import PlanRecorder
from user_svc.graph_store import GraphStore
from user_svc.maintenance import MaintenanceSettings
from user_svc.model import (
    BATCH_MAX,
    EdgeKind,
    GraphSettings,
    Role,
    Session,
    SessionId,
    User,
    UserId,
)
from user_svc.session_store import SessionStore
from user_svc.sessions import SessionSettings
from user_svc.store import PeopleStore, SearchSettings
from user_svc.upkeep_store import UpkeepStore

STORES = (PeopleStore, SessionStore, GraphStore, UpkeepStore, PostgresOutbox)
TABLES = frozenset(
    {
        "users",
        "credentials",
        "sessions",
        "follows",
        "blocks",
        "mutes",
        "follow_counts",
        "outbox",
    }
)
PAGE = 21
OUTBOX_ROWS = 20_000
OUTBOX_ROWS_WAITING = 2_000
RANK_MAX = 2**31 - 1
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATEST = (datetime(2200, 1, 1, tzinfo=UTC), MAX_ID)


async def ask_everything(recorder: PlanRecorder, world: World) -> None:
    await _ask_people(recorder, world)
    await _ask_sessions(recorder, world)
    await _ask_graph(recorder, world)
    await _ask_upkeep(recorder, world)
    await _ask_outbox(recorder)


async def _ask_people(recorder: PlanRecorder, world: World) -> None:
    store, ask = PeopleStore(recorder, SearchSettings()), recorder.ask
    hub, someone = UserId(world.hub), UserId(world.ids[len(world.ids) // 2])
    await ask(store.user, hub)
    await ask(store.user_by_username, "anna_7")
    await ask(store.users, world.ids[:BATCH_MAX], [])
    await ask(store.users, [], [f"anna_{number}" for number in range(BATCH_MAX)])
    for query in ("a", "anna", "anna_1", "brandt", "zzz", "anan"):
        await ask(store.search, query, (RANK_MAX, MAX_ID), PAGE)
    for role in (None, *Role):
        for prefix in ("", "anna", "anna_12", "zzz"):
            await ask(store.list_users, role, prefix, MAX_ID, PAGE)

    async def change_person(change: Change) -> None:
        user = User(UserId(new_id()), "new", "new@example.org", "New", "", "", Role.USER, NOW)
        await ask(store.insert_user, change, user, "hash")
        await ask(store.lock_user, change, someone)
        await ask(store.user_in, change, someone)
        await ask(store.update_profile, change, someone, "Name", None, None)
        await ask(store.set_role, change, someone, Role.ADMIN)
        await ask(store.lock_admins_and_find_other, change, someone)

    await Changes(recorder, append, _nobody_waits).run(change_person)


async def _ask_sessions(recorder: PlanRecorder, world: World) -> None:
    store, ask = SessionStore(recorder), recorder.ask
    someone = UserId(world.ids[len(world.ids) // 2])
    session = Session(SessionId(new_id()), someone, b"f", b"s", NOW, NOW, NOW + timedelta(days=30))
    await ask(store.credentials, "anna_7")
    await ask(store.credentials, "anna_7@example.org")
    await ask(store.password_hash, someone)
    await ask(store.revocations, NOW - timedelta(days=5))

    async def change_sessions(change: Change) -> None:
        await ask(store.hold_credentials, change, someone, "hash")
        await ask(store.set_password, change, someone, "hash", "another")
        await ask(store.insert_session, change, session, SessionSettings().per_person_max)
        await ask(store.lock_session, change, session.session_id)
        await ask(
            store.rotate_session,
            change,
            session.session_id,
            b"n",
            b"salt",
            NOW,
            session.expire_time,
        )
        await ask(store.revoke_session, change, session.session_id, NOW)
        await ask(store.revoke_sessions, change, someone, NOW)

    await Changes(recorder, append, _nobody_waits).run(change_sessions)


async def _ask_graph(recorder: PlanRecorder, world: World) -> None:
    settings = GraphSettings()
    store, ask = GraphStore(recorder, settings), recorder.ask
    hub, busiest = UserId(world.hub), _most(world)
    others = world.ids[1 : BATCH_MAX + 1]
    await ask(store.relationships, busiest, others)
    await ask(store.viewer_graph, busiest)
    await ask(store.hidden_ids, world.ids[:BATCH_MAX], settings.hidden_ids_max)
    await ask(store.hidden_ids, world.ids[:1], settings.hidden_ids_max)
    await ask(store.followee_ids, busiest)
    await ask(store.follower_ids, hub, NIL_ID, settings.stream_chunk_ids)
    await ask(store.follower_ids, hub, world.ids[len(world.ids) // 2], settings.stream_chunk_ids)
    await ask(store.list_followers, hub, LATEST, PAGE)
    for viewer in (busiest, UserId(world.ids[-1])):
        await ask(store.suggestions, viewer, (RANK_MAX, MAX_ID), PAGE)
        for kind in EdgeKind:
            await ask(store.list_edges, kind, viewer, LATEST, PAGE)
    newest = UserId(world.ids[-1])

    async def change_edges(change: Change) -> None:
        for kind in EdgeKind:
            await ask(store.lock_edge, change, kind, newest, busiest)
        await ask(store.remove_edge, change, EdgeKind.FOLLOW, newest, hub)
        await ask(store.add_edge, change, EdgeKind.FOLLOW, newest, hub, NOW)
        await ask(store.add_edge, change, EdgeKind.BLOCK, newest, hub, NOW)
        await ask(store.remove_edge, change, EdgeKind.BLOCK, newest, hub)

    await Changes(recorder, append, _nobody_waits).run(change_edges)


async def _ask_upkeep(recorder: PlanRecorder, world: World) -> None:
    settings = MaintenanceSettings()
    store, ask = UpkeepStore(recorder), recorder.ask
    await ask(store.delete_old_sessions, NOW - timedelta(days=50), NOW, settings.sessions_max)
    await ask(store.fold_counts, settings.fold_deltas_max)
    mark_deleted = PeopleStore(recorder, SearchSettings()).mark_deleted
    await Changes(recorder, append, _nobody_waits).run(
        lambda change: ask(mark_deleted, change, UserId(world.hub), NOW)
    )
    await ask(store.purge_edges, settings.purge_edges_max)


async def _ask_outbox(recorder: PlanRecorder) -> None:
    outbox, ask = PostgresOutbox(recorder), recorder.ask
    lease = await ask(outbox.hold_lease, "bench", 10.0)
    assert lease is not None
    await recorder.run(lambda connection: ask(append, connection, [_record(0)]))
    waiting = await ask(outbox.unpublished, 500)
    await ask(outbox.backlog)
    await ask(outbox.mark_published, lease.token, [key for key, _ in waiting])
    for last_s in (60.0, None):
        recorder.file_under(PostgresOutbox.published)
        async for _ in outbox.published(last_s):
            break
    await ask(outbox.set_bus_epoch, lease.token, "epoch")
    await ask(outbox.release_lease, "bench")


async def prepare(session: DatabaseSession, world: World) -> None:
    """What the world lacks: counts that wait to be folded, and an outbox, mostly published."""
    deltas = [(user_id, 0, 0) for user_id in world.ids[: MaintenanceSettings().fold_deltas_max]]
    await session.copy_records_to_table(
        "follow_count_deltas",
        columns=["user_id", "follower_delta", "following_delta"],
        records=deltas,
    )
    for start in range(0, OUTBOX_ROWS, 1000):
        records = [_record(number) for number in range(start, start + 1000)]
        await append(cast("Connection", session), records)  # it has what that needs
    await session.execute(
        "UPDATE outbox SET published_at = created_at"
        " WHERE seq <= (SELECT max(seq) FROM outbox) - $1",
        OUTBOX_ROWS_WAITING,
    )
    await session.execute("ANALYZE")


def _record(number: int) -> OutboxRecord:
    payload = b"x" * 200
    return OutboxRecord(
        uuid.uuid4(),
        f"lane {number % 100}",
        "FollowAdded",
        payload,
        aggregate_type="user",
        aggregate_id="id",
    )


def _most(world: World) -> UserId:
    return UserId(max(zip(world.following, world.ids, strict=True))[1])


def _nobody_waits() -> None:
    """Nobody waits for commits here."""
