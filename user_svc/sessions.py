"""Logging in and out. A session is a family of refresh tokens, each good for one rotation.

A refresh token is the session's id, a secret of the family and a secret of its own. The successor's
secret follows from the token's own and a random salt: whoever sends the same token again within the
grace period gets the same successor, so lost answers and parallel refreshes do no harm, and nothing
but hashes and salts is stored. A token that was used up before that ends its family; a token whose
family secret is wrong is just garbage.

A session that ends can't be refreshed from that moment on; its access token is refused once each
service has polled the list of revocations, which it does every second.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from svckit.auth.revocations import Revocation
from svckit.auth.tokens import USER_TOKEN_LIFETIME_S, TokenRevoked, UserTokenSigner
from svckit.auth.tokens import Role as TokenRole
from svckit.ids import ID_BYTES, new_id
from svckit.postgres.changes import Change, Changes
from user_svc import metrics
from user_svc.model import (
    RefreshTokenInvalid,
    RefreshTokenReused,
    Role,
    Session,
    SessionId,
    Tokens,
    User,
    UserId,
    WrongCredentials,
    WrongPassword,
)
from user_svc.passwords import Passwords
from user_svc.session_store import SessionStore
from user_svc.store import PeopleStore

_FAMILY_BYTES = 18
_SECRET_BYTES = 32
_SALT_BYTES = 16
_TOKEN_BYTES = ID_BYTES + _FAMILY_BYTES + _SECRET_BYTES
# The bytes are a multiple of three: base64 of them has no padding and one spelling only.
_TOKEN_LENGTH = _TOKEN_BYTES // 3 * 4


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The parts of a refresh token."""

    session_id: SessionId
    family: bytes
    secret: bytes

    def text(self) -> str:
        data = self.session_id.bytes + self.family + self.secret
        return base64.urlsafe_b64encode(data).decode()

    def successor(self, salt: bytes) -> "RefreshToken":
        secret = hmac.digest(self.secret, salt, "sha256")
        return RefreshToken(self.session_id, self.family, secret)

    @classmethod
    def parse(cls, text: str) -> "RefreshToken":
        if len(text) != _TOKEN_LENGTH:
            raise RefreshTokenInvalid
        try:
            data = base64.b64decode(text, altchars=b"-_", validate=True)
        except ValueError:
            raise RefreshTokenInvalid from None
        family_end = ID_BYTES + _FAMILY_BYTES
        session_id = SessionId(UUID(bytes=data[:ID_BYTES]))
        return cls(session_id, data[ID_BYTES:family_end], data[family_end:])


@dataclass(frozen=True, slots=True)
class SessionSettings:
    lifetime: timedelta = timedelta(days=30)  # from the last rotation
    rotation_grace: timedelta = timedelta(seconds=15)
    per_person_max: int = 50


class Sessions:
    """Use cases of AuthService, other than signing up."""

    def __init__(
        self,
        changes: Changes,
        store: SessionStore,
        people: PeopleStore,
        passwords: Passwords,
        signer: UserTokenSigner,
        clock: Callable[[], datetime],
        settings: SessionSettings,
    ) -> None:
        self._changes = changes
        self._store = store
        self._people = people
        self._passwords = passwords
        self._signer = signer
        self._clock = clock
        self._settings = settings

    async def open(self, change: Change, user_id: UserId, role: Role) -> Tokens:
        """A new session, within the transaction that found out whose it is.

        An attempt that is done again makes other secrets: those of the first are nowhere.
        """
        now = self._clock()
        token = RefreshToken(
            SessionId(new_id()),
            secrets.token_bytes(_FAMILY_BYTES),
            secrets.token_bytes(_SECRET_BYTES),
        )
        session = Session(
            session_id=token.session_id,
            user_id=user_id,
            family_hash=_hash(token.family),
            secret_hash=_hash(token.secret),
            create_time=now,
            rotate_time=now,
            expire_time=now + self._settings.lifetime,
        )
        await self._store.insert_session(change, session, self._settings.per_person_max)
        return self._tokens(token, user_id, role)

    async def log_in(self, login: str, password: str) -> tuple[User, Tokens]:
        """Unknown login and wrong password are told apart neither by the answer nor by its time."""
        found = await self._store.credentials(login.strip().lower())
        user_id, password_hash = found or (None, None)
        if not await self._passwords.matches(password_hash, password):
            metrics.LOG_INS.labels("refused").inc()
            raise WrongCredentials
        assert user_id is not None
        assert password_hash is not None

        async def open_session(change: Change) -> tuple[User, Tokens]:
            role = await self._store.hold_credentials(change, user_id, password_hash)
            if role is None:  # changed or deleted since it was looked up
                raise WrongCredentials
            tokens = await self.open(change, user_id, role)
            user = await self._people.user_in(change, user_id)
            assert user is not None
            return user, tokens

        user, tokens = await self._changes.run(open_session)
        metrics.LOG_INS.labels("ok").inc()
        return user, tokens

    async def refresh(self, text: str) -> Tokens:
        token = RefreshToken.parse(text)
        now = self._clock()

        async def rotate(change: Change) -> tuple[str, Tokens | None]:
            found = await self._store.lock_session(change, token.session_id)
            if found is None or not _is_family(token, found[0]):
                raise RefreshTokenInvalid
            session, role = found
            if session.revoke_time is not None or session.expire_time <= now:
                raise RefreshTokenInvalid
            outcome, successor = await self._rotate(change, session, token, now)
            if successor is None:
                return outcome, None
            return outcome, self._tokens(successor, session.user_id, role)

        outcome, tokens = await self._changes.run(rotate)
        metrics.REFRESHES.labels(outcome).inc()
        if tokens is None:
            raise RefreshTokenReused
        return tokens

    async def _rotate(
        self, change: Change, session: Session, token: RefreshToken, now: datetime
    ) -> tuple[str, RefreshToken | None]:
        """The outcome for the token, as in `metrics.REFRESHES`, and its successor.

        There is none when the token was used up, which ends the session.
        """
        presented = _hash(token.secret)
        if hmac.compare_digest(presented, session.secret_hash):
            salt = secrets.token_bytes(_SALT_BYTES)
            successor = token.successor(salt)
            expire_time = now + self._settings.lifetime
            await self._store.rotate_session(
                change, session.session_id, _hash(successor.secret), salt, now, expire_time
            )
            return "rotated", successor
        if (
            session.rotation_salt is not None
            and session.previous_hash is not None
            and hmac.compare_digest(presented, session.previous_hash)
            and now <= session.rotate_time + self._settings.rotation_grace
        ):
            return "repeated", token.successor(session.rotation_salt)
        await self._store.revoke_session(change, session.session_id, now)
        return "reused", None

    async def log_out(self, user_id: UserId, session_id: SessionId, *, everywhere: bool) -> int:
        """Returns how many sessions it ended; none when they had ended before."""
        now = self._clock()
        if everywhere:
            return await self._changes.run(
                lambda change: self._store.revoke_sessions(change, user_id, now)
            )
        return await self._changes.run(
            lambda change: self._store.revoke_session(change, session_id, now)
        )

    async def change_password(self, user_id: UserId, current: str, new: str) -> Tokens:
        """Ends every session and opens one for whoever changed the password."""
        old_hash = await self._store.password_hash(user_id)
        if old_hash is None:
            raise TokenRevoked  # deleted a moment ago
        if not await self._passwords.matches(old_hash, current):
            raise WrongPassword
        new_hash = await self._passwords.hash(new)

        async def set_password(change: Change) -> Tokens:
            role = await self._store.set_password(change, user_id, old_hash, new_hash)
            if role is None:  # changed since it was looked up
                raise WrongPassword
            await self._store.revoke_sessions(change, user_id, self._clock())
            return await self.open(change, user_id, role)

        return await self._changes.run(set_password)

    async def revocations(self, since: datetime | None) -> list[Revocation]:
        """The revocations that still matter: no access token outlives an older one."""
        oldest = self._clock() - timedelta(seconds=2 * USER_TOKEN_LIFETIME_S)
        return await self._store.revocations(max(since, oldest) if since else oldest)

    def _tokens(self, token: RefreshToken, user_id: UserId, role: Role) -> Tokens:
        access_token, expire_time = self._signer.sign(user_id, token.session_id, TokenRole(role))
        return Tokens(access_token, token.text(), expire_time)


def _hash(secret: bytes) -> bytes:
    """Of 128 random bits and more: no salt and no slow hash needed."""
    return hashlib.sha256(secret).digest()


def _is_family(token: RefreshToken, session: Session) -> bool:
    return hmac.compare_digest(_hash(token.family), session.family_hash)
