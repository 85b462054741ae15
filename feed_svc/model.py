"""The words of this service: places in feeds, windows, sources, and their bounds.

Ids are the 16 bytes they are at rest. Feeds are ordered by place, newest first; a place compares
as (milliseconds, id), in Python, in Redis and in MongoDB alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NewType, TypeAlias

from svckit.errors import NotFound

UserId = NewType("UserId", bytes)
PostId = NewType("PostId", bytes)
Place: TypeAlias = tuple[int, PostId]
"""(create time in ms, post id)."""

ID_BYTES = 16
TIME_MS_MAX = 2**53 - 1  # scores are doubles
TOP: Place = (TIME_MS_MAX, PostId(b"\xff" * ID_BYTES))
"""Above every post."""

WINDOW_ENTRIES_MAX = 256  # the default; a setting


class Lack(Enum):
    """A part that a page had to do without. A page with any of these is degraded."""

    WINDOWS = "the store of the windows does not answer"
    PRESENT_GRAPH = "user_svc does not answer: who is followed and who is hidden is from before"
    CARDS = "it can't be told who some of the authors are: they are shown by their ids"
    OWN_WRITE = "it can't be told where the viewer's own write belongs"
    ENGAGEMENT = "what people did with some of the posts is not known"


Lacks: TypeAlias = frozenset[Lack]
WHOLE: Lacks = frozenset()


class UserNotFound(NotFound):
    reason = "USER_NOT_FOUND"
    message = "There is no such user."


@dataclass(frozen=True, slots=True)
class Source:
    """Posts of an author or of a feed, newest first: every one that there is, down to the floor."""

    places: Sequence[Place]
    floor: Place | None
    """The lowest place that is covered; None = all: there is nothing below."""


class Tier(Enum):
    """How an author's posts get to the followers."""

    PUSH = "push"
    """Into their windows."""
    PULL = "pull"
    """By the author's recents, which those read whose companion names the author."""
    CHANGING = "changing"
    """Counts as pulled; some windows are ready for the one, some for the other."""


class WindowState(Enum):
    MISSING = "missing"
    BUILDING = "building"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Window:
    """A hot window below a place. Unless it is READY it says nothing."""

    state: WindowState
    source: Source
    pull_author_ids: frozenset[UserId]
    """Followed authors whose posts are not in the window."""


@dataclass(frozen=True, slots=True)
class Build:
    """A rebuild in progress; `generation` is how often others had touched the window by then."""

    viewer_id: UserId
    build_id: bytes
    generation: int


@dataclass(frozen=True, slots=True)
class WindowInfo:
    """A hot window as it is in the store."""

    state: WindowState
    entry_count: int
    newest: Place | None
    floor: Place | None
    """None = it holds the whole feed."""
    pull_author_count: int
    generation: int
    size_bytes: int
    expire_time_ms: int


@dataclass(frozen=True, slots=True)
class ViewerGraph:
    """Whom a viewer follows."""

    exists: bool
    followee_ids: frozenset[UserId]


@dataclass(frozen=True, slots=True)
class Hidden:
    """The people whom a viewer does not get to see: blocked by either of the two, or muted."""

    user_ids: frozenset[UserId]
    truncated: bool
    """There are more than can be told: ask about the authors at hand."""


@dataclass(frozen=True, slots=True)
class Post:
    """A post as feeds pass it on: bytes of the contract's message, and what rules look at."""

    post_id: PostId
    author_id: UserId
    create_time_ms: int
    shared_post_id: PostId | None
    encoded: bytes


def unpacked_users(packed: bytes) -> Iterator[UserId]:
    return (UserId(packed[at : at + ID_BYTES]) for at in range(0, len(packed), ID_BYTES))
