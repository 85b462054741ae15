"""Shows, puts back or drops what was set aside: see `python -m svckit.redrive --help`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from svckit.events.bus import DeadLetter, DeadLetters
from svckit.events.command import run_command
from svckit.events.engine import open_dead_letters
from svckit.events.settings import BusSettings
from svckit.settings import describe

NAME = "svckit.redrive"


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)

    async def work(settings: BusSettings) -> None:
        async with open_dead_letters(settings) as letters:
            chosen = await _choose(
                letters, parsed.group, parsed.limit, with_event=parsed.command == "redrive"
            )
            if parsed.command == "list":
                sys.stdout.writelines(_line(letter) for letter in chosen)
            elif parsed.command == "redrive":
                sys.stdout.write(f"put back: {await letters.redrive(chosen)}\n")
            else:
                sys.stdout.write(f"dropped: {await letters.drop(chosen)}\n")

    return run_command(NAME, os.environ, work)


async def _choose(
    letters: DeadLetters, group: str | None, limit: int, *, with_event: bool
) -> list[DeadLetter]:
    """The oldest; `with_event`: of those that can be put back."""
    chosen: list[DeadLetter] = []
    async with aclosing(letters.read()) as all_letters:
        async for letter in all_letters:
            if len(chosen) == limit:
                break
            if group in {None, letter.group} and (letter.event or not with_event):
                chosen.append(letter)
    return chosen


def _line(letter: DeadLetter) -> str:
    """Without the payload, which may be anybody's text."""
    event = letter.event
    told = {
        "time": datetime.fromtimestamp(letter.set_aside_at_ms / 1000, UTC).isoformat(),
        "group": letter.group,
        "error": letter.kind,
        "text": letter.text,
        "type": event.type if event else None,
        "lane": event.lane if event else None,
        "event_id": str(event.event_id) if event else None,
    }
    return json.dumps(told, ensure_ascii=False) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAME}",
        description="Events that a group could not handle. What is put back goes to the end of its "
        "lane, to that group alone; what the bus itself cannot read can only be dropped.",
        epilog="settings (environment):\n" + describe(BusSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("list", "redrive", "drop"))
    parser.add_argument("--group", help="of this group alone")
    parser.add_argument("--limit", type=_limit, default=100, help="the oldest so many (100)")
    return parser


def _limit(text: str) -> int:
    limit = int(text)
    if not 1 <= limit <= 1000:
        raise argparse.ArgumentTypeError("must be from 1 to 1000")
    return limit


if __name__ == "__main__":
    sys.exit(main())
