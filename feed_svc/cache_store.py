"""Copies in Redis of what other services know: posts, cards, whom a viewer follows.

Readers fill in what is not there. Who handles events overwrites: what a reader found before the
event never replaces what came with it. An empty value = gone.
"""

import random
from collections.abc import Iterable, Mapping, Sequence

from feed_svc import keys
from feed_svc.engine_store import Command
from feed_svc.model import PostId, UserId
from feed_svc.store import FeedRedis

TTL_MS = 600_000
GRAPH_TTL_MS = 3_600_000


class CacheStore:
    """Each call is one round trip."""

    def __init__(self, redis: FeedRedis) -> None:
        self._redis = redis

    async def posts(self, post_ids: Sequence[PostId]) -> dict[PostId, bytes]:
        """Of those that are known."""
        found = await self._redis.get_all([keys.post(one_id) for one_id in post_ids])
        pairs = zip(post_ids, found, strict=True)
        return {one_id: data for one_id, data in pairs if data is not None}

    async def cards(self, user_ids: Sequence[UserId]) -> dict[UserId, bytes]:
        """Of those who are known."""
        found = await self._redis.get_all([keys.card(one_id) for one_id in user_ids])
        pairs = zip(user_ids, found, strict=True)
        return {one_id: data for one_id, data in pairs if data is not None}

    async def fill_posts(self, posts: Mapping[PostId, bytes]) -> None:
        await self._fill((keys.post(one_id), data) for one_id, data in posts.items())

    async def fill_cards(self, cards: Mapping[UserId, bytes]) -> None:
        await self._fill((keys.card(one_id), data) for one_id, data in cards.items())

    async def put_post(self, post_id: PostId, data: bytes) -> None:
        await self._redis.run([_set(keys.post(post_id), data)])

    async def put_card(self, user_id: UserId, data: bytes) -> None:
        await self._redis.run([_set(keys.card(user_id), data)])

    async def graph(self, viewer_id: UserId) -> bytes | None:
        return (await self._redis.get_all([self._redis.keys.graph(viewer_id)]))[0]

    async def put_graph(self, viewer_id: UserId, data: bytes) -> None:
        key = self._redis.keys.graph(viewer_id)
        await self._redis.run([("SET", key, data, "PX", GRAPH_TTL_MS)])

    async def _fill(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        commands = [[*_set(key, data), "NX"] for key, data in pairs]
        if commands:
            await self._redis.run(commands)


def _set(key: bytes, data: bytes) -> Command:
    """For a time that differs, so that what came together does not go together."""
    ttl_ms = int(TTL_MS * random.uniform(0.9, 1.1))  # noqa: S311
    return ("SET", key, data, "PX", ttl_ms)
