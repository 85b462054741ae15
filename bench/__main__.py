"""Takes the measures: a table on the terminal, and all values in bench/results.json.

    python -m bench [--quick] [follow get stream login posts relay consume age fanout feed
                               celebrity json gateway live]

Makes a PostgreSQL of its own (one that syncs to disk) with people and edges in it, and runs the
real programs beside it, with the other stores that they need. Nothing is left behind but the
results, which are saved as they come.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
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

MEASURES: Mapping[str, Callable[[Site], Awaitable[list[Measure]]]] = {
    "follow": follow_at_once,
    "get": get_user,
    "stream": stream_follower_ids,
    "login": log_in,
    "posts": publish_and_read,
    "relay": relay_events,
    "consume": consume_events,
    "age": age_of_events,
    "fanout": fan_out,
    "feed": read_feeds,
    "celebrity": celebrate,
    "json": write_and_read_json,
    "gateway": serve_feeds,
    "live": watch,
}
QUICK = replace(FULL, follows=200_000, blocks=1_000, mutes=1_000, sessions=10_000)
RESULTS = Path(__file__).parent / "results.json"


async def take(names: Sequence[str], *, quick: bool) -> list[Measure]:
    with rig_folder() as folder:
        async with durable(postgres.STORE, folder) as dsn:
            world = await load(dsn, QUICK if quick else FULL, progress_bar)
            session = await connect(dsn)
            rounds, seconds, posts = (5, 1.5, 100_000) if quick else (9, 4.0, 1_000_000)
            site = Site(Rig(folder, dsn), world, session, rounds, seconds, posts)
            measures = []
            for name in names:
                print(f"{name} ...", file=sys.stderr)
                taken = await MEASURES[name](site)
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
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} x {platform.machine()}, {platform.system()}"
        f" {platform.release()}, Python {platform.python_version()}",
    }
    by_name = {each["name"]: each for each in kept}
    for each in measures:
        told = {"median": each.median, "bar": each.bar, "passed": each.passed}
        by_name[each.name] = asdict(each) | told | taken
    RESULTS.write_text(json.dumps(list(by_name.values()), indent=1), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 3 minutes, less precise")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(MEASURES))
    parsed = parser.parse_args()
    if unknown := set(parsed.names) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    measures = asyncio.run(take(parsed.names or list(MEASURES), quick=parsed.quick))
    print(table(measures))
    return 1 if any(each.passed is False for each in measures) else 0


if __name__ == "__main__":
    sys.exit(main())
