"""Copies in Redis of what other services know: posts, cards, whom a viewer follows.

Readers fill in copies that are missing. Handlers of events overwrite: a copy that a reader found
before the event never replaces the one that came with it. An empty value = gone.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from feed_svc.model import PostId, UserId
from feed_svc.redis_store import Call, FeedRedis
from svckit.events.bus import Fence

I = TypeVar("I", bound=bytes)  # noqa: E741


class Copies(Generic[I]):
    """Those of one kind. Each call is one round trip."""

    def __init__(self, redis: FeedRedis, key_of: Callable[[I], bytes]) -> None:
        self._redis = redis
        self._key_of = key_of

    async def known(self, ids: Sequence[I]) -> dict[I, bytes]:
        """Of those that are known."""
        found = await self._redis.get_all([self._key_of(one_id) for one_id in ids])
        pairs = zip(ids, found, strict=True)
        return {one_id: data for one_id, data in pairs if data is not None}

    async def fill(self, copies: Mapping[I, bytes]) -> None:
        commands = [
            ("SET", self._key_of(one_id), data, "PX", self._ttl_ms(), "NX")
            for one_id, data in copies.items()
        ]
        if commands:
            await self._redis.run(commands)

    async def put(self, fence: Fence, one_id: I, data: bytes) -> None:
        keys = [self._redis.keys.fence(one_id), self._key_of(one_id)]
        await self._redis.write(fence, [Call("put_copy", keys, [data, self._ttl_ms()])])

    def _ttl_ms(self) -> int:
        """Differs, so that copies that came together do not go together."""
        return int(self._redis.limits.copy_ttl_ms * random.uniform(0.9, 1.1))  # noqa: S311


class CacheStore:
    """Each call is one round trip."""

    def __init__(self, redis: FeedRedis) -> None:
        self._redis = redis
        self.posts: Copies[PostId] = Copies(redis, redis.keys.post)
        self.cards: Copies[UserId] = Copies(redis, redis.keys.card)

    async def graph(self, viewer_id: UserId) -> bytes | None:
        return (await self._redis.get_all([self._redis.keys.graph(viewer_id)]))[0]

    async def put_graph(self, viewer_id: UserId, data: bytes) -> None:
        key = self._redis.keys.graph(viewer_id)
        await self._redis.run([("SET", key, data, "PX", self._redis.limits.graph_ttl_ms)])
