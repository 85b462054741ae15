"""The recent posts of authors, their tiers, and the copies of what other services know."""

import pytest

from feed_svc.author_store import AuthorStore
from feed_svc.cache_store import CacheStore
from feed_svc.model import PostId, Tier
from feed_svc.redis_store import FeedRedis
from tests.stacks.feed_redis import (
    at,
    complete,
    down_to_the_last,
    new_fence,
    new_user,
    reply_to,
)


@pytest.fixture
def authors(feed_redis: FeedRedis) -> AuthorStore:
    return AuthorStore(feed_redis)


@pytest.fixture
def caches(feed_redis: FeedRedis) -> CacheStore:
    return CacheStore(feed_redis)


class TestRecents:
    async def test_none_are_made_by_adding(self, authors: AuthorStore) -> None:
        author_id = new_user()
        assert not await authors.add(new_fence(), author_id, at(1))
        assert await authors.recents([author_id]) == {}

    async def test_of_several_at_once(self, authors: AuthorStore) -> None:
        sources = {new_user(): complete(*map(at, range(number))) for number in range(12)}
        fence = new_fence()
        for author_id, source in sources.items():
            await authors.put(fence, author_id, source)
        assert await authors.recents([*sources, new_user()]) == sources
        assert await authors.recents([]) == {}

    async def test_last_ones_stay(self, authors: AuthorStore) -> None:
        author_id, fence, most = new_user(), new_fence(), authors.recents_max
        places = [at(ms) for ms in range(most + 5)]
        await authors.put(fence, author_id, complete(*places[: most - 1]))
        assert (await authors.recents([author_id]))[author_id].floor is None
        for place in places[most - 1 :]:
            assert await authors.add(fence, author_id, place)
        assert await authors.recents([author_id]) == {author_id: down_to_the_last(*places[-most:])}
        await authors.put(fence, author_id, complete(*places))
        assert await authors.recents([author_id]) == {author_id: down_to_the_last(*places[-most:])}

    async def test_nothing_goes_below_the_floor(self, authors: AuthorStore) -> None:
        author_id, fence = new_user(), new_fence()
        floor, above = at(5, 100), at(5, 101)
        await authors.put(fence, author_id, down_to_the_last(floor))
        for place in (at(4), at(5, 99), above):
            assert await authors.add(fence, author_id, place)
        assert await authors.recents([author_id]) == {author_id: down_to_the_last(floor, above)}

    async def test_put_replaces(self, authors: AuthorStore) -> None:
        author_id, fence = new_user(), new_fence()
        await authors.put(fence, author_id, complete(at(1), at(5)))
        source = down_to_the_last(at(3), at(4))
        await authors.put(fence, author_id, source)
        assert await authors.recents([author_id]) == {author_id: source}

    async def test_forget_and_drop(self, authors: AuthorStore) -> None:
        author_id, fence = new_user(), new_fence()
        one, other = at(1), at(2)
        await authors.put(fence, author_id, complete(one, other))
        await authors.forget(fence, author_id, one[1])
        assert await authors.recents([author_id]) == {author_id: complete(other)}
        await authors.drop(fence, author_id)
        assert await authors.recents([author_id]) == {}

    async def test_end_when_nothing_is_added(
        self, authors: AuthorStore, feed_redis: FeedRedis
    ) -> None:
        author_id, fence = new_user(), new_fence()
        await authors.put(fence, author_id, complete())
        for key in feed_redis.keys.recents(author_id):
            assert await _has_full_ttl(feed_redis, key)
            await reply_to(feed_redis, "PEXPIRE", key, 60_000)
        await authors.add(fence, author_id, at(1))
        for key in feed_redis.keys.recents(author_id):
            assert await _has_full_ttl(feed_redis, key)

    async def test_without_a_life_there_are_none(
        self, authors: AuthorStore, feed_redis: FeedRedis
    ) -> None:
        author_id, fence = new_user(), new_fence()
        await authors.put(fence, author_id, complete(at(1)))
        _, life = feed_redis.keys.recents(author_id)
        await reply_to(feed_redis, "SET", life, "1700000000.5")
        assert await authors.recents([author_id]) == {}
        assert not await authors.add(fence, author_id, at(2))


async def test_tiers(authors: AuthorStore) -> None:
    author_id, other_id, fence = new_user(), new_user(), new_fence()
    assert await authors.tier(author_id) is Tier.PUSH
    for tier in (Tier.CHANGING, Tier.PULL, Tier.PULL):
        await authors.set_tier(fence, author_id, tier)
        assert await authors.tier(author_id) is tier
        assert author_id in await authors.pulled()
    await authors.set_tier(fence, other_id, Tier.PULL)
    await authors.set_tier(fence, author_id, Tier.PUSH)
    assert await authors.tier(author_id) is Tier.PUSH
    assert author_id not in await authors.pulled()
    assert other_id in await authors.pulled()


class TestCopies:
    async def test_what_came_with_an_event_stays(self, caches: CacheStore) -> None:
        fence = new_fence()
        post_id, gone_id, other_id = (PostId(new_user()) for _ in range(3))
        await caches.posts.put(fence, post_id, b"new")
        await caches.posts.put(fence, gone_id, b"")
        await caches.posts.fill({post_id: b"old", gone_id: b"old", other_id: b"first"})
        expected = {post_id: b"new", gone_id: b"", other_id: b"first"}
        assert await caches.posts.known([*expected, PostId(new_user())]) == expected
        await caches.posts.put(fence, other_id, b"second")
        assert await caches.posts.known([other_id]) == {other_id: b"second"}

    async def test_cards_likewise(self, caches: CacheStore) -> None:
        user_id, gone_id, fence = new_user(), new_user(), new_fence()
        await caches.cards.put(fence, gone_id, b"")
        await caches.cards.fill({user_id: b"first", gone_id: b"old"})
        assert await caches.cards.known([gone_id, user_id, new_user()]) == {
            user_id: b"first",
            gone_id: b"",
        }
        await caches.cards.put(fence, user_id, b"second")
        assert await caches.cards.known([user_id]) == {user_id: b"second"}

    async def test_of_nothing(self, caches: CacheStore) -> None:
        assert await caches.posts.known([]) == {}
        assert await caches.cards.known([]) == {}
        await caches.posts.fill({})
        await caches.cards.fill({})

    async def test_graph(self, caches: CacheStore, feed_redis: FeedRedis) -> None:
        viewer_id = new_user()
        assert await caches.graph(viewer_id) is None
        await caches.put_graph(viewer_id, b"one")
        await caches.put_graph(viewer_id, b"two")
        assert await caches.graph(viewer_id) == b"two"
        ttl_ms = await reply_to(feed_redis, "PTTL", feed_redis.keys.graph(viewer_id))
        assert isinstance(ttl_ms, int)
        longest_ms = feed_redis.limits.graph_ttl_ms
        assert longest_ms - 60_000 < ttl_ms <= longest_ms

    async def test_do_not_all_end_together(self, caches: CacheStore, feed_redis: FeedRedis) -> None:
        ids = [PostId(new_user()) for _ in range(20)]
        await caches.posts.fill(dict.fromkeys(ids, b"x"))
        ttl_ms = feed_redis.limits.copy_ttl_ms
        ttls_ms = [await reply_to(feed_redis, "PTTL", feed_redis.keys.post(each)) for each in ids]
        assert all(isinstance(each, int) and 0.8 < each / ttl_ms < 1.1 for each in ttls_ms)
        assert len(set(ttls_ms)) > len(ids) // 2


async def _has_full_ttl(redis: FeedRedis, key: bytes) -> bool:
    ttl_ms = await reply_to(redis, "PTTL", key)
    assert isinstance(ttl_ms, int)
    return redis.settings.window_ttl_s * 1000 - 60_000 < ttl_ms
