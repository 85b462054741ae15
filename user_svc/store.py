"""People in PostgreSQL: accounts and profiles.

Reads go to the pool; writes take a `Change`: one transaction together with the events that tell of
it. The stores of sessions and of the graph stand beside this file.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from svckit.batches import Coalescer
from svckit.postgres.changes import Change
from svckit.postgres.client import Database, Record
from user_svc.model import EmailTaken, Role, User, UserId, UsernameTaken

PERSON_COLUMNS = (
    "people.user_id, username, email, display_name, bio, avatar_url, role, people.create_time,"
    " follower_count, following_count"
)
TRIGRAM_LENGTH = 3

_ADMIN_LOCK = 0x61646D696E  # "admin": admins are taken away one after another

_PERSON = f"SELECT {PERSON_COLUMNS} FROM people"
_NAME = 'lower(display_name) COLLATE "C"'
_SEARCHED = "(username || ' ' || lower(display_name))"


@dataclass(frozen=True, slots=True)
class SearchSettings:
    candidates_max: int = 200  # of each way to find somebody
    similar_max: int = 2_000  # names compared


def _search(settings: SearchSettings) -> str:
    """Bounded whatever is asked for.

    Looked at are the first of those whose name begins so, and of those with something similar in
    theirs the best among the first that the index finds.
    """
    return f"""
WITH candidates AS (
    (SELECT user_id, 2.0 AS score FROM users
     WHERE username >= $1 AND username < $2 AND delete_time IS NULL
     ORDER BY username LIMIT {settings.candidates_max})
    UNION ALL
    (SELECT user_id, 1.5 FROM users
     WHERE {_NAME} >= $1 AND {_NAME} < $2 AND delete_time IS NULL
     ORDER BY {_NAME} LIMIT {settings.candidates_max})
    UNION ALL
    (SELECT user_id, similarity FROM (
        SELECT user_id, word_similarity($1, {_SEARCHED}) AS similarity FROM users
        WHERE length($1) >= {TRIGRAM_LENGTH} AND $1 <% {_SEARCHED} AND delete_time IS NULL
        LIMIT {settings.similar_max}
    ) AS similar_ones ORDER BY similarity DESC, user_id DESC LIMIT {settings.candidates_max})
), scored AS (
    SELECT user_id, (max(score) * 1000000)::integer AS rank FROM candidates GROUP BY user_id
)
SELECT {PERSON_COLUMNS}, rank FROM scored JOIN people USING (user_id)
WHERE (rank, user_id) < ($3, $4) ORDER BY rank DESC, user_id DESC LIMIT $5
"""


class PeopleStore:
    """All statements about accounts and profiles."""

    def __init__(self, database: Database, settings: SearchSettings) -> None:
        self._database = database
        self._search = _search(settings)
        self._by_id = Coalescer(self._users_by_id)

    async def insert_user(self, change: Change, user: User, password_hash: str) -> None:
        inserted = await change.transaction.fetchval(
            """
            WITH person AS (
                INSERT INTO users (user_id, username, email, display_name, bio, avatar_url,
                    role, create_time)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                ON CONFLICT DO NOTHING RETURNING user_id
            ), secret AS (
                INSERT INTO credentials (user_id, password_hash) SELECT user_id, $9 FROM person
            ), counts AS (
                INSERT INTO follow_counts (user_id) SELECT user_id FROM person
            )
            SELECT user_id FROM person
            """,
            user.user_id,
            user.username,
            user.email,
            user.display_name,
            user.bio,
            user.avatar_url,
            user.role,
            user.create_time,
            password_hash,
        )
        if inserted is None:
            if await change.transaction.fetchval(
                "SELECT EXISTS (SELECT FROM users WHERE username = $1)", user.username
            ):
                raise UsernameTaken(username=user.username)
            raise EmailTaken

    async def user(self, user_id: UserId) -> User | None:
        """Read together with whoever else is asked for at the same moment."""
        return await self._by_id.get(user_id)

    async def _users_by_id(self, user_ids: Sequence[UserId]) -> dict[UserId, User]:
        if len(user_ids) == 1:  # the plan for one is kept, that for a list is made each time
            rows = await self._database.fetch(f"{_PERSON} WHERE user_id = $1", user_ids[0])
        else:
            rows = await self._database.fetch(f"{_PERSON} WHERE user_id = ANY($1)", user_ids)
        return {user.user_id: user for user in map(to_user, rows)}

    async def user_by_username(self, username: str) -> User | None:
        row = await self._database.fetchrow(f"{_PERSON} WHERE username = $1", username)
        return to_user(row) if row else None

    async def users(self, user_ids: Iterable[UUID], usernames: Iterable[str]) -> list[User]:
        """Each person that is named in any way, once."""
        rows = await self._database.fetch(
            f"{_PERSON} WHERE user_id = ANY($1) UNION {_PERSON} WHERE username = ANY($2)",
            list(user_ids),
            list(usernames),
        )
        return [to_user(row) for row in rows]

    async def user_in(self, change: Change, user_id: UserId) -> User | None:
        """The person as the transaction sees them."""
        row = await change.transaction.fetchrow(f"{_PERSON} WHERE user_id = $1", user_id)
        return to_user(row) if row else None

    async def update_profile(
        self,
        change: Change,
        user_id: UserId,
        display_name: str | None,
        bio: str | None,
        avatar_url: str | None,
    ) -> bool:
        """None leaves a field as it is. Returns whether anything is different now."""
        rows = await change.transaction.fetch(
            """
            UPDATE users SET display_name = coalesce($2, display_name), bio = coalesce($3, bio),
                avatar_url = coalesce($4, avatar_url)
            WHERE user_id = $1 AND delete_time IS NULL AND (display_name, bio, avatar_url)
                <> (coalesce($2, display_name), coalesce($3, bio), coalesce($4, avatar_url))
            RETURNING 1
            """,
            user_id,
            display_name,
            bio,
            avatar_url,
        )
        return bool(rows)

    async def search(
        self, query: str, before: tuple[int, UUID], limit: int
    ) -> list[tuple[User, int]]:
        """People with their rank, best first, of a bounded number of candidates."""
        rows = await self._database.fetch(self._search, *_prefix_range(query), *before, limit)
        return [(to_user(row), row["rank"]) for row in rows]

    async def list_users(
        self, role: Role | None, username_prefix: str, before: UUID, limit: int
    ) -> list[User]:
        """All accounts, newest first."""
        rows = await self._database.fetch(
            f"""{_PERSON}
            WHERE ($1::user_role IS NULL OR role = $1) AND username >= $2 AND username < $3
                AND user_id < $4
            ORDER BY user_id DESC LIMIT $5
            """,
            role,
            *_prefix_range(username_prefix),
            before,
            limit,
        )
        return [to_user(row) for row in rows]

    async def set_role(self, change: Change, user_id: UserId, role: Role) -> None:
        await change.transaction.execute(
            "UPDATE users SET role = $2 WHERE user_id = $1", user_id, role
        )

    async def lock_admins_and_find_other(self, change: Change, user_id: UserId) -> bool:
        """Whether somebody else is an admin; that stays so until the transaction ends."""
        await change.transaction.execute("SELECT pg_advisory_xact_lock($1)", _ADMIN_LOCK)
        return bool(
            await change.transaction.fetchval(
                "SELECT EXISTS (SELECT FROM users WHERE role = 'admin' AND user_id <> $1)", user_id
            )
        )

    async def lock_user(
        self, change: Change, user_id: UserId
    ) -> tuple[Role, datetime | None] | None:
        """The role, and when the person was deleted.

        Waits for what is under way with this person, and holds off what comes, until the
        transaction ends.
        """
        await change.transaction.execute("SELECT lock_people($1, $1)", user_id)
        row = await change.transaction.fetchrow(
            "SELECT role, delete_time FROM users WHERE user_id = $1 FOR UPDATE", user_id
        )
        return (Role(row["role"]), row["delete_time"]) if row else None

    async def mark_deleted(self, change: Change, user_id: UserId, now: datetime) -> None:
        """Forgets who it was. The edges go later, in batches (`GraphStore.purge_edges`)."""
        await change.transaction.execute(
            """
            WITH secret AS (DELETE FROM credentials WHERE user_id = $1)
            UPDATE users SET delete_time = $2, username = NULL, email = NULL, display_name = '',
                bio = '', avatar_url = '', role = 'user'
            WHERE user_id = $1
            """,
            user_id,
            now,
        )


def to_user(row: Record) -> User:
    return User(
        user_id=row[0],
        username=row[1],
        email=row[2],
        display_name=row[3],
        bio=row[4],
        avatar_url=row[5],
        role=Role(row[6]),
        create_time=row[7],
        follower_count=row[8],
        following_count=row[9],
    )


def _prefix_range(prefix: str) -> tuple[str, str]:
    """All that begins so is from the first (inclusive) to the second, by code points."""
    return prefix, prefix + chr(sys.maxunicode)
