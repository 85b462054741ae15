"""Runs user_svc, or one of its commands: see `python -m user_svc --help`."""

import asyncio
import getpass
import sys
from collections.abc import Sequence

from svckit.errors import DomainError, InvalidArgument
from svckit.events.engine import open_publisher
from svckit.logs import configure_logs
from svckit.program import parser_of, run_with_settings, serve
from user_svc.app import NAME, open_app, run
from user_svc.servicer import create_admin
from user_svc.settings import Settings

DESCRIPTION = "Accounts, sessions and the follow graph. Without a command: serves gRPC."


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(NAME, DESCRIPTION, Settings)
    commands = parser.add_subparsers(dest="command", metavar="command")
    admin = commands.add_parser(
        "create-admin",
        help="make an admin; the password is read from standard input",
        description="Makes an account with the role ADMIN; its password is read from stdin.",
    )
    admin.add_argument("--username", required=True, help="3-30 of a-z, 0-9 and _")
    admin.add_argument("--email", required=True)
    parsed = parser.parse_args(arguments)

    def work(settings: Settings) -> int:
        if parsed.command == "create-admin":
            return _create_admin(settings, parsed.username, parsed.email)
        return serve(NAME, settings.process, run(settings, parsed.role))

    return run_with_settings(NAME, Settings, work)


def _create_admin(settings: Settings, username: str, email: str) -> int:
    configure_logs(NAME, "warning")
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")

    async def create() -> str:
        async with (
            open_publisher(settings.bus) as publisher,
            open_app(settings, publisher) as app,
        ):
            user = await create_admin(app.accounts, username, email, password)
            return f"created admin {user.username} ({user.user_id})"

    try:
        sys.stdout.write(asyncio.run(create()) + "\n")
    except InvalidArgument as error:
        for violation in error.violations:
            sys.stderr.write(f"{NAME}: {violation.field} {violation.description}\n")
        return 1
    except DomainError as error:
        sys.stderr.write(f"{NAME}: {error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
