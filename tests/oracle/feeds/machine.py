"""The oracle: what people do and what goes wrong, in any order, against the truth.

Hypothesis draws the steps, and shrinks those that end in a difference. Everything happens in a
`World` on a loop of another thread; a step returns when all that it asked for was answered, and the
events that it caused are then still on their way. Only a rest waits for them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.oracle.feeds.deeds import KINDS, Act
from tests.oracle.feeds.play import Play, Turn
from tests.oracle.feeds.system import PARTITIONS
from tests.oracle.feeds.world import World

STEPS = 50
STEP_TIMEOUT_S = 60.0
# In Redis, of the fan-out and of rebuilds; empty = none.
SLOW_FUNCTIONS = ("", "deliver", "finish", "purge")

P = ParamSpec("P")

NUMBER = st.integers(0, 30)
TURN = st.tuples(NUMBER, st.integers(0, 150))
TURNS = st.lists(TURN, max_size=4)
ACTS = st.lists(st.builds(Act, st.sampled_from(KINDS), NUMBER, NUMBER), max_size=4)
AFTER_MS = st.integers(0, 50)
SOME_PARTITIONS = st.sets(st.integers(0, PARTITIONS - 1), min_size=1)
SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=5)


class HomeFeeds(RuleBasedStateMachine):
    """A small world of its own in a system that has seen others."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._world = world
        self._loop = loop
        self._play = Play(world)
        # Hypothesis does not stop by time: what it draws then is not done.
        self._is_idle = world.is_over

    @initialize(
        people=st.integers(5, 8),
        follows=st.lists(st.tuples(NUMBER, NUMBER), min_size=3, max_size=20),
        authors=st.lists(NUMBER, max_size=14),
        slow_function=st.sampled_from(SLOW_FUNCTIONS),
    )
    def begin(
        self,
        people: int,
        follows: Sequence[tuple[int, int]],
        authors: Sequence[int],
        slow_function: str,
    ) -> None:
        self._await(self._world.begin, slow_function)
        for _ in range(people):
            self._await(self._play.sign_up)
        for who, whom in follows:
            self._await(self._play.act, Act("Follow", who, whom))
        self._await(self._play.act, *(Act("Publish", who) for who in authors))
        self._await(self._play.everybody_reads, 1)

    @rule()
    def sign_up(self) -> None:
        self._await(self._play.sign_up)

    @rule(whos=st.lists(NUMBER, min_size=1, max_size=5))
    def publish(self, whos: Sequence[int]) -> None:
        self._await(self._play.act, *(Act("Publish", who) for who in whos))

    @rule(who=NUMBER, times=st.integers(2, 12))
    def publish_much(self, who: int, times: int) -> None:
        self._await(self._play.act, *(Act("Publish", who) for _ in range(times)))

    @rule(
        whom=NUMBER,
        posts=st.integers(1, 4),
        turns=TURNS,
        is_overtaken=st.booleans(),
    )
    def bustle(
        self,
        whom: int,
        posts: int,
        turns: Sequence[Turn],
        is_overtaken: bool,  # noqa: FBT001 drawn, and given by name
    ) -> None:
        """An author publishes, and while that is on its way some turn to them, or away."""
        self._await(self._play.bustle, whom, posts, turns, is_overtaken=is_overtaken)
        self._await(self._play.rest)

    @rule(who=NUMBER, what=NUMBER)
    def share(self, who: int, what: int) -> None:
        self._await(self._play.act, Act("Share", who, what))

    @rule(what=NUMBER)
    def edit(self, what: int) -> None:
        self._await(self._play.act, Act("Edit", what=what))

    @rule(whats=st.lists(NUMBER, min_size=1, max_size=4))
    def delete_posts(self, whats: Sequence[int]) -> None:
        self._await(self._play.act, *(Act("DeletePost", what=what) for what in whats))

    @rule(who=NUMBER, whom=NUMBER)
    def follow(self, who: int, whom: int) -> None:
        self._await(self._play.act, Act("Follow", who, whom))

    @rule(what=NUMBER)
    def unfollow(self, what: int) -> None:
        self._await(self._play.act, Act("Unfollow", what=what))

    @rule(whom=NUMBER)
    def become_large(self, whom: int) -> None:
        self._await(self._play.gather_followers, whom)

    @rule(whom=NUMBER)
    def become_small(self, whom: int) -> None:
        self._await(self._play.lose_followers, whom)

    @rule(who=NUMBER, whom=NUMBER)
    def block(self, who: int, whom: int) -> None:
        self._await(self._play.act, Act("Block", who, whom))

    @rule(what=NUMBER)
    def unblock(self, what: int) -> None:
        self._await(self._play.act, Act("Unblock", what=what))

    @rule(who=NUMBER, whom=NUMBER)
    def mute(self, who: int, whom: int) -> None:
        self._await(self._play.act, Act("Mute", who, whom))

    @rule(what=NUMBER)
    def unmute(self, what: int) -> None:
        self._await(self._play.act, Act("Unmute", what=what))

    @rule(who=NUMBER)
    def delete_user(self, who: int) -> None:
        self._await(self._play.act, Act("DeleteUser", who))

    @rule(acts=ACTS)
    def act_side_by_side(self, acts: Sequence[Act]) -> None:
        self._await(self._play.act, *acts)

    @rule(who=NUMBER, sizes=SIZES, meanwhile=st.lists(ACTS, max_size=4))
    def walk(self, who: int, sizes: Sequence[int], meanwhile: Sequence[Sequence[Act]]) -> None:
        """Begin to read a feed while others write."""
        self._await(self._play.begin_walk, who, sizes, meanwhile)

    @rule(size=st.integers(1, 7))
    def everybody_reads(self, size: int) -> None:
        """A page of each feed: who has no window gets one."""
        self._await(self._play.everybody_reads, size)

    @rule(which=NUMBER, sizes=SIZES, meanwhile=st.lists(ACTS, max_size=4))
    def walk_on(self, which: int, sizes: Sequence[int], meanwhile: Sequence[Sequence[Act]]) -> None:
        self._await(self._play.go_on, which, sizes, meanwhile)

    @rule(who=NUMBER, size=st.integers(1, 7), others=ACTS)
    def read_own_write(self, who: int, size: int, others: Sequence[Act]) -> None:
        """The post that one has just made is on the first page."""
        self._await(self._play.read_own_write, who, size, others)

    @rule()
    def rest(self) -> None:
        """All that was done arrives; then every feed is the truth."""
        self._await(self._play.rest)

    @rule(whose=NUMBER, how=st.sampled_from(["evict", "window", "companion"]), in_ms=AFTER_MS)
    def lose_window(self, whose: int, how: str, in_ms: int) -> None:
        """By the rpc, or one of its two keys ends."""
        self._await(self._play.lose_window, whose, how, in_ms)

    @rule(
        whose=NUMBER,
        turns=TURNS,
        authors=st.lists(NUMBER, max_size=3),
        is_overtaken=st.booleans(),
    )
    def rebuild(
        self,
        whose: int,
        turns: Sequence[Turn],
        authors: Sequence[int],
        is_overtaken: bool,  # noqa: FBT001 drawn, and given by name
    ) -> None:
        """While the owner turns to some and away from others, and while some publish."""
        self._await(self._play.rebuild, whose, turns, authors, is_overtaken=is_overtaken)
        self._await(self._play.rest)

    @rule()
    def flush(self) -> None:
        self._await(self._world.flush)

    @rule()
    def cut(self) -> None:
        self._await(self._world.cut)

    @rule(what=st.sampled_from(["add", "kill", "thaw"]))
    def change_workers(self, what: str) -> None:
        self._await(self._world.change_workers, what)

    @rule(after_calls=st.integers(0, 12))
    def freeze_worker(self, after_calls: int) -> None:
        """What a worker has begun it ends much later, when another one is at its work."""
        self._await(self._world.freeze_worker, after_calls)

    @rule(
        whom=NUMBER,
        posts=st.integers(1, 3),
        turns=st.lists(TURN, min_size=1, max_size=4),
        after_calls=st.integers(0, 1),
        function=st.sampled_from(["deliver", "deliver", "backfill", "purge"]),
    )
    def wake_late(
        self, whom: int, posts: int, turns: Sequence[Turn], after_calls: int, function: str
    ) -> None:
        """What a worker was about to do has been done since, and some of it undone."""
        self._await(self._world.freeze_worker, after_calls, function)
        self._await(self._play.bustle, whom, posts, turns, is_overtaken=False)
        self._await(self._world.settle)
        self._await(self._world.change_workers, "thaw")
        self._await(self._play.rest)

    @rule(
        count=st.integers(1, 12),
        how=st.sampled_from(["repeat", "rewind"]),
        partitions=SOME_PARTITIONS,
    )
    def deliver_again(self, count: int, how: str, partitions: set[int]) -> None:
        """The last events come again behind all others, or the workers begin further back."""
        self._await(self._world.deliver_again, count, how, sorted(partitions))

    @rule(
        who=NUMBER,
        times=st.integers(5, 10),
        taken_back=st.integers(1, 5),
        partitions=SOME_PARTITIONS,
    )
    def repent(self, who: int, times: int, taken_back: int, partitions: set[int]) -> None:
        """Windows have lost what made them full; then they are told of older posts again."""
        self._await(self._play.repent, who, times, taken_back)
        self._await(self._world.deliver_again, times, "repeat", sorted(partitions))
        self._await(self._play.rest)

    @rule(
        whose=NUMBER,
        how=st.sampled_from(["evict", "window", "companion"]),
        count=st.integers(1, 12),
        partitions=SOME_PARTITIONS,
    )
    def deliver_to_nobody(self, whose: int, how: str, count: int, partitions: set[int]) -> None:
        """Somebody has no window when they are told of older posts again."""
        self._await(self._world.settle)
        self._await(self._play.lose_window, whose, how, 0)
        self._await(self._world.deliver_again, count, "repeat", sorted(partitions))
        self._await(self._play.rest)

    def teardown(self) -> None:
        self._await(self._play.end)
        self._world.runs += not self._is_idle

    def _await(
        self, work: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Do it on the world's loop; what goes wrong carries the whole story with it."""
        if self._is_idle:
            return
        self._play.story.tell(f"{work.__name__}{args}")
        waiting = asyncio.run_coroutine_threadsafe(work(*args, **kwargs), self._loop)
        try:
            waiting.result(STEP_TIMEOUT_S)
        except BaseException as error:
            waiting.cancel()
            self._is_idle = True
            self._world.failure = self._world.failure or error
            error.add_note(self._play.story.told(error))
            raise
        self._world.steps += 1
