"""People, sessions and edges as values, their bounds, and what can go wrong with them."""

import re
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
from svckit.validation import Fields

UserId = NewType("UserId", UUID)
SessionId = NewType("SessionId", UUID)

USERNAME = re.compile(r"[a-z0-9_]{3,30}")
USERNAME_LENGTH_MAX = 30
EMAIL = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)+")
EMAIL_LENGTH_MAX = 254
PASSWORD_LENGTH_MIN = 10
PASSWORD_LENGTH_MAX = 128
DISPLAY_NAME_LENGTH_MAX = 60
BIO_LENGTH_MAX = 500
AVATAR_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?(/[!-~]*)?")
AVATAR_URL_LENGTH_MAX = 2000
QUERY_LENGTH_MAX = 60
LOGIN_LENGTH_MAX = 254
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


def check_username(fields: Fields, value: str) -> str:
    if not USERNAME.fullmatch(value):
        fields.refuse("username", "must be 3-30 of a-z, 0-9 and _")
    return value


def check_email(fields: Fields, value: str) -> str:
    """An address as it is stored: in lower case."""
    lowered = value[: EMAIL_LENGTH_MAX + 1].lower()
    # The sign for Kelvin is no letter of an address, though it becomes one in lower case.
    if len(value) > EMAIL_LENGTH_MAX or not value.isascii() or not EMAIL.fullmatch(lowered):
        fields.refuse("email", f"must be an email address of at most {EMAIL_LENGTH_MAX} characters")
    return lowered


def check_password(fields: Fields, field: str, value: str) -> str:
    if not PASSWORD_LENGTH_MIN <= len(value) <= PASSWORD_LENGTH_MAX:
        described = f"must be {PASSWORD_LENGTH_MIN}-{PASSWORD_LENGTH_MAX} characters"
        fields.refuse(field, described)
    elif "\0" in value:
        fields.refuse(field, "must not contain the character U+0000")
    elif value.isspace():
        fields.refuse(field, "must not be only spaces")
    return value


def check_display_name(fields: Fields, value: str) -> str:
    return fields.text("display_name", value, shortest=1, longest=DISPLAY_NAME_LENGTH_MAX)


def check_bio(fields: Fields, value: str) -> str:
    return fields.text("bio", value, longest=BIO_LENGTH_MAX, multiline=True)


def check_avatar_url(fields: Fields, value: str) -> str:
    too_long = len(value) > AVATAR_URL_LENGTH_MAX
    if value and (too_long or not AVATAR_URL.fullmatch(value)):
        most = AVATAR_URL_LENGTH_MAX
        fields.refuse("avatar_url", f"must be an http or https URL of at most {most} characters")
    return value
