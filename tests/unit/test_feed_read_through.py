"""What is remembered and for how long; who is asked for what is not, and what if they are away."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from feed_svc.background import Background
from feed_svc.read_through import ReadThrough, ReadThroughSettings
from svckit.errors import DeadlineExceeded, Unavailable
from svckit.patience import Patience, PatienceSettings
from tests.polling import until

AGE_S_MAX = ReadThroughSettings().age_s_max
ENTRIES_MAX = 100


class Place:
    """Redis, or an owner: has some things, or is away, or is slow."""

    def __init__(self, **things: str | None) -> None:
        self.things = things
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def load(self, ids: Sequence[str]) -> Mapping[str, str | None]:
        self.asked += ids
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return {each: self.things[each] for each in ids if each in self.things}

    async def load_existing(self, ids: Sequence[str]) -> Mapping[str, str]:
        return {each: thing for each, thing in (await self.load(ids)).items() if thing is not None}


class Rig:
    def __init__(self, background: Background, bytes_max: int = 1_000_000) -> None:
        self.now_s = 100.0
        self.background = background
        self.redis, self.owner = Place(a="a", gone=None), Place(a="a", b="b", c="c", gone="stale")
        self.through: ReadThrough[str, str] = ReadThrough(
            Patience("owner", PatienceSettings(short_s=0.02)),
            self.redis.load,
            self.owner.load_existing,
            len,
            background,
            lambda: self.now_s,
            ReadThroughSettings(entries_max=ENTRIES_MAX, bytes_max=bytes_max),
        )


@pytest.fixture
async def background() -> AsyncIterator[Background]:
    async with Background(10) as background:
        yield background


@pytest.fixture
def rig(background: Background) -> Rig:
    return Rig(background)


async def test_redis_first_then_the_owner(rig: Rig) -> None:
    assert await rig.through.get(["a", "b", "none"]) == {"a": "a", "b": "b"}
    assert rig.redis.asked == ["a", "b", "none"]
    assert rig.owner.asked == ["b", "none"]


async def test_what_redis_knows_to_be_gone_is_gone(rig: Rig) -> None:
    assert await rig.through.get(["gone"]) == {}
    assert rig.owner.asked == []


async def test_it_is_remembered_until_it_is_too_old(rig: Rig) -> None:
    for _ in range(2):
        assert await rig.through.get(["a"]) == {"a": "a"}
    assert rig.redis.asked == ["a"]
    rig.now_s += AGE_S_MAX + 0.001
    rig.redis.things["a"] = "new"
    assert await rig.through.get(["a"]) == {"a": "new"}


async def test_what_is_in_use_is_read_again_before_it_is_too_old(rig: Rig) -> None:
    await rig.through.get(["a"])
    rig.redis.things["a"] = "new"
    rig.now_s += AGE_S_MAX / 2 + 0.001
    assert await rig.through.get(["a"]) == {"a": "a"}
    await rig.background.idle()
    assert await rig.through.get(["a"]) == {"a": "new"}
    assert rig.redis.asked == ["a", "a"]


async def test_what_is_gone_by_then_is_forgotten(rig: Rig) -> None:
    await rig.through.get(["a"])
    rig.redis.things["a"] = None
    rig.now_s += AGE_S_MAX / 2 + 0.001
    await rig.through.get(["a"])
    await rig.background.idle()
    assert await rig.through.get(["a"]) == {}


async def test_what_could_not_be_read_again_stays_while_it_is_young(rig: Rig) -> None:
    await rig.through.get(["b"])
    rig.now_s += AGE_S_MAX / 2 + 0.001
    rig.owner.error = Unavailable()
    for _ in range(2):
        assert await rig.through.get(["b"]) == {"b": "b"}
        await rig.background.idle()


async def test_that_something_does_not_exist_is_not_remembered(rig: Rig) -> None:
    assert await rig.through.get(["new"]) == {}
    rig.owner.things["new"] = "here"
    assert await rig.through.get(["new"]) == {"new": "here"}


async def test_without_redis_the_owner_has_everything(rig: Rig) -> None:
    rig.redis.error = Unavailable()
    assert await rig.through.get(["a", "b"]) == {"a": "a", "b": "b"}


@pytest.mark.parametrize("error", [Unavailable(), DeadlineExceeded()])
async def test_without_the_owner_what_redis_has_is_told(rig: Rig, error: Exception) -> None:
    rig.owner.error = error
    assert await rig.through.get_known(["a", "gone", "b"]) == ({"a": "a"}, ["b"])
    assert await rig.through.get(["a", "gone"]) == {"a": "a"}
    with pytest.raises(Unavailable) as caught:
        await rig.through.get(["a", "b"])
    assert caught.value.metadata == {"dependency": "owner"}


async def test_who_finds_all_in_redis_does_not_wait_for_a_slow_owner(rig: Rig) -> None:
    rig.owner.open.clear()
    waiting = asyncio.create_task(rig.through.get_known(["b"]))
    await until(lambda: rig.owner.asked == ["b"])
    assert await rig.through.get(["a"]) == {"a": "a"}
    assert not waiting.done()
    rig.owner.open.set()
    assert await waiting == ({"b": "b"}, [])


async def test_patience_has_an_end(rig: Rig) -> None:
    rig.owner.error = Unavailable()
    await rig.through.get_known(["b"])
    rig.owner.open.clear()
    assert await rig.through.get_known(["a", "b"]) == ({"a": "a"}, ["b"])


async def test_fresh_is_what_the_owner_has_now(rig: Rig) -> None:
    assert await rig.through.get(["a"]) == {"a": "a"}
    rig.owner.things["a"] = "new"
    assert await rig.through.fresh("a") == "new"
    assert await rig.through.get(["a"]) == {"a": "new"}
    del rig.owner.things["a"]
    assert await rig.through.fresh("a") is None
    assert rig.through.remembered("a") is None


async def test_what_has_changed_is_read_again(rig: Rig) -> None:
    await rig.through.get(["a", "b"])
    rig.redis.things["a"] = "new"
    rig.through.forget("a")
    assert await rig.through.get(["a", "b"]) == {"a": "new", "b": "b"}
    rig.now_s += 0.001
    for _ in range(2):
        await rig.through.get(["a"])
    assert rig.redis.asked == ["a", "b", "a", "a"]


async def test_what_was_being_read_while_it_changed_is_not_remembered(rig: Rig) -> None:
    rig.redis.open.clear()
    reading = asyncio.create_task(rig.through.get(["a"]))
    await until(lambda: rig.redis.asked == ["a"])
    rig.through.forget("a")
    rig.redis.open.set()
    assert await reading == {"a": "a"}
    rig.redis.things["a"] = "new"
    assert await rig.through.get(["a"]) == {"a": "new"}


async def test_many_who_ask_at_once_are_one_question(rig: Rig) -> None:
    rig.redis.open.clear()
    first = asyncio.create_task(rig.through.get(["a"]))
    await until(lambda: rig.redis.asked == ["a"])
    others = [asyncio.create_task(rig.through.get(ids)) for ids in (["b"], ["c", "b"], ["b"])]
    rig.redis.open.set()
    assert await asyncio.gather(first, *others) == [
        {"a": "a"},
        {"b": "b"},
        {"b": "b", "c": "c"},
        {"b": "b"},
    ]
    assert rig.redis.asked == ["a", "b", "c"]
    assert rig.owner.asked == ["b", "c"]


async def test_memory_is_bounded_and_the_oldest_go_first(rig: Rig) -> None:
    rig.redis.things |= {str(number): "thing" for number in range(ENTRIES_MAX + 10)}
    await rig.through.get(["0"])
    await rig.through.get(["1"])
    rig.now_s += AGE_S_MAX + 0.001
    await rig.through.get(["0"])  # again: now it is younger than the other
    await rig.through.get([str(number) for number in range(2, ENTRIES_MAX + 1)])
    assert len(rig.through) == ENTRIES_MAX
    assert rig.through.remembered("1") is None
    assert rig.through.remembered("0") == "thing"


async def test_memory_is_bounded_in_bytes(background: Background) -> None:
    rig = Rig(background, bytes_max=10)
    rig.redis.things |= {"1": "1", "22": "22", "333": "333", "4444": "4", "5": "5", "6": "666666"}
    await rig.through.get(["1", "22", "333", "4444"])
    rig.redis.things["4444"] = "4444"
    rig.now_s += AGE_S_MAX + 0.001
    await rig.through.get(["4444"])  # what it was before counts no longer
    rig.through.forget("1")
    rig.now_s += 0.001
    await rig.through.get(["5"])
    assert len(rig.through) == 4
    await rig.through.get(["6"])  # for which all go that are older than the 5
    assert len(rig.through) == 2
