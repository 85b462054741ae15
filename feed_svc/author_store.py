"""The recent posts of authors in Redis, and who is pulled.

Readers merge the recents of pulled authors with their windows; backfills take them from here. They
end by themselves when the author has been silent for long, and may be gone at any time.
"""

from collections.abc import Collection
from typing import cast

from feed_svc.codec import Pairs, arguments_of, arguments_of_source, member_of, places_of
from feed_svc.keys import TIERS
from feed_svc.model import Place, PostId, Source, Tier, UserId
from feed_svc.redis_store import Call, FeedRedis
from svckit.events.bus import Fence


class AuthorStore:
    """Every write may be made twice."""

    def __init__(self, redis: FeedRedis) -> None:
        self._redis = redis
        self._keys = redis.keys
        self._ttl_ms = redis.settings.window_ttl_s * 1000
        self.recents_max = redis.limits.recents_max
        """As many posts of each author are kept."""

    async def add(self, fence: Fence, author_id: UserId, place: Place) -> bool:
        """False = there are no recents: read the truth, and put it."""
        arguments = (self._ttl_ms, self.recents_max, *arguments_of(place))
        (has_recents,) = await self._redis.write(
            fence, [Call("add_recent", self._fenced(author_id), arguments)]
        )
        return bool(has_recents)

    async def put(self, fence: Fence, author_id: UserId, source: Source) -> None:
        arguments = [self._ttl_ms, self.recents_max, *arguments_of_source(source, self.recents_max)]
        await self._redis.write(fence, [Call("put_recents", self._fenced(author_id), arguments)])

    async def forget(self, fence: Fence, author_id: UserId, post_id: PostId) -> None:
        await self._redis.write(
            fence, [Call("forget_recents", self._fenced(author_id), [member_of(post_id)])]
        )

    async def drop(self, fence: Fence, author_id: UserId) -> None:
        await self._redis.write(fence, [Call("drop_recents", self._fenced(author_id))])

    async def recents(self, author_ids: Collection[UserId]) -> dict[UserId, Source]:
        """Of those who have some, in one round trip."""
        if not author_ids:
            return {}
        replies = await self._redis.call(
            *(Call("recents", self._keys.recents(author_id)) for author_id in author_ids)
        )
        return {
            author_id: _source(pairs)
            for author_id, pairs in zip(author_ids, cast("list[Pairs]", replies), strict=True)
            if pairs
        }

    async def tier(self, author_id: UserId) -> Tier:
        (found,) = await self._redis.run([("HGET", TIERS, author_id)])
        return Tier(cast("bytes", found).decode()) if found else Tier.PUSH

    async def set_tier(self, fence: Fence, author_id: UserId, tier: Tier) -> None:
        keys = [self._keys.fences[0], TIERS]
        await self._redis.write(fence, [Call("set_tier", keys, [author_id, tier.value])])

    async def pulled(self) -> frozenset[UserId]:
        """The authors whose posts are not in windows, or not in all."""
        (found,) = await self._redis.run([("HKEYS", TIERS)])
        return frozenset(map(UserId, cast("Collection[bytes]", found)))

    def _fenced(self, author_id: UserId) -> list[bytes]:
        return [self._keys.fence(author_id), *self._keys.recents(author_id)]


def _source(pairs: Pairs) -> Source:
    places = places_of(pairs)
    is_complete = pairs[-2] == b""
    return Source(places, None if is_complete else places[-1])
