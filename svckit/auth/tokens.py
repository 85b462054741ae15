"""Access tokens: Ed25519 JWTs of people and of services, made here and verified here.

A token goes in as text and comes out as a `Caller`, or as one of three kinds of `Unauthenticated`.
The set that holds a key decides what its tokens may say: a key for people never makes a service,
a key of a service makes that service only. A verified token is remembered, so that the next call
with it costs a look-up; expiry and revocation are looked at on every call.
"""

import base64
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from svckit.auth.keys import KeyFileError, SigningKey, SigningKeys
from svckit.auth.revocations import Revocations
from svckit.bounded import Bounded
from svckit.errors import InvalidArgument, Unauthenticated
from svckit.ids import Clock, new_id, parse_id

ISSUER = "newsfeed"
AUDIENCE = "newsfeed"
USER_TOKEN_LIFETIME_S = 15 * 60
SERVICE_TOKEN_LIFETIME_S = 5 * 60
SERVICE_TOKEN_LEFT_S_MIN = 60
LIFETIME_S_MAX = 60 * 60
CLOCK_SKEW_S_MAX = 30
TOKEN_LENGTH_MAX = 4096

_ALGORITHM = "EdDSA"
_TYPE = "at+jwt"
_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_CLAIM_LENGTH_MAX = 64
_jws = jwt.PyJWS()


class TokenInvalid(Unauthenticated):
    reason = "TOKEN_INVALID"
    message = "This access token is not valid."


class TokenExpired(Unauthenticated):
    reason = "TOKEN_EXPIRED"
    message = "This access token has expired."


class TokenRevoked(Unauthenticated):
    reason = "TOKEN_REVOKED"
    message = "This session has ended."


class Role(StrEnum):
    USER = "user"
    MODERATOR = "moderator"
    ADMIN = "admin"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Caller:
    """The one a token stands for: a person with a session, or a service with a name."""

    role: Role
    user_id: UUID | None
    session_id: UUID | None
    service_name: str | None
    token_id: str
    expire_time: datetime


class KeySource(Protocol):
    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key of that id, if need be after looking for new ones, within bounds."""


class UserTokenSigner:
    def __init__(self, keys: SigningKeys, *, clock: Clock = time.time) -> None:
        self._keys = keys
        self._clock = clock

    def sign(self, user_id: UUID, session_id: UUID, role: Role) -> tuple[str, datetime]:
        """Return an access token and when it expires."""
        if role is Role.SERVICE:
            raise ValueError("a person is no service")
        claims = {"sub": str(user_id), "sid": str(session_id), "role": role.value}
        key = self._keys.signing_key()
        token, expires_at_s = _sign(key, USER_TOKEN_LIFETIME_S, claims, self._clock)
        return token, datetime.fromtimestamp(expires_at_s, UTC)


class ServiceTokenSource:
    """The tokens that a service calls others with; a wrong key is refused when this is made."""

    def __init__(
        self,
        keys: SigningKeys,
        service_name: str,
        *,
        clock: Clock = time.time,
    ) -> None:
        self._keys = keys
        self._service_name = service_name
        self._clock = clock
        self._token, self._expires_at_s = self._make()

    def token(self) -> str:
        """Return a token that is good for another minute at least."""
        if self._clock() > self._expires_at_s - SERVICE_TOKEN_LEFT_S_MIN:
            self._token, self._expires_at_s = self._make()
        return self._token

    def _make(self) -> tuple[str, int]:
        key = self._keys.signing_key()
        if service_of(key.kid) != self._service_name:
            raise KeyFileError(f"key {key.kid} is not one of {self._service_name}")
        claims = {"sub": self._service_name, "role": Role.SERVICE.value}
        return _sign(key, SERVICE_TOKEN_LIFETIME_S, claims, self._clock)


def _sign(
    key: SigningKey, lifetime_s: int, claims: Mapping[str, str], clock: Clock
) -> tuple[str, int]:
    issued_at_s = int(clock())
    expires_at_s = issued_at_s + lifetime_s
    standard = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": issued_at_s,
        "exp": expires_at_s,
        "jti": str(new_id(clock)),
    }
    headers = {"kid": key.kid, "typ": _TYPE}
    token = jwt.encode({**standard, **claims}, key.private, algorithm=_ALGORITHM, headers=headers)
    return token, expires_at_s


class TokenVerifier:
    """Verifies tokens of people against `user_keys` and of services against `service_keys`.

    A key that was taken out of its set stops working `trust_s` later at most.
    """

    def __init__(
        self,
        user_keys: KeySource,
        service_keys: KeySource,
        revocations: Revocations,
        *,
        verified_entries_max: int = 10_000,
        trust_s: float = 60.0,
        clock: Clock = time.time,
    ) -> None:
        self._user_keys = user_keys
        self._service_keys = service_keys
        self._revocations = revocations
        self._clock = clock
        self._trust_s = trust_s
        # Token → its caller, until when it is good, until when that is believed unchecked.
        self._verified = Bounded[str, tuple[Caller, float, float]](verified_entries_max)

    async def verify(self, token: str) -> Caller:
        """Return the caller; raise `TokenInvalid`, `TokenExpired` or `TokenRevoked`."""
        now_s = self._clock()
        known = self._verified.get(token)
        if known is not None and now_s < known[2]:
            self._verified.touch(token)
            caller, expires_at_s, _ = known
        else:
            caller, expires_at_s = await self._verify_anew(token, now_s)
        if now_s >= expires_at_s:
            raise TokenExpired
        if caller.session_id is not None and self._revocations.is_revoked(caller.session_id):
            raise TokenRevoked
        return caller

    async def _verify_anew(self, token: str, now_s: float) -> tuple[Caller, float]:
        self._verified.drop(token)
        try:
            caller = await self._read(token, now_s)
        except (ValueError, RecursionError, jwt.PyJWTError, InvalidArgument) as error:
            raise TokenInvalid from error
        expires_at_s = caller.expire_time.timestamp()
        self._verified.put(token, (caller, expires_at_s, now_s + self._trust_s))
        return caller, expires_at_s

    async def _read(self, token: str, now_s: float) -> Caller:
        """Check all but expiry and revocation; the kind of the exception means nothing."""
        kid = _kid_of(token)
        # Keys of services are on disk: a look there never asks another program.
        key = await self._service_keys.find(kid)
        is_service = key is not None
        if key is None:
            key = await self._user_keys.find(kid)
        if key is None:
            raise ValueError("unknown key id")
        claims = _strict_json(_jws.decode(token, key, algorithms=[_ALGORITHM]))
        if (_text(claims, "iss"), _text(claims, "aud")) != (ISSUER, AUDIENCE):
            raise ValueError("from or for somebody else")
        expires_at_s = _checked_expiry(claims, now_s)
        expire_time = datetime.fromtimestamp(expires_at_s, UTC)
        role = Role(_text(claims, "role"))
        if is_service:
            service_name = _text(claims, "sub")
            if role is not Role.SERVICE or service_name != service_of(kid):
                raise ValueError("a service's key speaks for that service only")
            return Caller(role, None, None, service_name, _text(claims, "jti"), expire_time)
        if role is Role.SERVICE:
            raise ValueError("a key for people makes no service")
        user_id = parse_id(_text(claims, "sub"), "sub")
        session_id = parse_id(_text(claims, "sid"), "sid")
        return Caller(role, user_id, session_id, None, _text(claims, "jti"), expire_time)


def service_of(kid: str) -> str:
    """The service that a key signs for: `feed_svc.20261120-ab12` is one of feed_svc."""
    return kid.rpartition(".")[0]


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _CLAIM_LENGTH_MAX:
        raise ValueError(f"{name} is missing, or no short text")
    return value


def _seconds(claims: Mapping[str, object], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or value <= 0:
        raise ValueError(f"{name} is missing, or no time")
    return value


def _kid_of(token: str) -> str:
    """Read the key id of a token whose outside is exactly as we make it."""
    shape = _SHAPE.fullmatch(token) if len(token) <= TOKEN_LENGTH_MAX else None
    if shape is None:
        raise ValueError("not three parts of base64url")
    encoded = shape[1]
    header = _strict_json(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    kid = header.get("kid")
    if header != {"alg": _ALGORITHM, "typ": _TYPE, "kid": kid} or not isinstance(kid, str):
        raise ValueError("not the header of an access token")
    return kid


def _checked_expiry(claims: Mapping[str, object], now_s: float) -> int:
    issued_at_s, expires_at_s = _seconds(claims, "iat"), _seconds(claims, "exp")
    starts_at_s = _seconds(claims, "nbf") if "nbf" in claims else issued_at_s
    if max(issued_at_s, starts_at_s) > now_s + CLOCK_SKEW_S_MAX:
        raise ValueError("not valid yet")
    if not 0 < expires_at_s - issued_at_s <= LIFETIME_S_MAX:
        raise ValueError("lives too long, or not at all")
    return expires_at_s


def _strict_json(data: bytes) -> dict[str, object]:
    """Read a JSON object in UTF-8 that has no name twice."""
    document: object = json.loads(data.decode(), object_pairs_hook=_unique)
    if isinstance(document, dict):
        return document
    raise ValueError("not a JSON object")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a name stands there twice")
    return unique
