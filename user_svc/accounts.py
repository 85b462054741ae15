"""Accounts and profiles: making, reading, finding, changing and deleting people."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from svckit.auth.tokens import TokenRevoked
from svckit.errors import PermissionDenied
from svckit.ids import new_id
from svckit.postgres.changes import Change, Changes
from svckit.validation import normal_text
from user_svc import events, metrics
from user_svc.model import LastAdmin, Role, Tokens, User, UserId, UserNotFound
from user_svc.passwords import Passwords
from user_svc.session_store import SessionStore
from user_svc.sessions import Sessions
from user_svc.store import PeopleStore


class Accounts:
    """Use cases of UserService, and signing up."""

    def __init__(
        self,
        changes: Changes,
        store: PeopleStore,
        session_store: SessionStore,
        sessions: Sessions,
        passwords: Passwords,
        clock: Callable[[], datetime],
    ) -> None:
        self._changes = changes
        self._store = store
        self._session_store = session_store
        self._sessions = sessions
        self._passwords = passwords
        self._clock = clock

    async def sign_up(
        self, username: str, email: str, password: str, display_name: str
    ) -> tuple[User, Tokens]:
        """The account and its first session, or neither."""
        user, password_hash = await self._prepare(
            username, email, password, display_name, Role.USER
        )

        async def insert(change: Change) -> Tokens:
            await self._insert(change, user, password_hash)
            return await self._sessions.open(change, user.user_id, user.role)

        tokens = await self._changes.run(insert)
        metrics.SIGN_UPS.inc()
        return user, tokens

    async def create_admin(self, username: str, email: str, password: str) -> User:
        """For the command that makes the first admin; no session is opened."""
        user, password_hash = await self._prepare(username, email, password, "", Role.ADMIN)
        await self._changes.run(lambda change: self._insert(change, user, password_hash))
        return user

    async def _prepare(
        self, username: str, email: str, password: str, display_name: str, role: Role
    ) -> tuple[User, str]:
        user = User(
            user_id=UserId(new_id()),
            username=username,
            email=email.lower(),
            display_name=normal_text(display_name) or username,
            bio="",
            avatar_url="",
            role=role,
            create_time=self._clock(),
        )
        return user, await self._passwords.hash(password)

    async def _insert(self, change: Change, user: User, password_hash: str) -> None:
        await self._store.insert_user(change, user, password_hash)
        change.emit(events.user_created(user))

    async def get(self, user_id: UserId) -> User:
        user = await self._store.user(user_id)
        if user is None:
            raise UserNotFound(user_id=str(user_id))
        return user

    async def get_by_username(self, username: str) -> User:
        user = await self._store.user_by_username(username)
        if user is None:
            raise UserNotFound(username=username)
        return user

    async def get_many(self, user_ids: Sequence[UUID], usernames: Sequence[str]) -> list[User]:
        """The people who exist, each once."""
        return await self._store.users(user_ids, usernames)

    async def update_profile(
        self,
        user_id: UserId,
        *,
        display_name: str | None,
        bio: str | None,
        avatar_url: str | None,
    ) -> User:
        """None leaves a field as it is."""
        if display_name is not None:
            display_name = normal_text(display_name)
        if bio is not None:
            bio = normal_text(bio, multiline=True)

        async def update(change: Change) -> User:
            is_changed = await self._store.update_profile(
                change, user_id, display_name, bio, avatar_url
            )
            user = await self._store.user_in(change, user_id)
            if user is None:
                raise TokenRevoked  # deleted a moment ago
            if is_changed:
                change.emit(events.user_updated(user, self._clock()))
            return user

        return await self._changes.run(update)

    async def search(
        self, query: str, before: tuple[int, UUID], limit: int
    ) -> list[tuple[User, int]]:
        query = normal_text(query.removeprefix("@"))
        return await self._store.search(query.lower(), before, limit)

    async def list_all(
        self, role: Role | None, username_prefix: str, before: UUID, limit: int
    ) -> list[User]:
        prefix = normal_text(username_prefix)
        return await self._store.list_users(role, prefix, before, limit)

    async def set_role(self, user_id: UserId, role: Role) -> User:
        """Ends the person's sessions: tokens carry the role, so they log in again to have it."""
        now = self._clock()

        async def set_role(change: Change) -> User:
            has_other_admin = await self._store.lock_admins_and_find_other(change, user_id)
            found = await self._store.lock_user(change, user_id)
            if found is None or found[1] is not None:
                raise UserNotFound(user_id=str(user_id))
            if role is not found[0]:
                if role is not Role.ADMIN and found[0] is Role.ADMIN and not has_other_admin:
                    raise LastAdmin
                await self._store.set_role(change, user_id, role)
                await self._session_store.revoke_sessions(change, user_id, now)
            user = await self._store.user_in(change, user_id)
            assert user is not None
            if role is not found[0]:
                change.emit(events.user_updated(user, now))
            return user

        return await self._changes.run(set_role)

    async def delete(self, caller_id: UserId, user_id: UserId, *, is_admin: bool) -> datetime:
        """Hides the person and ends their sessions at once; returns when that was first done.

        Edges are purged afterwards; everything else follows by the event.
        """
        if user_id != caller_id and not is_admin:
            raise PermissionDenied
        now = self._clock()

        async def delete(change: Change) -> datetime:
            has_other_admin = await self._store.lock_admins_and_find_other(change, user_id)
            found = await self._store.lock_user(change, user_id)
            if found is None:
                raise UserNotFound(user_id=str(user_id))
            role, delete_time = found
            if delete_time is not None:
                return delete_time
            if role is Role.ADMIN and not has_other_admin:
                raise LastAdmin
            await self._store.mark_deleted(change, user_id, now)
            await self._session_store.revoke_sessions(change, user_id, now)
            change.emit(events.user_deleted(user_id, now))
            return now

        return await self._changes.run(delete)
