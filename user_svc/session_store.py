"""Credentials and sessions in PostgreSQL. Only hashes of secrets are in here."""

from datetime import datetime
from uuid import UUID

from svckit.auth.revocations import Revocation
from svckit.postgres.changes import Change
from svckit.postgres.client import Database
from user_svc.model import Role, Session, SessionId, UserId


class SessionStore:
    """All statements about passwords and sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def credentials(self, login: str) -> tuple[UserId, str] | None:
        """The person of this name or address, and their password hash."""
        column = "email" if "@" in login else "username"
        row = await self._database.fetchrow(
            f"SELECT user_id, password_hash FROM users JOIN credentials USING (user_id)"
            f" WHERE {column} = $1",
            login,
        )
        return (UserId(row["user_id"]), row["password_hash"]) if row else None

    async def password_hash(self, user_id: UserId) -> str | None:
        hashed: str | None = await self._database.fetchval(
            "SELECT password_hash FROM credentials WHERE user_id = $1", user_id
        )
        return hashed

    async def hold_credentials(
        self, change: Change, user_id: UserId, password_hash: str
    ) -> Role | None:
        """The person's role, if this is still their password; keeps both as they are meanwhile."""
        role = await change.transaction.fetchval(
            """
            SELECT role FROM credentials JOIN users USING (user_id)
            WHERE user_id = $1 AND password_hash = $2 AND delete_time IS NULL FOR SHARE
            """,
            user_id,
            password_hash,
        )
        return Role(role) if role else None

    async def set_password(
        self, change: Change, user_id: UserId, old_hash: str, new_hash: str
    ) -> Role | None:
        """The person's role, or None when the old password is no longer theirs."""
        role = await change.transaction.fetchval(
            """
            UPDATE credentials SET password_hash = $3 FROM users
            WHERE credentials.user_id = $1 AND password_hash = $2 AND users.user_id = $1
            RETURNING users.role
            """,
            user_id,
            old_hash,
            new_hash,
        )
        return Role(role) if role else None

    async def insert_session(self, change: Change, session: Session, sessions_max: int) -> None:
        """Ends the longest unused sessions beyond the maximum."""
        await change.transaction.execute(
            """
            INSERT INTO sessions (session_id, user_id, family_hash, secret_hash, create_time,
                rotate_time, expire_time)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            session.session_id,
            session.user_id,
            session.family_hash,
            session.secret_hash,
            session.create_time,
            session.rotate_time,
            session.expire_time,
        )
        await change.transaction.execute(
            """
            UPDATE sessions SET revoke_time = $2 WHERE session_id IN (
                SELECT session_id FROM sessions WHERE user_id = $1 AND revoke_time IS NULL
                ORDER BY rotate_time DESC, session_id DESC OFFSET $3
            )
            """,
            session.user_id,
            session.create_time,
            sessions_max,
        )

    async def lock_session(
        self, change: Change, session_id: SessionId
    ) -> tuple[Session, Role] | None:
        """The session with its person's role, held until the transaction ends."""
        row = await change.transaction.fetchrow(
            """
            SELECT session_id, user_id, family_hash, secret_hash, sessions.create_time, rotate_time,
                expire_time, previous_hash, rotation_salt, revoke_time, role
            FROM sessions JOIN users USING (user_id) WHERE session_id = $1 FOR UPDATE OF sessions
            """,
            session_id,
        )
        if row is None:
            return None
        *columns, role = row.values()
        return Session(*columns), Role(role)

    async def rotate_session(
        self,
        change: Change,
        session_id: SessionId,
        secret_hash: bytes,
        salt: bytes,
        now: datetime,
        expire_time: datetime,
    ) -> None:
        await change.transaction.execute(
            """
            UPDATE sessions SET previous_hash = secret_hash, secret_hash = $2, rotation_salt = $3,
                rotate_time = $4, expire_time = $5
            WHERE session_id = $1
            """,
            session_id,
            secret_hash,
            salt,
            now,
            expire_time,
        )

    async def revoke_session(self, change: Change, session_id: SessionId, now: datetime) -> int:
        """Ends one session; returns 1 if it was alive."""
        return await self._revoke(change, "session_id", session_id, now)

    async def revoke_sessions(self, change: Change, user_id: UserId, now: datetime) -> int:
        """Ends all sessions of a person; returns how many were alive."""
        return await self._revoke(change, "user_id", user_id, now)

    async def _revoke(self, change: Change, column: str, key: UUID, now: datetime) -> int:
        rows = await change.transaction.fetch(
            f"UPDATE sessions SET revoke_time = $2 WHERE {column} = $1 AND revoke_time IS NULL"
            " RETURNING 1",
            key,
            now,
        )
        return len(rows)

    async def revocations(self, since: datetime) -> list[Revocation]:
        rows = await self._database.fetch(
            "SELECT session_id, revoke_time FROM sessions WHERE revoke_time >= $1"
            " ORDER BY revoke_time",
            since,
        )
        return [Revocation(row["session_id"], row["revoke_time"]) for row in rows]
