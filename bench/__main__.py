"""Takes the measures: a table on the terminal, and a line for each in bench/results.json.

Makes a PostgreSQL of its own (one that syncs to disk) with people and edges in it, and runs the
real programs beside it, with the other stores that they need. Nothing is left behind but the
results, which are saved as they come.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.measures.bus import age_of_events, consume_events, relay_events
from bench.measures.celebrity import celebrate
from bench.measures.content import publish_and_read
from bench.measures.fanout import fan_out
from bench.measures.feed import read_feeds
from bench.measures.follow import follow_at_once
from bench.measures.gateway import serve_feeds
from bench.measures.gateway_json import write_and_read_json
from bench.measures.gateway_live import watch
from bench.measures.login import log_in
from bench.measures.reads import get_user, stream_follower_ids
from bench.tools.measure import Measure, Site
from devstack import postgres
from devstack.dataset import FULL, load, progress_bar
from devstack.rig import Rig, durable, rig_folder
from svckit.postgres.client import connect

MEASURES: Mapping[str, tuple[Callable[[Site], Awaitable[list[Measure]]], str]] = {
    "follow": (follow_at_once, "everybody follows the same person at once"),
    "get": (get_user, "GetUser against an rpc that does nothing"),
    "stream": (stream_follower_ids, "the stream of all followers of one person"),
    "login": (log_in, "what a log-in gives away, and what 50 at once do to all others"),
    "posts": (publish_and_read, "posts published, read in batches, found by their authors"),
    "relay": (relay_events, "from the outbox onto the bus"),
    "consume": (consume_events, "from the bus into a handler"),
    "age": (age_of_events, "how old an event is when its handler has it"),
    "fanout": (fan_out, "posts put into full windows"),
    "feed": (read_feeds, "home feeds read warm, cold and far down"),
    "celebrity": (celebrate, "authors with a million followers, with 9,999 and with few"),
    "json": (write_and_read_json, "the gateway's JSON against json_format's"),
    "gateway": (serve_feeds, "a page through the gateway; then three times too many"),
    "live": (watch, "a thousand live streams at once"),
}
QUICK = replace(FULL, follows=200_000, blocks=1_000, mutes=1_000, sessions=10_000)
RESULTS = Path(__file__).parent / "results.json"
COMMIT_DIGITS = 10


async def take(names: Sequence[str], *, quick: bool) -> list[Measure]:
    with rig_folder() as folder:
        async with durable(postgres.STORE, folder) as dsn:
            world = await load(dsn, QUICK if quick else FULL, progress_bar)
            session = await connect(dsn)
            rounds, seconds, posts = (5, 1.5, 100_000) if quick else (9, 4.0, 1_000_000)
            rig = Rig(folder, dsn)
            measures = []
            for name in names:
                print(f"{name} ...", file=sys.stderr)
                with rig_folder() as own_folder:
                    site = Site(own_folder, rig, world, session, rounds, seconds, posts)
                    taken = await MEASURES[name][0](site)
                await session.execute("TRUNCATE outbox")  # or it is relayed beside the next one
                save(taken)
                measures += taken
            await session.close()
            return measures


def table(measures: Sequence[Measure]) -> str:
    lines = [f"{'measure':<32}{'median':>12}  {'lowest - highest':<28}{'unit':<12}{'bar':<12}"]
    for each in measures:
        spread = f"{min(each.values):,.2f} - {max(each.values):,.2f}"
        verdict = {None: "", True: "ok", False: "MISSED"}[each.passed]
        value = f"{each.name:<32}{each.median:>12,.2f}  {spread:<28}{each.unit:<12}"
        lines.append(f"{value}{each.bar:<12}{verdict}".rstrip())
    return "\n".join(lines)


def save(measures: Sequence[Measure]) -> None:
    """Each with when and how it was taken; those not taken this time stay as they were."""
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    taken = {
        "machine": f"{os.cpu_count()} x {platform.machine()}, {platform.system()}"
        f" {platform.release()}, Python {platform.python_version()}",
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "commit": commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    records = {each["name"]: each for each in kept}
    records |= {each.name: {**each.record(), **taken} for each in measures}
    # A line for each: what was taken again is what differs.
    lines = ",\n".join(json.dumps(each) for each in records.values())
    RESULTS.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def commit() -> str:
    """The one that was measured; it ends in "-dirty" if there were changes."""
    command = ("git", "describe", "--always", "--dirty", "--exclude=*", f"--abbrev={COMMIT_DIGITS}")
    done = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog="measures:\n" + "\n".join(f"  {k:<12}{about}" for k, (_, about) in MEASURES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="under 10 minutes, less precise")
    parser.add_argument("names", nargs="*", metavar="MEASURE", help="these alone (all)")
    parsed = parser.parse_args()
    if unknown := set(parsed.names) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    measures = asyncio.run(take(parsed.names or list(MEASURES), quick=parsed.quick))
    print(table(measures))
    return 1 if any(each.passed is False for each in measures) else 0


if __name__ == "__main__":
    sys.exit(main())
