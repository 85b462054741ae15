"""The cache of posts: how old an answer may be, and that a change is never outlived by a read."""

import asyncio
from uuid import UUID

import pytest

from content_svc.cache import CacheSettings, PostCache
from content_svc.model import Post, PostId, UserId
from svckit.ids import new_id
from tests.clock import ManualClock
from tests.polling import until

AUTHOR_ID = UserId(new_id())


class Store:
    """Posts by id. A read takes what is there when it begins, and waits for `may_answer`."""

    def __init__(self) -> None:
        self.contents: dict[UUID, str] = {}
        self.reads = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def post(self, post_id: PostId) -> Post | None:
        self.reads += 1
        content = self.contents.get(post_id)
        await self.may_answer.wait()
        return None if content is None else Post(post_id, AUTHOR_ID, content, 1, 1)


class World:
    def __init__(self, settings: CacheSettings) -> None:
        self.clock, self.store, self.settings = ManualClock(), Store(), settings
        self.cache = PostCache(
            self.store.post, lambda post: post.content.encode(), self.clock, settings
        )

    def write(self, content: str, post_id: UUID | None = None) -> PostId:
        written = PostId(post_id or new_id())
        self.store.contents[written] = content
        return written

    async def read(self, *post_ids: UUID) -> list[bytes]:
        return [each.encoded for each in (await self.cache.get(post_ids)).values()]


@pytest.fixture
def world() -> World:
    return World(CacheSettings())


async def test_what_is_fresh_is_not_read_again(world: World) -> None:
    one, two = world.write("one"), world.write("two")
    assert await world.read(one, two, one) == [b"one", b"two"]
    assert await world.read(two, one) == [b"two", b"one"]
    assert world.store.reads == 2


async def test_nobody_sees_what_is_older_than_the_bound(world: World) -> None:
    post_id = world.write("old")
    await world.read(post_id)
    world.write("new", post_id)
    world.clock.now_s += world.settings.age_s_max - 0.01
    assert await world.read(post_id) == [b"old"]
    world.clock.now_s += 0.02
    assert await world.read(post_id) == [b"new"]


async def test_the_age_counts_from_when_it_was_asked_for(world: World) -> None:
    post_id = world.write("old")
    world.store.may_answer.clear()
    reading = asyncio.create_task(world.read(post_id))
    await until(lambda: world.store.reads == 1)
    world.clock.now_s += world.settings.age_s_max
    world.write("new", post_id)
    world.store.may_answer.set()
    assert await reading == [b"old"]
    assert await world.read(post_id) == [b"new"]


async def test_what_is_not_there_is_asked_for_again(world: World) -> None:
    post_id = PostId(new_id())
    assert await world.read(post_id) == []
    world.write("there", post_id)
    assert await world.read(post_id) == [b"there"]


async def test_a_change_is_seen_at_once(world: World) -> None:
    post_id = world.write("old")
    await world.read(post_id)
    world.write("new", post_id)
    world.cache.forget(post_id)
    assert await world.read(post_id) == [b"new"]


async def test_a_read_that_began_before_a_change_is_not_kept(world: World) -> None:
    post_id = world.write("old")
    world.store.may_answer.clear()
    reading = asyncio.create_task(world.read(post_id))
    await until(lambda: world.store.reads == 1)
    world.write("new", post_id)
    world.cache.forget(post_id)
    world.store.may_answer.set()
    assert await reading == [b"old"]
    assert await world.read(post_id) == [b"new"]


async def test_it_is_bounded() -> None:
    world = World(CacheSettings(entries_max=3))
    posts = [world.write(str(number)) for number in range(5)]
    await world.read(*posts)
    assert len(world.cache._entries) == 3
    await world.read(*posts[2:])
    assert world.store.reads == 5


async def test_it_is_bounded_in_bytes() -> None:
    world = World(CacheSettings(bytes_max=10))
    posts = [world.write(content) for content in ("1", "22", "333", "4444")]
    await world.read(*posts)
    for content in ("4", "4444"):  # a new version takes the room of the old one
        world.clock.now_s += world.settings.age_s_max
        await world.read(world.write(content, posts[3]))
    world.cache.forget(posts[0])
    await world.read(world.write("5"))
    assert len(world.cache._entries) == 4
    await world.read(world.write("66"))  # for which the 22 goes
    assert len(world.cache._entries) == 4
    await world.read(world.write("7777"))  # for which the 333 and the 4444 go
    assert len(world.cache._entries) == 3
