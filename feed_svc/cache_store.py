"""Copies in Redis of what other services know: posts, cards, whom a viewer follows.

Readers fill in copies that are missing. Handlers of events overwrite: a copy that a reader found
before the event never replaces the one that came with it. An empty value = gone.
"""

import random
from collections.abc import Iterable, Mapping, Sequence

from feed_svc.model import PostId, UserId
from feed_svc.redis_store import Call, FeedRedis
from svckit.events.bus import Fence


class CacheStore:
    """Each call is one round trip."""

    def __init__(self, redis: FeedRedis) -> None:
        self._redis = redis
        self._keys = redis.keys
        self._limits = redis.limits

    async def posts(self, post_ids: Sequence[PostId]) -> dict[PostId, bytes]:
        """Of those that are known."""
        found = await self._redis.get_all([self._keys.post(one_id) for one_id in post_ids])
        pairs = zip(post_ids, found, strict=True)
        return {one_id: data for one_id, data in pairs if data is not None}

    async def cards(self, user_ids: Sequence[UserId]) -> dict[UserId, bytes]:
        """Of those who are known."""
        found = await self._redis.get_all([self._keys.card(one_id) for one_id in user_ids])
        pairs = zip(user_ids, found, strict=True)
        return {one_id: data for one_id, data in pairs if data is not None}

    async def fill_posts(self, posts: Mapping[PostId, bytes]) -> None:
        await self._fill((self._keys.post(one_id), data) for one_id, data in posts.items())

    async def fill_cards(self, cards: Mapping[UserId, bytes]) -> None:
        await self._fill((self._keys.card(one_id), data) for one_id, data in cards.items())

    async def put_post(self, fence: Fence, post_id: PostId, data: bytes) -> None:
        await self._put(fence, post_id, self._keys.post(post_id), data)

    async def put_card(self, fence: Fence, user_id: UserId, data: bytes) -> None:
        await self._put(fence, user_id, self._keys.card(user_id), data)

    async def graph(self, viewer_id: UserId) -> bytes | None:
        return (await self._redis.get_all([self._keys.graph(viewer_id)]))[0]

    async def put_graph(self, viewer_id: UserId, data: bytes) -> None:
        key = self._keys.graph(viewer_id)
        await self._redis.run([("SET", key, data, "PX", self._limits.graph_ttl_ms)])

    async def _put(self, fence: Fence, one_id: bytes, key: bytes, data: bytes) -> None:
        await self._redis.write(
            fence, [Call("put_copy", [self._keys.fence(one_id), key], [data, self._ttl_ms()])]
        )

    async def _fill(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        commands = [("SET", key, data, "PX", self._ttl_ms(), "NX") for key, data in pairs]
        if commands:
            await self._redis.run(commands)

    def _ttl_ms(self) -> int:
        """Differs, so that copies that came together do not go together."""
        return int(self._limits.copy_ttl_ms * random.uniform(0.9, 1.1))  # noqa: S311
