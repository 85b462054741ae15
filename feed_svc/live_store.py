"""Watchers of feeds, and pokes to them: by Redis, from fan-out to all processes with streams.

A poke is a place, and whose feeds have something new there: the viewers by their ids, or readers of
a pulled author by the author's. Pokes are published, not kept: a process that is not subscribed at
the time misses them, and has to look for itself.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from struct import Struct
from typing import Any, NamedTuple

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub

from feed_svc.engine_store import FAILURES, Command, options
from feed_svc.model import ID_BYTES, Place, PostId, UserId, unpacked_users
from feed_svc.redis_store import Call, FeedRedis
from svckit.errors import Unavailable

_VIEWERS, _READERS = b"live:viewers", b"live:readers"
_PLACE = Struct(f">Q{ID_BYTES}s")


class Poke(NamedTuple):
    """There is something new at `place`."""

    place: Place
    user_ids: Sequence[UserId]
    are_authors: bool
    """It is in the feeds of their readers; else in their own."""


def viewers_told(place: Place, viewer_ids: bytes) -> Command:
    return "PUBLISH", _VIEWERS, _PLACE.pack(*place) + viewer_ids


def readers_told(place: Place, author_id: UserId) -> Command:
    return "PUBLISH", _READERS, _PLACE.pack(*place) + author_id


class LiveStore:
    """For a process with streams."""

    def __init__(self, redis: FeedRedis) -> None:
        self._redis = redis
        self._limits = redis.limits

    async def watch(self, viewer_ids: Collection[UserId]) -> None:
        """The viewers are told of new posts for `watch_ttl_ms` from now on."""
        keys, ids, step = self._redis.keys, [*viewer_ids], self._limits.windows_per_call_max
        ttl_ms = self._limits.watch_ttl_ms
        calls = [
            Call("watch", [keys.watching(fence)], [ttl_ms, *keys.windows(group)])
            for at in range(0, len(ids), step)
            for fence, group in keys.groups(b"".join(ids[at : at + step]))
        ]
        if calls:
            await self._redis.call(*calls)

    @asynccontextmanager
    async def subscribed(self) -> AsyncGenerator[AsyncIterator[Poke]]:
        """All pokes from now on; raises Unavailable when Redis is gone, or silent for long.

        On a cluster any node will do: what is published goes to all of them.
        """
        settings, silence_max_s = self._redis.settings, self._limits.silence_max_s
        make = RedisCluster.from_url if settings.is_cluster else Redis.from_url
        try:
            async with (
                make(
                    settings.full_url(), **options(self._limits.connect_timeout_s, silence_max_s)
                ) as client,
                client.pubsub() as pubsub,
            ):
                await pubsub.subscribe(_VIEWERS, _READERS)
                for _ in (_VIEWERS, _READERS):
                    await _next_of(pubsub, silence_max_s)
                yield _pokes(pubsub, silence_max_s)
        except FAILURES as error:
            raise Unavailable(dependency="redis") from error


async def _pokes(pubsub: PubSub, silence_max_s: float) -> AsyncIterator[Poke]:
    while True:
        message = await _next_of(pubsub, silence_max_s)
        if message["type"] == "message":
            data: bytes = message["data"]
            place_ms, post_id = _PLACE.unpack_from(data)
            ids = [*unpacked_users(data[_PLACE.size :])]
            are_authors = message["channel"] == _READERS
            yield Poke((place_ms, PostId(post_id)), ids, are_authors)


async def _next_of(pubsub: PubSub, silence_max_s: float) -> Mapping[str, Any]:
    message: Mapping[str, Any] | None = await pubsub.get_message(timeout=silence_max_s)
    if message is None:
        await pubsub.ping()
        message = await pubsub.get_message(timeout=silence_max_s)
    if message is None:
        raise TimeoutError
    return message
