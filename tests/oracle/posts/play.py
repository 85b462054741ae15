"""A run of the oracle of content_svc: bursts of deeds and mishaps, and after them a rest.

At rest all that happened has arrived, and what was to be purged is gone: then the answers, the
events, the collections and what the read rpcs say are held against each other.
"""

import asyncio
import itertools
import random
import time
from bisect import bisect_left
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
from newsfeed.content.v1 import content_service_pb2 as pb
from newsfeed.user.v1 import user_service_pb2 as user_pb

from svckit.errors import DomainError
from tests.oracle.posts.deeds import (
    IN_PLAY,
    LATE,
    OK,
    TAGS,
    UNKNOWN,
    WORDS,
    Deed,
    Draw,
    told_ms,
)
from tests.oracle.posts.effects import check_effects
from tests.oracle.posts.reads import Listing, Look, Walk
from tests.oracle.posts.replica import Replica, expect, expect_same
from tests.oracle.posts.system import System
from tests.oracle.posts.truth import Round, check_answers
from tests.oracle.shared.story import Story
from tests.polling import until
from tests.requests.refusals import refusal_of
from tests.stacks.content_stack import Author
from tests.stacks.feed_stack import MEMORY_AGE_S

if TYPE_CHECKING:
    from uuid import UUID

PEOPLE = 6
BURSTS_MAX = 3
WALKS_MAX = 4
BURSTS_S = (0.005, 0.08)  # all nearly at once, or one after another
MISHAPS_S = 0.2  # events come later than deeds
SETTLE_TIMEOUT_S = 20.0
SESSION_S = 300.0  # a third of the life of an access token
BLOCKS_MAX = 4
POSTS_LOOKED_AT = 8
LEAVE_SHARE = 0.05
PURGE_SHARE = 0.7
DAY_SHARE = 0.1
PAGE_SIZES = (1, 2, 3, 5, 10, 100)
MISHAPS = {
    "kill mongod": 0.06,
    "flush bus": 0.12,
    "cut bus": 0.1,
    "kill relays": 0.2,
    "stop relays": 0.05,
    "start relays": 0.1,
    "kill readers": 0.2,
    "stop readers": 0.05,
    "start readers": 0.1,
    "kill listeners": 0.05,
}


class Play:
    """What is done comes from the seed; how it meets, from the machine."""

    def __init__(self, system: System, seed: int) -> None:
        self.story = Story()
        self.rounds = self.deeds = self.acknowledged = 0
        self._system = system
        self._contents = system.contents
        self._draw = Draw(seed)
        self._dice = random.Random(seed)  # for all that does not come from the seed alone
        self._members: dict[str, Author] = {}
        self._blocks: set[frozenset[str]] = set()
        self._left: set[str] = set()
        self._replica = Replica()
        self._taken = 0  # of the arrivals
        self._recorded: set[UUID] = set()
        self._moments = itertools.count()
        self._quiet_ms: list[int] = []  # times at which nothing was under way
        self._logged_in_s = time.monotonic()

    async def begin(self) -> None:
        moderator = await self._contents.moderator()
        self._members[moderator.user_id] = moderator
        self._draw.moderator_id = moderator.user_id
        await self._fill_up()

    async def _fill_up(self) -> None:
        while len(self._draw.people) < PEOPLE:
            person = await self._contents.sign_up()
            self._members[person.user_id] = person
            self._draw.people.append(person)
            self.story.name_person(person.user_id)

    async def round(self) -> None:
        if time.monotonic() > self._logged_in_s + SESSION_S:
            await self._log_in_again()
        await self._change_blocks()
        before, deeds, walks = self._replica.copy(), list[Deed](), list[Walk]()
        for _ in range(self._draw.random.randint(1, BURSTS_MAX)):
            await self._burst(deeds, walks)
        await self._rest()
        done = Round(before, self._replica, deeds, self._blocks, self._draw.moderator_id)
        check_answers(done)
        check_effects(done)
        for each in walks:
            each.check(before, self._replica, self._hidden_from(each.viewer))
        await self._look_at_all()
        await self._fill_up()
        self._draw.narrow(self._replica.posts)
        self.rounds += 1
        self.deeds += len(deeds)
        self.acknowledged += sum(deed.says == OK for deed in deeds)

    async def _log_in_again(self) -> None:
        """Everybody who is here, before their access tokens end."""
        self._logged_in_s = time.monotonic()
        people = [each.user_id for each in self._draw.people]
        for user_id in (*people, self._draw.moderator_id):
            person = await self._contents.people.log_in(self._members[user_id].person)
            self._members[user_id] = self._contents.author(person)
        self._draw.people = [self._members[user_id] for user_id in people]

    async def _change_blocks(self) -> None:
        """Somebody blocks somebody, or no longer does."""
        here = {each.user_id for each in self._draw.people}
        self._blocks = {pair for pair in self._blocks if pair <= here}
        one, other = self._draw.random.sample(self._draw.people, 2)
        pair = frozenset({one.user_id, other.user_id})
        if pair not in self._blocks and len(self._blocks) < BLOCKS_MAX:
            await one.person.act("Block", other.person)
            self._blocks.add(pair)
        elif pair in self._blocks:
            await one.person.act("Unblock", other.person)
            await other.person.act("Unblock", one.person)
            self._blocks.remove(pair)

    def _hidden_from(self, viewer: Author) -> frozenset[str]:
        mine = [pair for pair in self._blocks if viewer.user_id in pair]
        return frozenset().union(*mine) - {viewer.user_id}

    async def _burst(self, deeds: list[Deed], walks: list[Walk]) -> None:
        draw = self._draw.random
        new = self._draw.burst()
        if draw.random() < LEAVE_SHARE:
            new.append(self._draw.leave())
        mishaps = [name for name, share in MISHAPS.items() if draw.random() < share]
        looks = [self._draw_walk() for _ in range(draw.randint(0, WALKS_MAX))]
        self.story.tell(f"burst, with {mishaps}")
        befall, burst_s = self._system.befall, draw.choice(BURSTS_S)
        post_ids = [*dict.fromkeys(post.post_id for post in self._draw.posts[-IN_PLAY:])]
        work: list[Coroutine[None, None, None]] = [
            *(self._do(deed) for deed in new),
            *(each.go(self._sizes()) for each in looks),
            *(self._warm(post_ids) for _ in range(3)),
        ]
        await asyncio.gather(
            *(self._later(draw.uniform(0, burst_s), each) for each in work),
            *(self._later(draw.uniform(0, MISHAPS_S), befall(each)) for each in mishaps),
        )
        deeds += new
        walks += looks
        left = {deed.who for deed in new if isinstance(deed.request, user_pb.DeleteUserRequest)}
        self._left |= left
        self._draw.people = [each for each in self._draw.people if each.user_id not in left]
        if "kill mongod" not in mishaps and not any(deed.says in UNKNOWN for deed in new):
            await self._be_quiet()
        # An edit that nobody waited for is in the cache for as long as one of another process.
        if not self._left and not any(deed.says in UNKNOWN for deed in deeds):
            await self._look_before_rest(post_ids)

    async def _later(self, delay_s: float, work: Coroutine[None, None, None]) -> None:
        await asyncio.sleep(delay_s)
        await work

    async def _do(self, deed: Deed) -> None:
        member, name = self._members[deed.who], type(deed.request).__name__
        calls = member.person.users if name == "DeleteUserRequest" else member.calls
        deed.begun = next(self._moments)
        try:
            call = getattr(calls, name.removesuffix("Request"))
            answer = await call(deed.request, timeout=deed.patience_s)
        except grpc.aio.AioRpcError as error:
            is_late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            deed.says = LATE if is_late else refusal_of(error).reason
        else:
            deed.says, deed.told_ms = OK, told_ms(answer)
        if deed.says not in UNKNOWN:
            deed.ended = next(self._moments)
        self.story.tell(deed)
        if isinstance(deed.request, pb.DeletePostRequest) and self._dice.random() < PURGE_SHARE:
            await self._purge()

    async def _purge(self) -> None:
        with suppress(DomainError):
            while await self._contents.app.maintenance.purge():
                pass

    async def _warm(self, post_ids: list[str]) -> None:
        with suppress(grpc.aio.AioRpcError):
            await self._look().batch(post_ids)

    async def _be_quiet(self) -> None:
        now_ms = self._contents.clock()
        await until(lambda: self._contents.clock() > now_ms)
        self._quiet_ms.append(now_ms)

    async def _look_before_rest(self, post_ids: list[str]) -> None:
        """What was acknowledged is seen at once, what is deleted before it is purged."""
        look = self._look()
        expected = await look.one_by_one(post_ids)
        expect_same("BatchGetPosts", await look.batch(post_ids), expected)
        references = await look.references({post.author_id for post in expected.values()})
        listed = {post_id for _, post_id in references}.intersection(post_ids)
        expect(listed == expected.keys(), f"ListPostsByAuthors: {listed}, not {[*expected]}")

    async def _rest(self) -> None:
        """Everything arrives, and all that is to be purged is."""
        self.story.tell("rest")
        self._system.start_missing()
        await until(lambda: not self._is_at_work(), SETTLE_TIMEOUT_S)
        await self._arrive()
        await self._contents.purge()
        await self._arrive()
        self._system.age_clock.ahead_s += MEMORY_AGE_S
        expect(not await self._system.bus_redis.xlen("bus:dead"), "events were set aside")
        expect(self._system.arrivals.ids == self._recorded, "events that nobody has written")
        for event in self._system.arrivals.events[self._taken :]:
            self._replica.take(
                event, bisect_left(self._quiet_ms, event.occur_time.ToMilliseconds())
            )
        self._taken = len(self._system.arrivals.events)
        if self._draw.random.random() < DAY_SHARE:
            await self._contents.app.mongo.collection("outbox").delete({"is_published": True})

    def _is_at_work(self) -> bool:
        """What nobody waits for any more goes on for a moment."""
        creating = self._contents.app.posts._creations._together._task
        is_creating = creating is not None and not creating.done()
        return is_creating or bool(self._contents.app.mongo._ending)

    async def _arrive(self) -> None:
        """Purges are begun only once it is known who has left."""
        system = self._system
        outbox = self._contents.app.mongo.collection("outbox")
        with suppress(TimeoutError):
            await until(lambda: self._left <= system.leavers.ids, SETTLE_TIMEOUT_S)
            self._recorded |= {each["_id"] for each in await outbox.find({}, fields={"_id": 1})}
            await until(lambda: self._recorded <= system.arrivals.ids, SETTLE_TIMEOUT_S)
        lost, unheard = self._recorded - system.arrivals.ids, self._left - system.leavers.ids
        expect(not lost and not unheard, f"never arrived: {lost} {unheard}")
        self._left.clear()

    def _look(self) -> Look:
        return Look(self._contents, self._replica, self._sizes())

    async def _look_at_all(self) -> None:
        look = self._look()
        await look.check_collections()
        await look.check_posts()
        viewer = self._dice.choice(self._draw.people)
        await look.check_lists(viewer, self._listings(), self._hidden_from(viewer))
        await look.check_viewer_state(viewer.user_id)

    def _listings(self) -> list[Listing]:
        posts = [*self._replica.posts]
        some = self._dice.sample(posts, min(len(posts), POSTS_LOOKED_AT))
        return [
            *(pb.ListPostsByAuthorRequest(user_id=each.user_id) for each in self._draw.people),
            *(pb.ListPostsByTagRequest(tag=tag) for tag in TAGS),
            *(pb.SearchPostsRequest(query=word) for word in WORDS),
            pb.SearchPostsRequest(query=" ".join(WORDS[:2])),
            *(pb.ListCommentsRequest(post_id=post_id) for post_id in some),
            *(pb.ListLikesRequest(post_id=post_id) for post_id in some),
        ]

    def _draw_walk(self) -> Walk:
        viewer = self._dice.choice(self._draw.people)
        return Walk(viewer, self._dice.choice(self._listings()))

    def _sizes(self) -> Iterator[int]:
        while True:
            yield self._dice.choice(PAGE_SIZES)
