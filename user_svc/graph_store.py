"""Follows, blocks and mutes in PostgreSQL.

Three tables of the same shape: one person's edge to another, with its time. Whoever changes edges
holds the locks of both people first (`lock_edge`), so what it reads there stays true until it
commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from svckit.ids import ID_BYTES
from svckit.postgres.changes import Change
from svckit.postgres.client import Database
from user_svc.model import (
    EdgeKind,
    GraphSettings,
    Relationship,
    User,
    UserId,
    ViewerGraph,
)
from user_svc.store import PERSON_COLUMNS, to_user


@dataclass(frozen=True, slots=True)
class EdgeState:
    """The findings of `lock_edge`, which hold until the transaction ends."""

    actor_exists: bool
    target_exists: bool
    is_blocked: bool
    exists: bool
    is_full: bool


@dataclass(frozen=True, slots=True)
class _Table:
    """Where a kind of edge is: its table, who has the edge, to whom it goes."""

    name: str
    actor: str
    target: str


_TABLES = {
    EdgeKind.FOLLOW: _Table("follows", "follower_id", "followee_id"),
    EdgeKind.BLOCK: _Table("blocks", "blocker_id", "blocked_id"),
    EdgeKind.MUTE: _Table("mutes", "muter_id", "muted_id"),
}


def _edge_state(table: _Table, edges_max: int) -> str:
    return f"""
    SELECT
        EXISTS (SELECT FROM users WHERE user_id = $1 AND delete_time IS NULL),
        EXISTS (SELECT FROM users WHERE user_id = $2 AND delete_time IS NULL),
        EXISTS (SELECT FROM blocks WHERE blocker_id = $1 AND blocked_id = $2
            UNION ALL SELECT FROM blocks WHERE blocker_id = $2 AND blocked_id = $1),
        EXISTS (SELECT FROM {table.name} WHERE {table.actor} = $1 AND {table.target} = $2),
        EXISTS (SELECT FROM {table.name} WHERE {table.actor} = $1 OFFSET {edges_max - 1})
    """


_ADD = {
    kind: f"INSERT INTO {table.name} ({table.actor}, {table.target}, create_time)"
    " VALUES ($1, $2, $3)"
    for kind, table in _TABLES.items()
}
_ADD[EdgeKind.FOLLOW] = f"""
WITH edge AS ({_ADD[EdgeKind.FOLLOW]})
SELECT add_follow_counts($1, 0, 1), add_follow_counts($2, 1, 0)
"""
_REMOVE = {
    kind: f"DELETE FROM {table.name} WHERE {table.actor} = $1 AND {table.target} = $2 RETURNING 1"
    for kind, table in _TABLES.items()
}
_REMOVE[EdgeKind.FOLLOW] = f"""
WITH edge AS ({_REMOVE[EdgeKind.FOLLOW]})
SELECT add_follow_counts($1, 0, -1), add_follow_counts($2, -1, 0) FROM edge
"""

_RELATIONSHIPS = """
SELECT
    EXISTS (SELECT FROM users WHERE user_id = other.id AND delete_time IS NULL),
    EXISTS (SELECT FROM follows WHERE follower_id = $1 AND followee_id = other.id),
    EXISTS (SELECT FROM follows WHERE follower_id = other.id AND followee_id = $1),
    EXISTS (SELECT FROM blocks WHERE blocker_id = $1 AND blocked_id = other.id),
    EXISTS (SELECT FROM blocks WHERE blocker_id = other.id AND blocked_id = $1),
    EXISTS (SELECT FROM mutes WHERE muter_id = $1 AND muted_id = other.id)
FROM unnest($2::uuid[]) WITH ORDINALITY AS other (id, place) ORDER BY place
"""

_PACKED = "coalesce(string_agg(uuid_send(id), ''::bytea ORDER BY id), ''::bytea)"
# The edges of somebody who was deleted are there until they are purged.
_EXISTS = "EXISTS (SELECT FROM users WHERE user_id = $1 AND delete_time IS NULL)"


def _viewer_graph(blocked_by_max: int) -> str:
    return f"""
SELECT
    {_EXISTS},
    (SELECT {_PACKED} FROM (SELECT followee_id AS id FROM follows WHERE follower_id = $1) AS ids),
    (SELECT {_PACKED} FROM (SELECT blocked_id AS id FROM blocks WHERE blocker_id = $1) AS ids),
    (SELECT {_PACKED} FROM (
        SELECT blocker_id AS id FROM blocks WHERE blocked_id = $1
        ORDER BY blocker_id LIMIT {blocked_by_max + 1}
    ) AS ids),
    (SELECT {_PACKED} FROM (SELECT muted_id AS id FROM mutes WHERE muter_id = $1) AS ids),
    now()
"""


_HIDDEN = f"""
SELECT packed
FROM unnest($1::uuid[]) WITH ORDINALITY AS viewer (viewer_id, place)
CROSS JOIN LATERAL (
    SELECT {_PACKED} AS packed FROM (
        (SELECT blocked_id AS id FROM blocks WHERE blocker_id = viewer_id
            ORDER BY blocked_id LIMIT $2)
        UNION (SELECT blocker_id FROM blocks WHERE blocked_id = viewer_id
            ORDER BY blocker_id LIMIT $2)
        UNION (SELECT muted_id FROM mutes WHERE muter_id = viewer_id ORDER BY muted_id LIMIT $2)
    ) AS ids
    WHERE EXISTS (SELECT FROM users WHERE user_id = viewer_id AND delete_time IS NULL)
) AS hidden
ORDER BY place
"""

_FOLLOWER_CHUNK = f"""
SELECT {_PACKED} FROM (
    SELECT follower_id AS id FROM follows
    WHERE followee_id = $1 AND follower_id > $2 AND {_EXISTS}
    ORDER BY follower_id LIMIT $3
) AS ids
"""
_FOLLOWEES = f"""
SELECT {_PACKED} FROM (
    SELECT followee_id AS id FROM follows WHERE follower_id = $1 AND {_EXISTS}
) AS ids
"""


def _suggestions(settings: GraphSettings) -> str:
    """Bounded whatever the graph looks like: only the best candidates are looked at closely."""
    return f"""
WITH mine AS MATERIALIZED (
    SELECT followee_id AS id FROM follows WHERE follower_id = $1
    ORDER BY create_time DESC, followee_id DESC LIMIT {settings.suggestion_followees_max}
), known AS MATERIALIZED (
    SELECT $1 AS id
    UNION ALL SELECT followee_id FROM follows WHERE follower_id = $1
    UNION ALL SELECT blocked_id FROM blocks WHERE blocker_id = $1
    UNION ALL SELECT muted_id FROM mutes WHERE muter_id = $1
), counted AS (
    SELECT theirs.followee_id AS id, count(*) AS mutual_count
    FROM mine CROSS JOIN LATERAL (
        SELECT followee_id FROM follows WHERE follower_id = mine.id
        ORDER BY create_time DESC, followee_id DESC LIMIT {settings.suggestion_followees_each_max}
    ) AS theirs
    WHERE NOT EXISTS (SELECT FROM known WHERE known.id = theirs.followee_id)
    GROUP BY theirs.followee_id
), best AS MATERIALIZED (
    SELECT id, mutual_count FROM counted
    ORDER BY mutual_count DESC, id DESC LIMIT {settings.suggestion_candidates_max}
), placed AS (
    SELECT id, mutual_count, row_number() OVER (ORDER BY mutual_count DESC, id DESC) AS place
    FROM best
    WHERE NOT EXISTS (SELECT FROM blocks WHERE blocker_id = best.id AND blocked_id = $1)
)
SELECT {PERSON_COLUMNS}, mutual_count
FROM placed JOIN people ON people.user_id = placed.id
WHERE place <= {settings.suggestions_max} AND (mutual_count, placed.id) < ($2, $3)
ORDER BY mutual_count DESC, placed.id DESC LIMIT $4
"""


class GraphStore:
    """All statements about edges between people."""

    def __init__(self, database: Database, settings: GraphSettings) -> None:
        self._database = database
        self._blocked_by_max = settings.blocked_by_max
        self._edge_state = {
            kind: _edge_state(table, settings.edges_max) for kind, table in _TABLES.items()
        }
        self._viewer_graph = _viewer_graph(settings.blocked_by_max)
        self._suggestions = _suggestions(settings)

    async def lock_edge(
        self, change: Change, kind: EdgeKind, actor_id: UserId, target_id: UserId
    ) -> EdgeState:
        """Takes the locks of both people, then says how things are between them."""
        await change.transaction.execute("SELECT lock_people($1, $2)", actor_id, target_id)
        row = await change.transaction.fetchrow(self._edge_state[kind], actor_id, target_id)
        assert row is not None
        return EdgeState(*row.values())

    async def add_edge(
        self, change: Change, kind: EdgeKind, actor_id: UserId, target_id: UserId, now: datetime
    ) -> None:
        """With a follow, both counts."""
        await change.transaction.execute(_ADD[kind], actor_id, target_id, now)

    async def remove_edge(
        self, change: Change, kind: EdgeKind, actor_id: UserId, target_id: UserId
    ) -> bool:
        """With a follow, both counts; returns whether there was one."""
        return bool(await change.transaction.fetch(_REMOVE[kind], actor_id, target_id))

    async def relationships(
        self, viewer_id: UserId, other_ids: Sequence[UUID]
    ) -> list[Relationship]:
        """One for each of the others, in their order."""
        rows = await self._database.fetch(_RELATIONSHIPS, viewer_id, other_ids)
        return [Relationship(*row.values()) if row[0] else Relationship() for row in rows]

    async def list_edges(
        self, kind: EdgeKind, actor_id: UserId, before: tuple[datetime, UUID], limit: int
    ) -> list[tuple[User, datetime]]:
        """To whom a person's edges go, newest first."""
        table = _TABLES[kind]
        return await self._list(table.name, table.actor, table.target, actor_id, before, limit)

    async def list_followers(
        self, followee_id: UserId, before: tuple[datetime, UUID], limit: int
    ) -> list[tuple[User, datetime]]:
        """The followers of a person, newest first."""
        return await self._list("follows", "followee_id", "follower_id", followee_id, before, limit)

    async def _list(
        self,
        table: str,
        anchor: str,
        other: str,
        anchor_id: UserId,
        before: tuple[datetime, UUID],
        limit: int,
    ) -> list[tuple[User, datetime]]:
        rows = await self._database.fetch(
            f"""
            SELECT {PERSON_COLUMNS}, edge.create_time AS edge_time
            FROM {table} AS edge JOIN people ON people.user_id = edge.{other}
            WHERE edge.{anchor} = $1 AND (edge.create_time, edge.{other}) < ($2, $3)
            ORDER BY edge.create_time DESC, edge.{other} DESC LIMIT $4
            """,
            anchor_id,
            *before,
            limit,
        )
        return [(to_user(row), row["edge_time"]) for row in rows]

    async def follower_ids(self, followee_id: UserId, after: UUID, limit: int) -> bytes:
        """The next ids in ascending order, packed; empty = no more."""
        return bytes(await self._database.fetchval(_FOLLOWER_CHUNK, followee_id, after, limit))

    async def followee_ids(self, follower_id: UserId) -> bytes:
        return bytes(await self._database.fetchval(_FOLLOWEES, follower_id))

    async def viewer_graph(self, viewer_id: UserId) -> ViewerGraph:
        row = await self._database.fetchrow(self._viewer_graph, viewer_id)
        assert row is not None
        exists, followees, blocked, blocked_by, muted, read_time = row.values()
        if not exists:
            return ViewerGraph(False, b"", b"", b"", False, b"", read_time)  # noqa: FBT003
        most = self._blocked_by_max * ID_BYTES
        return ViewerGraph(
            exists=True,
            followee_ids=followees,
            blocked_ids=blocked,
            blocked_by_ids=blocked_by[:most],
            blocked_by_truncated=len(blocked_by) > most,
            muted_ids=muted,
            read_time=read_time,
        )

    async def hidden_ids(self, viewer_ids: Sequence[UUID], limit: int) -> list[bytes | None]:
        """For each viewer in their order, packed and ascending; None = more than the limit."""
        rows = await self._database.fetch(_HIDDEN, viewer_ids, limit + 1)
        return [packed if len(packed) <= limit * ID_BYTES else None for (packed,) in rows]

    async def suggestions(
        self, viewer_id: UserId, before: tuple[int, UUID], limit: int
    ) -> list[tuple[User, int]]:
        rows = await self._database.fetch(self._suggestions, viewer_id, *before, limit)
        return [(to_user(row), row["mutual_count"]) for row in rows]
