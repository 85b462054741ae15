"""Whatever happens to a window, in whatever order: what it claims is what is true.

A world of a few authors, whose posts one viewer's window is to have, is played through in random
order, as fan-out and rebuilds would. A window that is ready claims to have, down to its floor,
every post of the viewer and of everybody that the viewer follows, except those marked as pulled.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feed_svc.model import (
    ID_BYTES,
    TOP,
    Build,
    Place,
    PostId,
    Source,
    UserId,
    Window,
    WindowState,
)
from feed_svc.redis_store import FeedRedis
from feed_svc.window_store import WindowStore
from svckit.events.bus import Fence
from tests.integration.conftest import SMALL_WINDOW
from tests.stacks.feed_redis import MS, new_fence, new_user, newest_first

AUTHORS = 4  # the first is the viewer
TIMES = 12  # few: many posts are of the same millisecond, and old ones come late
EXAMPLES = 150
DEEDS_MAX = 60

Deed = tuple[str, int, int, int]


@dataclass
class World:
    """The truth, and a window that should agree with it."""

    windows: WindowStore
    fence: Fence = field(default_factory=new_fence)
    viewer_id: UserId = field(default_factory=new_user)

    def __post_init__(self) -> None:
        self.authors = [self.viewer_id, *(new_user() for _ in range(AUTHORS - 1))]
        self.posts: dict[UserId, set[Place]] = {each: set() for each in self.authors}
        self.deleted = set[Place]()
        self.followed = {self.viewer_id}
        self.pulled = set[UserId]()
        self.build: Build | None = None
        self.truth: tuple[Source, set[UserId]] | None = None
        self.is_touched = False
        self.entered = set[Place]()  # since the window was made
        self.was_cut = False

    @property
    def pushed(self) -> set[UserId]:
        return self.followed - self.pulled

    def newest(self, *author_ids: UserId) -> Source:
        """As content_svc tells it: as many posts as a window takes."""
        places = newest_first({place for each in author_ids for place in self.posts[each]})
        if len(places) < SMALL_WINDOW:
            return Source(places, None)
        places = places[:SMALL_WINDOW]
        return Source(places, places[-1])

    def note(self, source: Source) -> Source:
        self.entered.update(source.places)
        self.was_cut |= source.floor is not None
        return source

    async def post(self, author: int, ms: int, number: int) -> None:
        author_id = self.authors[author]
        place = (MS + ms, PostId(bytes([number, author, ms]).ljust(ID_BYTES)))
        if place in self.deleted:
            return
        self.posts[author_id].add(place)
        if author_id in self.pushed:
            self.entered.add(place)
            await self.windows.deliver(self.fence, place, self.viewer_id)

    async def delete(self, author: int, pick: int, _: int) -> None:
        posts = self.posts[self.authors[author]]
        if posts:
            place = newest_first(posts)[pick % len(posts)]
            posts.discard(place)
            self.deleted.add(place)

    async def follow(self, author: int, *_: int) -> None:
        author_id = self.authors[author]
        self.followed.add(author_id)
        self.is_touched = True
        if author_id in self.pulled:
            await self.windows.set_pull(self.fence, self.viewer_id, author_id, on=True)
        else:
            source = self.note(self.newest(author_id))
            await self.windows.backfill(self.fence, self.viewer_id, author_id, source, unmark=True)

    async def unfollow(self, author: int, *_: int) -> None:
        author_id = self.authors[author]
        if author_id == self.viewer_id:
            return
        self.followed.discard(author_id)
        self.is_touched = True
        floor = (await self.windows.floor(self.viewer_id))[1]
        ids = [place[1] for place in self.posts[author_id] if floor is None or place >= floor]
        await self.windows.purge(self.fence, self.viewer_id, author_id, ids)

    async def change_tier(self, author: int, *_: int) -> None:
        author_id = self.authors[author]
        if author_id == self.viewer_id:
            return
        self.pulled ^= {author_id}
        if author_id in self.followed:
            await self.follow(author)

    async def forget(self, *_: int) -> None:
        await self.windows.forget(self.viewer_id, [post_id for _, post_id in self.deleted])

    async def begin(self, *_: int) -> None:
        if self.build is not None:
            return
        self.build = await self.windows.begin(self.viewer_id)
        self.truth, self.is_touched = None, False
        self.entered, self.was_cut = set(), False

    async def read_truth(self, *_: int) -> None:
        if self.build is not None and (build := await self.windows.regenerate(self.build)):
            self.build, self.is_touched = build, False
            pulled = self.followed & self.pulled
            self.truth = (self.newest(*self.followed - pulled), pulled)

    async def finish(self, *_: int) -> None:
        if self.build is None or self.truth is None:
            return
        source, pulled = self.truth
        is_done = await self.windows.finish(self.build, source, pulled)
        state = (await self.windows.floor(self.viewer_id))[0]
        if state is not WindowState.MISSING:
            assert is_done is not self.is_touched
        if is_done:
            self.note(source)
            self.build = None
            assert state is WindowState.READY

    async def evict(self, *_: int) -> None:
        await self.windows.evict(self.viewer_id)
        self.build = None

    async def check(self, limit: int) -> None:
        window = await self._read(limit)
        if window.state is not WindowState.READY:
            return
        source = window.source
        assert window.pull_author_ids == self.followed & self.pulled
        assert source.places == newest_first(set(source.places))
        assert len(source.places) <= SMALL_WINDOW
        if not self.was_cut and len(self.entered) < SMALL_WINDOW:
            assert source.floor is None
        pulled = {place for each in self.followed & self.pulled for place in self.posts[each]}
        true = {place for each in self.pushed for place in self.posts[each]}
        there = {place for place in true if source.floor is None or place >= source.floor}
        assert set(source.places) - self.deleted - pulled == there

    async def _read(self, limit: int) -> Window:
        """In pages."""
        places: list[Place] = []
        before = TOP
        while True:
            window = await self.windows.read(self.viewer_id, before, limit)
            places += window.source.places
            floor = window.source.floor
            if floor is None or not window.source.places:
                return Window(window.state, Source(places, floor), window.pull_author_ids)
            before = floor


DEEDS: Mapping[str, Callable[..., Awaitable[None]]] = {
    deed.__name__: deed
    for deed in (
        *(World.post, World.delete, World.follow, World.unfollow, World.change_tier),
        *(World.forget, World.begin, World.read_truth, World.finish, World.evict),
    )
}
OFTEN = ["post"] * 8 + ["read_truth", "finish"] * 3
deeds = st.tuples(
    st.sampled_from([*DEEDS, *OFTEN]),
    st.integers(0, AUTHORS - 1),
    st.integers(0, TIMES - 1),
    st.integers(0, 255),
)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(played=st.lists(deeds, max_size=DEEDS_MAX), limit=st.integers(1, SMALL_WINDOW + 1))
async def test_ready_windows_claim_what_is_true(
    feed_redis: FeedRedis, played: list[Deed], limit: int
) -> None:
    world = World(WindowStore(feed_redis))
    for each in (("begin", 0, 0, 0), ("read_truth", 0, 0, 0), ("finish", 0, 0, 0), *played):
        name, *choices = each
        await DEEDS[name](world, *choices)
        await world.check(limit)


async def test_ready_windows_are_what_is_usually_looked_at(feed_redis: FeedRedis) -> None:
    """The world's own first three deeds make one."""
    world = World(WindowStore(feed_redis))
    for deed in (world.begin, world.read_truth, world.finish):
        await deed()
    assert (await world._read(1)).state is WindowState.READY
