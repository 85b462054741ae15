"""Where the posts of a page come from: whatever is hot and whatever is not, it is the same feed."""

from random import Random
from typing import Any, cast

import pytest

from feed_svc.background import Background
from feed_svc.candidates import Candidates, Found
from feed_svc.graphs import Graphs
from feed_svc.model import TOP, Hidden, Lack, Place, UserId, WindowState
from svckit.patience import Patience
from tests.stacks import feed_fakes as fakes
from tests.stacks.feed_fakes import post_id, source_of, user

VIEWER = user(0)
WORLDS = 150


class World:
    """Followed authors, some of them pulled, with posts of which many have the same time."""

    def __init__(self, seed: int, *, pulled: int = 2) -> None:
        self.random = random = Random(seed)
        authors = [user(number) for number in range(1, 6)]
        numbers = iter(random.sample(range(1, 10_000), 60))
        self.posts: dict[UserId, list[Place]] = {
            author: [
                (random.randrange(1, 20), post_id(next(numbers)))
                for _ in range(random.randrange(8))
            ]
            for author in (VIEWER, *authors)
        }
        pull_ids = frozenset(authors[: random.randrange(pulled + 1)])
        pushed = [
            place for each, places in self.posts.items() for place in places if each not in pull_ids
        ]
        self.windows = fakes.Windows(source_of(pushed, random.randrange(1, 12)), pull_ids)
        self.authors = fakes.Authors(
            {
                each: source_of(self.posts[each], random.randrange(1, 6))
                for each in pull_ids
                if random.random() < 0.8
            }
        )
        self.contents = fakes.Contents(self.posts)
        self.people = fakes.People(frozenset(authors))
        self.rebuilds = fakes.Rebuilds()

    @property
    def feed(self) -> list[Place]:
        """All of it, newest first."""
        return sorted((place for places in self.posts.values() for place in places), reverse=True)

    async def found(self, before: Place, limit: int) -> Found:
        background = Background(10)
        graphs = Graphs(
            cast("Any", self.people), cast("Any", fakes.Caches()), Patience("user_svc"), background
        )
        candidates = Candidates(
            graphs,
            cast("Any", self.windows),
            cast("Any", self.authors),
            cast("Any", self.contents),
            cast("Any", self.rebuilds),
            Patience("content_svc"),
            background,
        )
        look = candidates.look(VIEWER, before, limit)
        viewer = await graphs.viewer(VIEWER, graphs.ask(VIEWER))
        return await candidates.found(viewer, look)


async def check(world: World) -> None:
    """From every place on, in every size: the next ones, and whether that was all."""
    feed = world.feed
    for before in (TOP, *world.random.sample(feed, min(4, len(feed)))):
        rest = [place for place in feed if place < before]
        for limit in {1, 2, 5, len(rest) or 1, len(rest) + 1}:
            found = await world.found(before, limit)
            assert list(found.places) == rest[:limit]
            assert found.is_end == (len(rest) <= limit)


@pytest.mark.parametrize("pulled", [0, 2])
async def test_the_feed_does_not_depend_on_what_is_hot(pulled: int) -> None:
    for seed in range(WORLDS):
        await check(World(seed, pulled=pulled))


@pytest.mark.parametrize("state", [WindowState.MISSING, WindowState.BUILDING])
async def test_without_a_window_it_is_read_cold_and_one_is_built(state: WindowState) -> None:
    for seed in range(20):
        world = World(seed)
        world.windows.state = state
        await check(world)
        assert set(world.rebuilds.kicked) == {VIEWER}


async def test_without_redis_it_is_read_cold_and_nothing_is_built() -> None:
    world = World(1)
    world.windows.is_down = True
    await check(world)
    assert not world.rebuilds.kicked
    found = await world.found(TOP, 5)
    assert found.lacks == {Lack.WINDOWS}
    assert found.pull_author_ids is None


async def test_what_a_full_window_answers_costs_no_call() -> None:
    world = World(1, pulled=0)
    world.windows.source = source_of(world.feed, 10)
    assert len((await world.found(TOP, 9)).places) == 9
    assert world.contents.asked == 0
    await world.found(TOP, 10)
    assert world.contents.asked == 1  # is there an eleventh?


async def test_hidden_authors_are_not_looked_for_below_the_window() -> None:
    world = World(3)
    hidden = user(4)
    world.windows.state = WindowState.MISSING
    world.people.hidden_now = Hidden(frozenset({hidden}), truncated=False)
    found = await world.found(TOP, 1_000)
    assert list(found.places) == [each for each in world.feed if each not in world.posts[hidden]]


async def test_a_post_that_is_in_two_sources_comes_once() -> None:
    """As while its author changes between push and pull."""
    world = World(5)
    world.windows.source, world.windows.pull_author_ids = (
        source_of(world.feed, 100),
        frozenset([user(1), user(2)]),
    )
    world.authors.kept = {each: source_of(world.posts[each], 100) for each in (user(1), user(2))}
    await check(world)


async def test_recents_reach_as_far_as_they_are_kept() -> None:
    """An author with more posts than are kept, of whom the store has nothing."""
    world = World(7)
    world.posts[user(1)] = [
        (time, post_id(20_000 + time)) for time in range(world.authors.recents_max + 50)
    ]
    world.windows.pull_author_ids = frozenset([user(1)])
    world.windows.source = source_of(
        (place for each, places in world.posts.items() for place in places if each != user(1)), 5
    )
    world.authors.kept = {}
    await check(world)
