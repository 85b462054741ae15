"""Runs feed_svc, or one of its commands: see `python -m feed_svc --help`."""

import asyncio
import sys
from collections.abc import Sequence

from feed_svc.app import NAME, run
from feed_svc.prewarm import prewarm
from feed_svc.settings import Settings
from svckit.logs import configure_logs
from svckit.program import parser_of, run_with_settings, serve

DESCRIPTION = "Home feeds. Without a command: serves gRPC."


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(NAME, DESCRIPTION, Settings, background_role="fanout")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser(
        "prewarm",
        help="build the hot windows of people, whose ids are read from standard input",
        description="Builds the hot windows of people who have none, ahead of their reading. Reads "
        "user ids from standard input, one a line; says whose could not be built.",
    )
    parsed = parser.parse_args(arguments)

    def work(settings: Settings) -> int:
        if parsed.command == "prewarm":
            configure_logs(NAME, "warning")
            return asyncio.run(prewarm(settings, sys.stdin))
        return serve(NAME, settings.process, run(settings, parsed.role))

    return run_with_settings(NAME, Settings, work)


if __name__ == "__main__":
    sys.exit(main())
