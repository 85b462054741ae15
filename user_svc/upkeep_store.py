"""Folds counts, removes edges of the deleted and old sessions: statements of `Maintenance`."""

from datetime import datetime

from svckit.postgres.client import Connection, Database

_FOLD = """
WITH taken AS (
    DELETE FROM follow_count_deltas WHERE delta_id IN (
        SELECT delta_id FROM follow_count_deltas ORDER BY delta_id LIMIT $1
    ) RETURNING user_id, follower_delta, following_delta
), sums AS (
    SELECT user_id, sum(follower_delta) AS followers, sum(following_delta) AS followings
    FROM taken GROUP BY user_id
), folded AS (
    UPDATE follow_counts
    SET follower_count = follower_count + followers, following_count = following_count + followings
    FROM sums WHERE follow_counts.user_id = sums.user_id
)
SELECT count(*) FROM taken
"""
_FOLD_LOCK = 0x666F6C64  # "fold": one folder at a time

_NEXT_TO_PURGE = """
SELECT user_id FROM users WHERE delete_time IS NOT NULL AND purge_time IS NULL
ORDER BY delete_time LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_PURGE = """
WITH doomed_followers AS (
    SELECT follower_id, followee_id FROM follows WHERE followee_id = $1
    ORDER BY follower_id LIMIT $2
), doomed_followings AS (
    SELECT follower_id, followee_id FROM follows WHERE follower_id = $1 LIMIT $2
), gone AS (
    DELETE FROM follows USING (
        SELECT * FROM doomed_followers UNION ALL SELECT * FROM doomed_followings
    ) AS doomed
    WHERE follows.follower_id = doomed.follower_id AND follows.followee_id = doomed.followee_id
    RETURNING follows.follower_id, follows.followee_id
), unblocked AS (
    DELETE FROM blocks WHERE (blocker_id, blocked_id) IN (
        (SELECT blocker_id, blocked_id FROM blocks WHERE blocker_id = $1 LIMIT $2)
        UNION ALL (SELECT blocker_id, blocked_id FROM blocks WHERE blocked_id = $1 LIMIT $2)
    ) RETURNING 1
), unmuted AS (
    DELETE FROM mutes WHERE (muter_id, muted_id) IN (
        (SELECT muter_id, muted_id FROM mutes WHERE muter_id = $1 LIMIT $2)
        UNION ALL (SELECT muter_id, muted_id FROM mutes WHERE muted_id = $1 LIMIT $2)
    ) RETURNING 1
), counted AS MATERIALIZED (
    SELECT add_follow_counts(user_id, -sum(followers)::bigint, -sum(followings)::bigint)
    FROM (
        SELECT followee_id AS user_id, 1 AS followers, 0 AS followings FROM gone
        UNION ALL SELECT follower_id, 0, 1 FROM gone
    ) AS changes GROUP BY user_id
)
SELECT (SELECT count(*) FROM counted) + (SELECT count(*) FROM unblocked)
    + (SELECT count(*) FROM unmuted)
"""


class UpkeepStore:
    """Each statement is bounded, takes what no other process has, and may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fold_counts(self, limit: int) -> int:
        """Folds waiting deltas into the counts; returns how many. No reader sees a difference."""

        async def fold(connection: Connection) -> int:
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _FOLD_LOCK):
                return 0
            return int(await connection.fetchval(_FOLD, limit))

        return await self._database.run(fold)

    async def purge_edges(self, limit: int) -> bool:
        """Removes some edges of one deleted person; returns whether there was anything to do."""

        async def purge(connection: Connection) -> bool:
            user_id = await connection.fetchval(_NEXT_TO_PURGE)
            if user_id is None:
                return False
            if not await connection.fetchval(_PURGE, user_id, limit):
                await connection.execute(
                    "UPDATE users SET purge_time = now() WHERE user_id = $1", user_id
                )
            return True

        return await self._database.run(purge)

    async def delete_old_sessions(self, revoked_before: datetime, now: datetime, limit: int) -> int:
        """Sessions that nobody can ask about any more; returns how many."""
        rows = await self._database.fetch(
            """
            DELETE FROM sessions WHERE session_id IN (
                (SELECT session_id FROM sessions WHERE revoke_time < $1 LIMIT $3)
                UNION ALL
                (SELECT session_id FROM sessions WHERE expire_time < $2 LIMIT $3)
            ) RETURNING 1
            """,
            revoked_before,
            now,
            limit,
        )
        return len(rows)
