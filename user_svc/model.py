"""People, sessions and edges as values, their bounds, and what can go wrong with them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType
from uuid import UUID

from svckit.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)

UserId = NewType("UserId", UUID)
SessionId = NewType("SessionId", UUID)

EDGES_MAX = 10_000
BLOCKED_BY_MAX = 50_000
HIDDEN_MAX = 1000
HIDDEN_PER_ANSWER_MAX = 200_000  # ids that fit into one message
BATCH_MAX = 500
STREAM_CHUNK_IDS = 4096
SESSIONS_PER_USER_MAX = 50
SESSION_LIFETIME = timedelta(days=30)
REFRESH_GRACE = timedelta(seconds=15)


class Role(StrEnum):
    """What a person may do; the names are those of the schema and of the tokens."""

    USER = "user"
    MODERATOR = "moderator"
    ADMIN = "admin"


class EdgeKind(StrEnum):
    FOLLOW = "follow"
    BLOCK = "block"
    MUTE = "mute"


@dataclass(frozen=True, slots=True)
class User:
    user_id: UserId
    username: str
    email: str
    display_name: str
    bio: str
    avatar_url: str
    role: Role
    create_time: datetime
    follower_count: int = 0
    following_count: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """A family of refresh tokens, of which only hashes are kept."""

    session_id: SessionId
    user_id: UserId
    family_hash: bytes
    secret_hash: bytes
    create_time: datetime
    rotate_time: datetime
    expire_time: datetime
    previous_hash: bytes | None = None
    rotation_salt: bytes | None = None
    revoke_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    access_token: str
    refresh_token: str
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class Relationship:
    """What there is between a viewer and another person."""

    exists: bool = False
    is_following: bool = False
    is_followed_by: bool = False
    is_blocking: bool = False
    is_blocked_by: bool = False
    is_muting: bool = False


@dataclass(frozen=True, slots=True)
class ViewerGraph:
    """Everything of the graph that decides what a viewer sees; ids packed, ascending."""

    exists: bool
    followee_ids: bytes
    blocked_ids: bytes
    blocked_by_ids: bytes
    blocked_by_truncated: bool
    muted_ids: bytes
    read_time: datetime


@dataclass(frozen=True, slots=True)
class Suggestion:
    user: User
    mutual_count: int


class UserNotFound(NotFound):
    reason = "USER_NOT_FOUND"
    message = "There is no such person."


class UsernameTaken(AlreadyExists):
    reason = "USERNAME_TAKEN"
    message = "Somebody has this username."


class EmailTaken(AlreadyExists):
    reason = "EMAIL_TAKEN"
    message = "Somebody has this email address."


class WrongCredentials(Unauthenticated):
    reason = "WRONG_CREDENTIALS"
    message = "The login or the password is wrong."


class WrongPassword(PermissionDenied):
    reason = "WRONG_PASSWORD"
    message = "The current password is wrong."


class RefreshTokenInvalid(Unauthenticated):
    reason = "REFRESH_TOKEN_INVALID"
    message = "The refresh token is not valid, or its session has ended. Log in again."


class RefreshTokenReused(Unauthenticated):
    reason = "REFRESH_TOKEN_REUSED"
    message = "The refresh token had been used before, so its session was ended. Log in again."


class SelfTarget(FailedPrecondition):
    reason = "SELF_TARGET"
    message = "This needs another person than yourself."


class Blocked(FailedPrecondition):
    reason = "BLOCKED"
    message = "One of you blocks the other."


class EdgeLimitReached(FailedPrecondition):
    reason = "EDGE_LIMIT_REACHED"
    message = "You have reached the number of people that one can have here."


class LastAdmin(FailedPrecondition):
    reason = "LAST_ADMIN"
    message = "There must always be an admin."
