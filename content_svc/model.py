"""Posts, comments and likes as values, and what can go wrong with them.

Times are whole milliseconds since 1970: a list is in order of (time, id), and a place in it is that
pair. What is read from a text (tags, names, words) is in `content_svc.texts`.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NewType, TypeAlias, TypeVar
from uuid import UUID

from svckit.errors import AlreadyExists, FailedPrecondition, NotFound
from svckit.ids import MAX_ID

UserId = NewType("UserId", UUID)
PostId = NewType("PostId", UUID)
CommentId = NewType("CommentId", UUID)
T = TypeVar("T")
Place: TypeAlias = tuple[int, UUID]
Page = tuple[list[T], Place | None]
"""Some things, newest first, and where to go on; None = there are no more."""

TAGS_MAX = 10
PORT_MAX = 65_535
PAGE_BYTES_MAX = 2 * 1024 * 1024  # of posts; half of what a message may have
NEWEST: Place = ((1 << 63) - 1, MAX_ID)  # above whatever there is

# A host has a name, never an address in any spelling: all of those end in a number. One without a
# dot, or under a name that is not the internet's, is somebody's own network.
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_URL = re.compile(
    rf"https://(?P<host>({_LABEL}\.)+[a-z]([a-z0-9-]{{0,61}}[a-z0-9])?)(:(?P<port>[0-9]{{1,5}}))?"
    r"([/?#][!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_NOT_IN_URLS = frozenset('\\"<>^`{|}')
_PRIVATE_NAMES = frozenset(
    {"corp", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost"}
    | {"onion", "private", "test"}
)
_PRIVATE_DOMAIN = ".home.arpa"
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]*(/[A-Za-z0-9_-][A-Za-z0-9._~-]*)*")


class MediaKind(StrEnum):
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True)
class Location:
    latitude: float
    longitude: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Media:
    """`url` is an https URL, or a path below the CDN's address."""

    url: str
    kind: MediaKind
    width: int = 0
    height: int = 0
    alt: str = ""


@dataclass(frozen=True, slots=True)
class Mention:
    user_id: UserId
    username: str


@dataclass(frozen=True, slots=True)
class Post:
    """`given_tags` are those that the author set apart from the text; `tags` has all."""

    post_id: PostId
    author_id: UserId
    content: str
    create_time_ms: int
    update_time_ms: int
    edited: bool = False
    given_tags: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    location: Location | None = None
    media: tuple[Media, ...] = ()
    mentions: tuple[Mention, ...] = ()
    shared_post_id: PostId | None = None
    shared_author_id: UserId | None = None


@dataclass(frozen=True, slots=True)
class DeletedPost:
    """A post after its deletion: its id is never given again."""

    post_id: PostId
    author_id: UserId
    delete_time_ms: int


@dataclass(frozen=True, slots=True)
class PostReference:
    post_id: PostId
    author_id: UserId
    create_time_ms: int
    shared_post_id: PostId | None = None


@dataclass(frozen=True, slots=True)
class Comment:
    comment_id: CommentId
    post_id: PostId
    post_author_id: UserId
    author_id: UserId
    content: str
    create_time_ms: int
    mentions: tuple[Mention, ...] = ()


@dataclass(frozen=True, slots=True)
class DeletedComment:
    comment_id: CommentId
    post_id: PostId
    post_author_id: UserId
    author_id: UserId
    delete_time_ms: int


@dataclass(frozen=True, slots=True)
class Like:
    post_id: PostId
    post_author_id: UserId
    user_id: UserId
    create_time_ms: int


@dataclass(frozen=True, slots=True)
class ViewerState:
    liked: bool
    shared: bool


class PurgeKind(StrEnum):
    POST = "post"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Purge:
    """The removal of all that hangs on a deleted post, or was made by a deleted person.

    A transaction under way at the deletion may still add something: look again after it can only
    be over.
    """

    kind: PurgeKind
    of_id: UUID
    since_ms: int


class PostNotFound(NotFound):
    reason = "POST_NOT_FOUND"
    message = "There is no such post."


class CommentNotFound(NotFound):
    reason = "COMMENT_NOT_FOUND"
    message = "There is no such comment on this post."


class PostIdTaken(AlreadyExists):
    reason = "POST_ID_TAKEN"
    message = "This id belongs to another post."


class CommentIdTaken(AlreadyExists):
    reason = "COMMENT_ID_TAKEN"
    message = "This id belongs to another comment."


class ShareNotAllowed(FailedPrecondition):
    reason = "SHARE_NOT_ALLOWED"
    message = "This post cannot be shared."


class UserNotFound(NotFound):
    reason = "USER_NOT_FOUND"
    message = "There is no such person."


class Blocked(FailedPrecondition):
    reason = "BLOCKED"
    message = "One of you blocks the other."


def post_digest(post: Post) -> bytes:
    """The same for the same body: what the client sent, without what was made of it."""
    body = {
        "content": post.content,
        "tags": post.given_tags,
        "location": post.location and asdict(post.location),
        "media": [asdict(each) for each in post.media],
        "shared_post_id": post.shared_post_id,
    }
    return _digest({name: value for name, value in body.items() if value})


def comment_digest(comment: Comment) -> bytes:
    return _digest({"post_id": comment.post_id, "content": comment.content})


def _digest(body: object) -> bytes:
    text = json.dumps(body, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).digest()[:16]


def is_media_url(url: str, *, paths_are_served: bool) -> bool:
    """A public https URL, or a path below the CDN's address where there is a CDN to serve it."""
    return _is_public_url(url) or (paths_are_served and _PATH.fullmatch(url) is not None)


def _is_public_url(url: str) -> bool:
    match = _URL.fullmatch(url)
    if match is None or not _NOT_IN_URLS.isdisjoint(url):
        return False
    host, port = match["host"].lower(), int(match["port"] or 443)
    if not 1 <= port <= PORT_MAX:
        return False
    return host.rpartition(".")[2] not in _PRIVATE_NAMES and not host.endswith(_PRIVATE_DOMAIN)
