"""Does the oracle bite? Mistakes that one could make, each of which it has to find.

    python -m tests.oracle.feeds.mistakes [--seconds N] [words of names ...]

Each mistake is a change of the text of one file. It is made in a copy of the package that comes
first on the path of a process of its own, which then hunts until it finds a difference.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from redis.asyncio import Redis

from devstack import mongo, postgres, valkey
from devstack.stores import throwaway
from tests.oracle.feeds.hunt import FIND, hunt
from tests.oracle.feeds.system import Stores, open_system
from tests.oracle.feeds.walks import Difference
from tests.oracle.feeds.world import World

ROOT = Path(__file__).parents[3]
SECONDS = 600.0
ERRORS_SHOWN = 5_000


@dataclass(frozen=True)
class Edit:
    file: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Mistake:
    name: str
    edits: tuple[Edit, ...]


def _mistake(name: str, file: str, right: str, wrong: str) -> Mistake:
    return Mistake(name, (Edit(file, right, wrong),))


MISTAKES = (
    _mistake(
        "a follow is in the lane of the follower",
        "user_svc/events.py",
        '_record(followee_id, "Follow',
        '_record(follower_id, "Follow',
    ),
    _mistake(
        "purge forgotten",
        "feed_svc/fanout.py",
        "await self._purge(fence, viewer_id, author_id)",
        "pass",
    ),
    _mistake(
        "backfill forgotten",
        "feed_svc/fanout.py",
        "await self._backfill(fence, viewer_id, author_id)",
        "pass",
    ),
    _mistake(
        "one's own window forgotten",
        "feed_svc/fanout.py",
        "await deliver(author_id)",
        "pass",
    ),
    _mistake(
        "only the first batch of followers",
        "feed_svc/followers.py",
        "for start in range(0, len(chunk), step):",
        "for start in range(0, min(step, len(chunk)), step):",
    ),
    _mistake(
        "the event is believed, not the present truth",
        "feed_svc/fanout.py",
        "if not is_following:",
        "if is_following and False:",
    ),
    _mistake(
        "an edit does not reach the cache",
        "feed_svc/fanout.py",
        "await self._caches.put_post(fence, post.post_id, latest.encoded if latest else GONE)",
        "pass",
    ),
    _mistake(
        "deleted posts shown from the cache",
        "feed_svc/fanout.py",
        "await self._caches.put_post(fence, post_id, GONE)",
        "pass",
    ),
    _mistake(
        "recents lack the new post",
        "feed_svc/fanout.py",
        "if new is None or await self._authors.add(fence, author_id, new):",
        "if True:",
    ),
    _mistake(
        "push to pull: followers are not told",
        "feed_svc/tiers.py",
        "await self._windows.set_pull(fence, viewer_ids, author_id, on=True)",
        "pass",
    ),
    _mistake(
        "pull to push: no catch-up",
        "feed_svc/tiers.py",
        "await self._windows.backfill(fence, viewer_ids, author_id, recents, unmark=True)",
        "await self._windows.set_pull(fence, viewer_ids, author_id, on=False)",
    ),
    _mistake(
        "who follows a pulled author is not told",
        "feed_svc/fanout.py",
        "await self._windows.set_pull(fence, viewer_id, author_id, on=True)",
        "pass",
    ),
    _mistake(
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
    _mistake(
        "a build forgets what was delivered meanwhile",
        "feed_svc/lua/builds.lua",
        "  merge(window, source, args[4])\n",
        "  redis.call('ZREMRANGEBYRANK', window, 0, -2)\n  merge(window, source, args[4])\n",
    ),
    _mistake(
        "what is merged in pretends completeness",
        "feed_svc/lua/places.lua",
        "local is_nearer = source_score\n    and is_behind(",
        "local is_nearer = false and is_behind(",
    ),
    _mistake(
        "the floor ignored on delivery",
        "feed_svc/lua/windows.lua",
        "if floor_member and not is_behind(score_number, member, floor_score, floor_member) then",
        "if floor_member then",
    ),
    _mistake(
        "delivery makes windows",
        "feed_svc/lua/windows.lua",
        "if floor_member and not is_behind(score_number, member, floor_score, floor_member) then",
        "if not floor_member\n"
        "      or not is_behind(score_number, member, floor_score, floor_member) then",
    ),
    _mistake(
        "the sentinel survives the trim",
        "feed_svc/lua/places.lua",
        "redis.call('ZREMRANGEBYRANK', key, entries_max, -1)",
        "redis.call('ZREMRANGEBYRANK', key, entries_max, -2)",
    ),
    _mistake(
        "half a window counts",
        "feed_svc/lua/windows.lua",
        "return redis.call('EXISTS', window) == 1\n    and redis.call(",
        "return redis.call(",
    ),
    _mistake(
        "the mark of a pulled author survives the purge",
        "feed_svc/lua/windows.lua",
        "    redis.call('HDEL', keys[3], args[3])\n",
        "",
    ),
    _mistake(
        "the fence ignored",
        "feed_svc/lua/fences.lua",
        "if highest > number then",
        "if false then",
    ),
    _mistake(
        "merged below the floor of a source",
        "feed_svc/candidates.py",
        "or (floor is not None and place < floor)",
        "",
    ),
    _mistake(
        "doubles not dropped",
        "feed_svc/candidates.py",
        "if not places or place != places[-1]:",
        "if True:",
    ),
    _mistake(
        "no cold read below the floor",
        "feed_svc/candidates.py",
        "if len(places) < wanted and hot.floor is not None:",
        "if False:",
    ),
    _mistake(
        "the cold path without own posts",
        "feed_svc/candidates.py",
        "(followee_ids | {viewer.viewer_id})",
        "followee_ids",
    ),
    _mistake(
        "hidden people not looked for",
        "feed_svc/home.py",
        "if not hidden_ids:",
        "if True:",
    ),
    _mistake(
        "shares of hidden people shown",
        "feed_svc/home.py",
        "if item.author_id not in hidden_ids and item.shared_author_id not in hidden_ids",
        "if item.author_id not in hidden_ids",
    ),
    _mistake(
        "a short page is the end",
        "feed_svc/home.py",
        "return HomePage(encoded, places, place,",
        "return HomePage(encoded, places, place if len(items) == size else None,",
    ),
    _mistake(
        "the token skips what was filled in too much",
        "feed_svc/home.py",
        "items[-1].place if len(kept) > wanted else found.next_place",
        "found.next_place",
    ),
    _mistake(
        "the cursor goes by time alone",
        "feed_svc/servicer.py",
        "before = (time_ms, PostId(bytes.fromhex(post_id)))",
        "before = (time_ms, PostId(bytes(16)))",
    ),
    _mistake(
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


async def run(names: Sequence[str], seconds: float) -> int:
    """Returns how many mistakes were not found."""
    mistakes = [each for each in MISTAKES if any(name in each.name for name in names or [""])]
    for edit in (edit for mistake in mistakes for edit in mistake.edits):
        assert edit.right in (ROOT / edit.file).read_text("utf-8"), f"out of date: {edit}"
    missed = 0
    async with (
        throwaway(postgres.STORE) as postgres_dsn,
        throwaway(mongo.STORE) as mongodb_url,
        throwaway(valkey.STORE) as feed_url,
        throwaway(valkey.STORE) as bus_url,
    ):
        stores = Stores(postgres_dsn, mongodb_url, feed_url, bus_url)
        for mistake in mistakes:
            outcome = await _hunt_apart(mistake, stores, seconds)
            missed += not outcome.found
            _tell(
                f"{'caught' if outcome.found else 'MISSED':7} {mistake.name:50} "
                f"{outcome.runs:4} runs {outcome.steps:6} steps {outcome.seconds:4.0f} s  "
                f"{outcome.found[:90]!r}"
            )
    return missed


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


@contextmanager
def made(mistake: Mistake) -> Iterator[Path]:
    """A folder with the packages that have it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for package in {edit.file.partition("/")[0] for edit in mistake.edits}:
            shutil.copytree(ROOT / package, folder / package)
        for edit in mistake.edits:
            file = folder / edit.file
            file.write_text(file.read_text("utf-8").replace(edit.right, edit.wrong), "utf-8")
        yield folder


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


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.feeds.mistakes")
    parser.add_argument("names", nargs="*", help="words that are in their names; none = all")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each, at most")
    parser.add_argument("--hunt-in", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.hunt_in:
        stores = Stores(**json.loads(arguments.hunt_in))
        _tell(json.dumps(asdict(asyncio.run(hunt_here(stores, arguments.seconds)))))
    else:
        sys.exit(min(1, asyncio.run(run(arguments.names, arguments.seconds))))


if __name__ == "__main__":
    main()
