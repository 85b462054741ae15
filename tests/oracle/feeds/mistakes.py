"""Does the oracle bite? Mistakes that one could make, each of which it has to find.

    python -m tests.oracle.feeds.mistakes [--seconds N] [--part K/N] [words of names ...]

Each mistake is a change of the text of one file. It is made in a copy of the package that comes
first on the path of a process of its own, which then hunts until it finds a difference.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from redis.asyncio import Redis

from devstack import mongo, postgres, valkey
from devstack.stores import throwaway
from tests.oracle.feeds.hunt import FIND, hunt
from tests.oracle.feeds.system import Stores, open_system
from tests.oracle.feeds.walks import Difference
from tests.oracle.feeds.world import World
from tests.oracle.shared.mistakes import (
    ERRORS_SHOWN,
    ROOT,
    Edit,
    Mistake,
    Tally,
    chosen,
    made,
    mistake,
    parser_of,
    tell,
)

SECONDS = 600.0

MISTAKES = (
    mistake(
        "a follow is in the lane of the follower",
        "user_svc/events.py",
        '_record(followee_id, "Follow',
        '_record(follower_id, "Follow',
    ),
    mistake(
        "purge forgotten",
        "feed_svc/fanout.py",
        "await self._purge(fence, viewer_id, author_id)",
        "pass",
    ),
    mistake(
        "backfill forgotten",
        "feed_svc/fanout.py",
        "await self._backfill(fence, viewer_id, author_id)",
        "pass",
    ),
    mistake(
        "one's own window forgotten",
        "feed_svc/fanout.py",
        "await deliver(author_id)",
        "pass",
    ),
    mistake(
        "only the first batch of followers",
        "feed_svc/followers.py",
        "for start in range(0, len(chunk), step):",
        "for start in range(0, min(step, len(chunk)), step):",
    ),
    mistake(
        "the event is believed, not the present truth",
        "feed_svc/fanout.py",
        "if not is_following:",
        "if is_following and False:",
    ),
    mistake(
        "an edit does not reach the cache",
        "feed_svc/fanout.py",
        "await self._caches.posts.put(fence, post.post_id, latest.encoded if latest else GONE)",
        "pass",
    ),
    mistake(
        "deleted posts shown from the cache",
        "feed_svc/fanout.py",
        "await self._caches.posts.put(fence, post_id, GONE)",
        "pass",
    ),
    mistake(
        "recents lack the new post",
        "feed_svc/fanout.py",
        "if new is None or await self._authors.add(fence, author_id, new):",
        "if True:",
    ),
    mistake(
        "push to pull: followers are not told",
        "feed_svc/tiers.py",
        "await self._windows.set_pull(fence, viewer_ids, author_id, on=True)",
        "pass",
    ),
    mistake(
        "pull to push: no catch-up",
        "feed_svc/tiers.py",
        "await self._windows.backfill(fence, viewer_ids, author_id, recents, unmark=True)",
        "await self._windows.set_pull(fence, viewer_ids, author_id, on=False)",
    ),
    mistake(
        "who follows a pulled author is not told",
        "feed_svc/fanout.py",
        "await self._windows.set_pull(fence, viewer_id, author_id, on=True)",
        "pass",
    ),
    mistake(
        "a build forgets who is pulled",
        "feed_svc/rebuild.py",
        "return await self._windows.finish(build, source, pulled)",
        "return await self._windows.finish(build, source, ())",
    ),
    Mistake(
        "a build does not see that the window was purged",
        (
            Edit(
                "feed_svc/lua/builds.lua",
                "or redis.call('HGET', companion, 'generation') ~= args[2]",
                "or false",
            ),
            Edit(
                "feed_svc/fanout.py",
                "if state is WindowState.READY and is_covered:",
                "if is_covered:",
            ),
        ),
    ),
    mistake(
        "a build forgets what was delivered meanwhile",
        "feed_svc/lua/builds.lua",
        "  merge(window, source, args[4])\n",
        "  redis.call('ZREMRANGEBYRANK', window, 0, -2)\n  merge(window, source, args[4])\n",
    ),
    mistake(
        "what is merged in pretends completeness",
        "feed_svc/lua/places.lua",
        "local is_nearer = source_score\n    and is_behind(",
        "local is_nearer = false and is_behind(",
    ),
    mistake(
        "the floor ignored on delivery",
        "feed_svc/lua/windows.lua",
        "if floor_member and not is_behind(score_number, member, floor_score, floor_member) then",
        "if floor_member then",
    ),
    mistake(
        "delivery makes windows",
        "feed_svc/lua/windows.lua",
        "if floor_member and not is_behind(score_number, member, floor_score, floor_member) then",
        "if not floor_member\n"
        "      or not is_behind(score_number, member, floor_score, floor_member) then",
    ),
    mistake(
        "the sentinel survives the trim",
        "feed_svc/lua/places.lua",
        "redis.call('ZREMRANGEBYRANK', key, entries_max, -1)",
        "redis.call('ZREMRANGEBYRANK', key, entries_max, -2)",
    ),
    mistake(
        "half a window counts",
        "feed_svc/lua/windows.lua",
        "return redis.call('EXISTS', window) == 1\n    and redis.call(",
        "return redis.call(",
    ),
    mistake(
        "the mark of a pulled author survives the purge",
        "feed_svc/lua/windows.lua",
        "    redis.call('HDEL', keys[3], args[3])\n",
        "",
    ),
    mistake(
        "the fence ignored",
        "feed_svc/lua/fences.lua",
        "if highest > number then",
        "if false then",
    ),
    mistake(
        "merged below the floor of a source",
        "feed_svc/candidates.py",
        "or (floor is not None and place < floor)",
        "",
    ),
    mistake(
        "doubles not dropped",
        "feed_svc/candidates.py",
        "if not places or place != places[-1]:",
        "if True:",
    ),
    mistake(
        "no cold read below the floor",
        "feed_svc/candidates.py",
        "if len(places) < wanted and hot.floor is not None:",
        "if False:",
    ),
    mistake(
        "the cold path without own posts",
        "feed_svc/candidates.py",
        "(followee_ids | {viewer.viewer_id})",
        "followee_ids",
    ),
    mistake(
        "hidden people not looked for",
        "feed_svc/home.py",
        "if not hidden_ids:",
        "if True:",
    ),
    mistake(
        "shares of hidden people shown",
        "feed_svc/home.py",
        "if item.author_id not in hidden_ids and item.shared_author_id not in hidden_ids",
        "if item.author_id not in hidden_ids",
    ),
    mistake(
        "a short page is the end",
        "feed_svc/home.py",
        "return HomePage(encoded, places, place,",
        "return HomePage(encoded, places, place if len(items) == size else None,",
    ),
    mistake(
        "the token skips what was filled in too much",
        "feed_svc/home.py",
        "items[-1].place if len(kept) > wanted else found.next_place",
        "found.next_place",
    ),
    mistake(
        "the cursor goes by time alone",
        "feed_svc/servicer.py",
        "before = (time_ms, PostId(bytes.fromhex(post_id)))",
        "before = (time_ms, PostId(bytes(16)))",
    ),
    mistake(
        "one's own write is not shown",
        "feed_svc/home.py",
        "if own is not None:",
        "if False:",
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What a hunt has come to."""

    found: str
    steps: int
    runs: int
    seconds: float


async def run(mistakes: Sequence[Mistake], seconds: float) -> int:
    """Returns the exit code: 0 = all were found."""
    tally = Tally(mistakes)
    async with (
        throwaway(postgres.STORE) as postgres_dsn,
        throwaway(mongo.STORE) as mongodb_url,
        throwaway(valkey.STORE) as feed_url,
        throwaway(valkey.STORE) as bus_url,
    ):
        stores = Stores(postgres_dsn, mongodb_url, feed_url, bus_url)
        for each in mistakes:
            outcome = await _hunt_apart(each, stores, seconds)
            details = (
                f"{outcome.runs:4} runs {outcome.steps:6} steps {outcome.seconds:4.0f} s "
                f"{outcome.found[:90]!r}"
            )
            tally.note(each, details, is_caught=bool(outcome.found))
    return tally.end()


async def _hunt_apart(mistake: Mistake, stores: Stores, seconds: float) -> Outcome:
    """In a process that has the mistake."""
    with made(mistake) as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            __spec__.name,
            "--hunt-in",
            json.dumps(asdict(stores)),
            "--seconds",
            str(seconds),
            env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{mistake.name}: {errors.decode()[-ERRORS_SHOWN:]}")
    return Outcome(**json.loads(told.splitlines()[-1]))


async def hunt_here(stores: Stores, seconds: float) -> Outcome:
    """In this process, whatever is wrong with it."""
    for url in (stores.feed_url, stores.bus_url):
        async with Redis.from_url(url) as redis:
            await redis.flushall()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        async with open_system(stores, Path(folder)) as system:
            world = World(system)
            try:
                await hunt(world, seconds, FIND)
            except Exception:
                # Hypothesis has tried it once more, and may have got something else.
                if not isinstance(world.failure, Difference):
                    raise
            found = "" if world.failure is None else str(world.failure)
            return Outcome(found, world.steps, world.runs, time.monotonic() - began_s)


def main() -> None:
    parser = parser_of("tests.oracle.feeds.mistakes", SECONDS)
    parser.add_argument("--hunt-in", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.hunt_in:
        stores = Stores(**json.loads(arguments.hunt_in))
        tell(json.dumps(asdict(asyncio.run(hunt_here(stores, arguments.seconds)))))
    else:
        mistakes = chosen(MISTAKES, arguments)
        sys.exit(asyncio.run(run(mistakes, arguments.seconds)))


if __name__ == "__main__":
    main()
