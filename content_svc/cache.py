"""Posts in memory, in front of the store: for batch reads, of which feeds make many.

A post is kept as the bytes in which it goes out: to build a message of each would cost as much as
all the rest of a call. Bounded in entries, in bytes and in age: a change by another process is seen
after `age_s_max` at the latest, one by this process at once (unless its caller gave up before the
answer). Posts are never cached for a viewer, so there is nothing in here that one may see and
another may not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from content_svc.model import Post, PostId
from svckit.bounded import Bounded


@dataclass(frozen=True, slots=True)
class CacheSettings:
    entries_max: int = 20_000
    bytes_max: int = 64 * 1024 * 1024
    age_s_max: float = 1.0


@dataclass(frozen=True, slots=True)
class CachedPost:
    """A post for those who pass it on as it is."""

    encoded: bytes
    shared_post_id: PostId | None
    read_at_s: float


class PostCache:
    """Reads through; `read` joins what is asked for at the same moment, as `PostStore` does."""

    def __init__(
        self,
        read: Callable[[PostId], Awaitable[Post | None]],
        encode: Callable[[Post], bytes],
        clock_s: Callable[[], float],
        settings: CacheSettings,
    ) -> None:
        self._read = read
        self._encode = encode
        self._clock_s = clock_s
        self._entries: Bounded[UUID, CachedPost] = Bounded(
            settings.entries_max, settings.bytes_max, lambda entry: len(entry.encoded)
        )
        self._age_s_max = settings.age_s_max
        self._forgotten = 0

    async def get(self, post_ids: Iterable[UUID]) -> dict[UUID, CachedPost]:
        """The posts that are there, by their ids."""
        now_s = self._clock_s()
        found: dict[UUID, CachedPost] = {}
        missing: dict[UUID, None] = {}
        for post_id in post_ids:
            entry = self._entries.get(post_id)
            if entry is not None and now_s - entry.read_at_s < self._age_s_max:
                found[post_id] = entry
            else:
                missing[post_id] = None
        if missing:
            found |= await self._read_all([*missing], now_s)
        return found

    def forget(self, post_id: PostId) -> None:
        self._forgotten += 1
        self._entries.drop(post_id)

    async def _read_all(self, post_ids: Sequence[UUID], now_s: float) -> dict[UUID, CachedPost]:
        forgotten = self._forgotten
        posts = await asyncio.gather(*(self._read(PostId(each)) for each in post_ids))
        read: dict[UUID, CachedPost] = {
            post.post_id: CachedPost(self._encode(post), post.shared_post_id, now_s)
            for post in posts
            if post is not None
        }
        # What was read before somebody changed it must not outlive the change.
        if forgotten == self._forgotten:
            for post_id, entry in read.items():
                self._entries.put(post_id, entry)
        return read
