"""One run of the oracle: a few people in a `World`, what they do, and what is true of it."""

import asyncio
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import TypeAlias

from tests.oracle.feeds.deeds import Act, are_apart, deed_of, pick
from tests.oracle.feeds.truth import Deed, DeletePost, Motion, Publish, Relate, Truth
from tests.oracle.feeds.walks import Walk, check_feed, check_own, whole_feed
from tests.oracle.feeds.world import Refused, World
from tests.oracle.shared.graph_model import Edge
from tests.oracle.shared.story import Story

PEOPLE_MAX = 8
OVERTAKING_S = 0.2
PAGE_SIZES = (1, 2, 3, 4, 5, 6, 7, 12, 20, 100)


Turn: TypeAlias = tuple[int, int]
"""Somebody who turns to others or away, and after how many milliseconds."""


class Play:
    """Sees that truth and motion know of each deed when it is sent and when it is answered."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.truth = Truth()
        self.story = Story()
        self._motion = Motion(self.truth)
        self._walks: list[Walk] = []
        self._sizes = random.Random(1)

    async def sign_up(self) -> None:
        if len(self.truth.people) == PEOPLE_MAX:
            return
        user_id = await self.world.sign_up()
        self.story.name_person(user_id)
        self.story.tell(f"{user_id} signs up")
        self._motion.sign_up(user_id)

    def person(self, number: int) -> str:
        return pick(self.truth.people, number)

    async def act(self, *acts: Act) -> None:
        """All at once, those that are possible."""
        await self.do(*(deed_of(act, self.truth) for act in acts))

    async def do(self, *deeds: Deed | None) -> None:
        """All at once, but for those that would get into the way of others."""
        chosen: list[Deed] = []
        for deed in deeds:
            if deed is not None and are_apart(chosen, deed):
                chosen.append(deed)
        await asyncio.gather(*(self._do(deed, is_alone=len(chosen) == 1) for deed in chosen))

    async def _do(self, deed: Deed, *, is_alone: bool) -> None:
        if isinstance(deed, Publish):
            self.story.name_post(deed.post_id)
        self.story.tell(f"  {deed}")
        self._motion.begin(deed)
        try:
            create_time_ms = await self.world.do(deed)
        except Refused:
            if is_alone:
                raise
            self.story.tell(f"  refused: {deed}")
            self._motion.refused(deed)
        else:
            self._motion.end(deed, create_time_ms)

    async def gather_followers(self, whom: int) -> None:
        """Everybody who may follows an author."""
        target_id = self.person(whom)
        blocks = self.truth.graph.blocks
        others = [each for each in self.truth.people if each != target_id]
        free = [each for each in others if not {(each, target_id), (target_id, each)} & blocks]
        await self.do(*(Relate(each, "Follow", target_id) for each in free))

    async def lose_followers(self, whom: int) -> None:
        target_id = self.person(whom)
        followers = self.truth.graph.followers(target_id)
        await self.do(*(Relate(each, "Unfollow", target_id) for each in followers))

    async def bustle(
        self, whom: int, posts: int, turns: Sequence[Turn], *, is_overtaken: bool
    ) -> None:
        """Mostly about a small author; half of those who turn are followers.

        With `is_overtaken` all that may happen before the deliveries does.
        """
        graph = self.truth.graph
        small = [each for each in self.truth.people if len(graph.followers(each)) in {1, 2}]
        author_id = pick(small or self.truth.people, whom)
        followers = graph.followers(author_id) or self.truth.people
        author = self.truth.people.index(author_id)
        turning = [
            (pick(self.truth.people if who % 2 else followers, who // 2), at_ms)
            for who, at_ms in turns
        ]
        with self.world.hold_up_deliveries(author_id) if is_overtaken else nullcontext():
            await self.act(*(Act("Publish", author) for _ in range(posts)))
            await self._take_turns([((who, author_id), at_ms) for who, at_ms in turning])
            if is_overtaken:
                await asyncio.sleep(OVERTAKING_S)

    async def repent(self, who: int, times: int, taken_back: int) -> None:
        """Somebody publishes much, and takes some of it back; all of that arrives."""
        await self.act(*(Act("Publish", who) for _ in range(times)))
        author_id = self.person(who)
        own = [post for post in self.truth.posts.values() if post.author_id == author_id]
        await self.do(*(DeletePost(author_id, post.post_id) for post in own[-taken_back:]))
        await self.world.settle()

    async def rebuild(
        self, whose: int, turns: Sequence[Turn], authors: Sequence[int], *, is_overtaken: bool
    ) -> None:
        """With `is_overtaken` all that may happen before the build ends does."""
        who = self.person(whose)
        with self.world.hold_up_builds() if is_overtaken else nullcontext():
            building = asyncio.create_task(self.world.rebuild(who))
            await asyncio.gather(
                self._take_turns([((who, self.person(whom)), at_ms) for whom, at_ms in turns]),
                self.act(*(Act("Publish", author) for author in authors)),
            )
            if is_overtaken:
                await asyncio.sleep(OVERTAKING_S)
        await building

    async def _take_turns(self, turns: Iterable[tuple[Edge, int]]) -> None:
        """One after another, each so many milliseconds from now."""
        began_s = time.monotonic()
        for (who, whom), at_ms in sorted(turns, key=lambda turn: turn[1]):
            await asyncio.sleep(at_ms / 1000 - (time.monotonic() - began_s))
            await self.do(self._turn(who, whom))

    def _turn(self, who: str, whom: str) -> Relate | None:
        """To them, or away from them."""
        graph = self.truth.graph
        if who == whom or graph.blocks & {(who, whom), (whom, who)}:
            return None
        return Relate(who, "Unfollow" if (who, whom) in graph.follows else "Follow", whom)

    async def begin_walk(
        self, who: int, sizes: Sequence[int], acts: Sequence[Sequence[Act]]
    ) -> None:
        walk = self._walk(self.person(who))
        self._walks.append(walk)
        await self._read(walk, sizes, acts)

    async def everybody_reads(self, size: int) -> None:
        walks = [self._walk(viewer_id) for viewer_id in self.truth.people]
        self._walks += walks
        await asyncio.gather(*(self._read(walk, [size], []) for walk in walks))

    async def go_on(self, which: int, sizes: Sequence[int], acts: Sequence[Sequence[Act]]) -> None:
        people = self.truth.people
        self._walks = [each for each in self._walks if each.viewer_id in people and each.has_more]
        if self._walks:
            await self._read(pick(self._walks, which), sizes, acts)

    def _walk(self, viewer_id: str) -> Walk:
        return Walk(viewer_id, self.world.reader(viewer_id), self._motion)

    async def _read(self, walk: Walk, sizes: Sequence[int], acts: Sequence[Sequence[Act]]) -> None:
        """Page by page, and beside each page what others do meanwhile."""
        for number, size in enumerate(sizes):
            meanwhile = acts[number] if number < len(acts) else ()
            page, _ = await asyncio.gather(walk.turn(size), self.act(*meanwhile))
            self.story.tell(f"{walk.viewer_id} reads {[post.post_id for post in page]}")
            if not walk.has_more:
                return

    async def read_own_write(self, who: int, size: int, others: Sequence[Act]) -> None:
        own = deed_of(Act("Publish", who), self.truth)
        assert isinstance(own, Publish)
        await self.do(own, *(deed_of(act, self.truth) for act in others))
        page = await self._walk(own.who).turn(size, own.post_id)
        check_own(page, size, self.truth.posts[own.post_id])

    async def lose_window(self, whose: int, how: str, in_ms: int) -> None:
        if how == "evict":
            await self.world.evict(self.person(whose))
        else:
            await self.world.expire(self.person(whose), how, in_ms)

    async def rest(self) -> None:
        """Everything arrives; then every feed is what it has to be."""
        self.story.tell("rest")
        await self.world.settle()
        for walk in self._walks:
            walk.narrow()
        self._motion.rest()
        await asyncio.gather(*map(self._compare, self.truth.people))

    async def end(self) -> None:
        """A last rest, in which every feed is read hot, cold and newly built."""
        await self.world.change_workers("thaw")
        await self.rest()
        await asyncio.gather(*map(self._compare_cold_and_new, self.truth.people))

    async def _compare_cold_and_new(self, viewer_id: str) -> None:
        await self.world.evict(viewer_id)
        await self._compare(viewer_id)
        await self.world.rebuild(viewer_id)
        await self._compare(viewer_id)

    async def _compare(self, viewer_id: str) -> None:
        self.story.tell(f"compare the feed of {viewer_id}")
        read = self.world.reader(viewer_id)
        check_feed(await whole_feed(viewer_id, read, self._page_sizes()), self.truth, viewer_id)

    def _page_sizes(self) -> Iterator[int]:
        while True:
            yield self._sizes.choice(PAGE_SIZES)
