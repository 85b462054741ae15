"""People, sessions and edges as values, their bounds, and what can go wrong with them."""

from dataclasses import dataclass
from datetime import datetime
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

BATCH_MAX = 500


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """How much of the graph there may be, and how much of it is looked at or told at once."""

    edges_max: int = 10_000  # of one kind, from one person
    blocked_by_max: int = 50_000
    hidden_ids_max: int = 1_000  # of one viewer
    hidden_ids_per_answer_max: int = 200_000  # what fits into one message
    stream_chunk_ids: int = 4_096
    suggestion_followees_max: int = 200  # the last ones of the viewer
    suggestion_followees_each_max: int = 100  # the last ones of each of these
    suggestion_candidates_max: int = 1_000  # those that most of them share
    suggestions_max: int = 200


class Role(StrEnum):
    """The rights of a person; the names are those of the schema and of the tokens."""

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
    """The edges between a viewer and another person."""

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
