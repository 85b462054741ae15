"""Shows the groups of the bus, and retires one: see `python -m svckit.groups --help`."""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from svckit.events.bus import DeadLetters, GroupIsAlive, Groups
from svckit.events.command import Refused, run_command
from svckit.events.engine import open_dead_letters, open_groups
from svckit.events.settings import BusSettings
from svckit.settings import describe

NAME = "svckit.groups"


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)

    async def work(settings: BusSettings) -> None:
        async with open_groups(settings) as groups, open_dead_letters(settings) as letters:
            if parsed.command == "list":
                await _list(groups, letters)
            elif parsed.group in settings.expected_groups():
                raise Refused(f"{parsed.group} is in BUS_GROUPS: take it out, here and everywhere")
            else:
                await _retire(groups, letters, parsed.group, is_sure=parsed.yes)

    return run_command(NAME, os.environ, work)


async def _list(groups: Groups, letters: DeadLetters) -> None:
    dead = Counter([letter.group async for letter in letters.read()])
    for state in await groups.group_states():
        told = asdict(state) | {"dead_letters": dead[state.name]}
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")


async def _retire(groups: Groups, letters: DeadLetters, name: str, *, is_sure: bool) -> None:
    found = [state for state in await groups.group_states() if state.name == name]
    if not found:
        raise Refused(f"there is no group {name}")
    dead = [letter async for letter in letters.read() if letter.group == name]
    dropped = f"{found[0].lag} events that {name} has yet to do, {len(dead)} dead letters"
    if not is_sure and not found[0].members:
        raise Refused(f"would be dropped: {dropped}; --yes does it")
    try:
        await groups.retire(name)
    except GroupIsAlive:
        raise Refused(f"{name} has {found[0].members} members: stop them first") from None
    await letters.drop(dead)
    sys.stdout.write(f"dropped: {dropped}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAME}",
        description="The groups that the bus keeps events for: their members that are alive, the "
        "events that they have yet to do, their dead letters. Nothing is trimmed that a group has "
        "yet to do, so one that is no more has to be retired.",
        epilog="settings (environment):\n" + describe(BusSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="a line of JSON for each")
    retire = commands.add_parser("retire", help="forget one that has no members")
    retire.add_argument("group", metavar="GROUP")
    retire.add_argument("--yes", action="store_true", help="without it, tells what goes with it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
