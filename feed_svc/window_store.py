"""Hot windows in Redis: what they mean is told in feed_svc/lua/places.lua and windows.lua.

Fan-out writes with a fence; reads, rebuilds and forgetting need none. Every write may be made
twice, and none brings a window about except `begin`.
"""

import secrets
import sys
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from feed_svc.codec import (
    Pairs,
    arguments_of,
    arguments_of_source,
    member_of,
    packed_places_of,
    places_of,
)
from feed_svc.live_store import readers_told, viewers_told
from feed_svc.model import (
    ID_BYTES,
    Build,
    Place,
    PostId,
    Source,
    UserId,
    Window,
    WindowInfo,
    WindowState,
    unpacked_users,
)
from feed_svc.redis_store import Call, FeedRedis
from svckit.batches import Coalescer
from svckit.events.bus import Fence

BUILD_ID_BYTES = 12

Ask = tuple[UserId, Place, int]
NOTHING = Source((), None)


class WindowStore:
    """Windows of at most `entries_max` entries, of people who read within `window_ttl_s`."""

    def __init__(self, redis: FeedRedis) -> None:
        self._redis = redis
        self._keys = redis.keys
        self._limits = redis.limits
        self.entries_max = redis.settings.window_entries_max
        self._ttl_ms = redis.settings.window_ttl_s * 1000
        self._reads: Coalescer[Ask, Window] = Coalescer(self._read_all, self._limits.reads)

    def read(self, viewer_id: UserId, before: Place, limit: int) -> Awaitable[Window]:
        """The newest `limit` places below `before`, and how far down they are all that there is.

        So the floor may be the last of them. It is being read from now on, together with what else
        is asked for at the same time.
        """
        return cast("Awaitable[Window]", self._reads.ask((viewer_id, before, limit)))

    async def deliver(self, fence: Fence, place: Place, viewer_ids: bytes) -> int:
        """Put a post into those of the windows that are there; returns how many have it now.

        Those of the viewers who watch are told, whether they have a window or not.
        """
        arguments = (self.entries_max, *arguments_of(place))
        taken = 0
        for packed in self._chunks(viewer_ids):
            calls = [
                Call(
                    "deliver", [key, self._keys.watching(key), *self._keys.windows(ids)], arguments
                )
                for key, ids in self._keys.groups(packed)
            ]
            replies = await self._redis.write(fence, calls)
            counts, watching = zip(*cast("list[tuple[int, bytes]]", replies), strict=True)
            taken += sum(counts)
            if told := b"".join(watching):
                await self._redis.run([viewers_told(place, told)])
        return taken

    async def tell_readers(self, author_id: UserId, place: Place) -> None:
        """Of a pulled author: those of them who watch learn that there is a post."""
        await self._redis.run([readers_told(place, author_id)])

    async def backfill(
        self,
        fence: Fence,
        viewer_ids: bytes,
        author_id: UserId,
        source: Source,
        *,
        unmark: bool = False,
    ) -> None:
        """Add an author's posts to the windows that are there.

        With `unmark` they count from then on as ones that have all of the author's posts.
        """
        mark = _mark(author_id) if unmark else b""
        arguments = [self.entries_max, mark, *arguments_of_source(source, self.entries_max)]
        at_once = self._limits.backfilled_per_call_max // max(1, len(source.places))
        for packed in self._chunks(viewer_ids, max(1, at_once)):
            calls = []
            for key, ids in self._keys.groups(packed):
                pairs = [each for one_id in ids for each in self._pair(one_id)]
                calls.append(Call("backfill", [key, *pairs], arguments))
            await self._redis.write(fence, calls)

    async def purge(
        self, fence: Fence, viewer_id: UserId, author_id: UserId, post_ids: Sequence[PostId]
    ) -> None:
        """Take an author's posts out of a window; also if they are in it no longer by pull."""
        keys = [self._keys.fence(viewer_id), *self._pair(viewer_id)]
        step = self._limits.posts_per_call_max
        for at in range(0, max(1, len(post_ids)), step):
            members = map(member_of, post_ids[at : at + step])
            await self._redis.write(fence, [Call("purge", keys, [_mark(author_id), *members])])

    async def set_pull(
        self, fence: Fence, viewer_ids: bytes, author_id: UserId, *, on: bool
    ) -> None:
        """Say of windows that are there whether the author's posts are in the recents alone."""
        arguments = [_mark(author_id), "HSET" if on else "HDEL"]
        for packed in self._chunks(viewer_ids):
            calls = [
                Call("set_pull", [key, *map(self._keys.companion, ids)], arguments)
                for key, ids in self._keys.groups(packed)
            ]
            await self._redis.write(fence, calls)

    async def floor(self, viewer_id: UserId) -> tuple[WindowState, Place | None]:
        """None = the window has everything, or is missing."""
        (reply,) = await self._redis.call(Call("state", self._pair(viewer_id)))
        found = _State.of(cast("list[bytes]", reply))
        return found.state, found.floor

    async def forget(self, viewer_id: UserId, post_ids: Sequence[PostId]) -> None:
        """Take out posts that are gone for everybody."""
        if post_ids:
            members = [*map(member_of, post_ids)]
            await self._redis.call(Call("forget", [self._keys.window(viewer_id)], members))

    async def begin(self, viewer_id: UserId) -> Build | None:
        """Make the window anew: deliveries from now on are in it. None = another build runs.

        The truth must be read after this.
        """
        build_id = secrets.token_bytes(BUILD_ID_BYTES)
        arguments = (build_id, self._limits.build_alone_ms, self._limits.build_ttl_ms)
        (generation,) = await self._redis.call(Call("begin", self._pair(viewer_id), arguments))
        return None if generation is None else Build(viewer_id, build_id, cast("int", generation))

    async def regenerate(self, build: Build) -> Build | None:
        """The build as of now, to read the truth once more; None = it is lost."""
        keys = self._pair(build.viewer_id)
        (generation,) = await self._redis.call(Call("regenerate", keys, [build.build_id]))
        if generation is None:
            return None
        return Build(build.viewer_id, build.build_id, cast("int", generation))

    async def finish(self, build: Build, source: Source, pull_author_ids: Iterable[UserId]) -> bool:
        """The window is ready: the source, and all deliveries since the beginning.

        False = anything but deliveries happened to it since `build.generation` was asked.
        """
        arguments = (
            build.build_id,
            build.generation,
            self._ttl_ms,
            self.entries_max,
            *arguments_of_source(source, self.entries_max),
            *map(_mark, pull_author_ids),
        )
        (done,) = await self._redis.call(Call("finish", self._pair(build.viewer_id), arguments))
        return bool(done)

    async def evict(self, viewer_id: UserId) -> None:
        await self._redis.run([("DEL", *self._pair(viewer_id))])

    async def info(self, viewer_id: UserId) -> WindowInfo:
        (reply,) = await self._redis.call(Call("info", self._pair(viewer_id)))
        found = _State.of(cast("list[bytes]", reply))
        if found.state is WindowState.MISSING:
            return WindowInfo(found.state, 0, None, None, 0, 0, 0, 0)
        head, *counts = cast("list[Pairs]", reply)[5:]
        entry_count, size_bytes, expire_time_ms = cast("list[int]", counts)
        newest = places_of(head)
        return WindowInfo(
            found.state,
            entry_count=entry_count - (found.floor is None),
            newest=newest[0] if newest else None,
            floor=found.floor,
            pull_author_count=len(found.pull_author_ids),
            generation=found.generation,
            size_bytes=size_bytes,
            expire_time_ms=expire_time_ms,
        )

    async def _read_all(self, asked: Sequence[Ask]) -> Mapping[Ask, Window]:
        groups = defaultdict(list)
        for ask in asked:
            groups[self._keys.fence(ask[0])].append(ask)
        calls = []
        for group in groups.values():
            keys: list[bytes] = []
            arguments: list[int | bytes] = [self._ttl_ms]
            for viewer_id, before, limit in group:
                keys += self._pair(viewer_id)
                # One more than asked for tells whether there are more.
                arguments += (*arguments_of(before), limit + 1)
            calls.append(Call("read", keys, arguments))
        replies = cast("list[list[list[bytes]]]", await self._redis.call(*calls))
        return {
            ask: _decode_window(reply, ask[2])
            for group, found in zip(groups.values(), replies, strict=True)
            for ask, reply in zip(group, found, strict=True)
        }

    def _chunks(self, packed_ids: bytes, ids_max: int = sys.maxsize) -> Iterator[bytes]:
        """Of windows that are in one call."""
        step = min(ids_max, self._limits.windows_per_call_max) * ID_BYTES
        return (packed_ids[at : at + step] for at in range(0, len(packed_ids), step))

    def _pair(self, viewer_id: bytes) -> list[bytes]:
        return [self._keys.window(viewer_id), self._keys.companion(viewer_id)]


class _State(NamedTuple):
    """The part of a window that every look at it tells first."""

    state: WindowState
    generation: int
    pull_author_ids: frozenset[UserId]
    floor: Place | None

    @classmethod
    def of(cls, reply: Sequence[bytes]) -> "_State":
        if not reply:
            return cls(WindowState.MISSING, 0, frozenset(), None)
        state, generation, authors, member, score = reply[:5]
        return cls(
            WindowState(state.decode()),
            int(generation),
            frozenset(unpacked_users(authors)),
            packed_places_of(member, score)[0] if member else None,
        )


def _decode_window(reply: Sequence[bytes], limit: int) -> Window:
    found = _State.of(reply)
    if found.state is not WindowState.READY:
        return Window(found.state, NOTHING, frozenset())
    places, floor = packed_places_of(*reply[5:7]), found.floor
    if len(places) > limit:
        del places[limit:]
        floor = places[-1] if places else floor
    return Window(found.state, Source(places, floor), found.pull_author_ids)


def _mark(author_id: UserId) -> bytes:
    return b"p" + author_id
