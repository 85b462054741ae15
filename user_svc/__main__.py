"""Runs user_svc, or one of its commands: see `python -m user_svc --help`."""

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Sequence

import uvloop

from svckit.errors import DomainError, InvalidArgument
from svckit.keys import KeyFileError
from svckit.logs import configure_logs
from svckit.migrations import MigrationError
from svckit.settings import SettingsError, describe, load
from svckit.telemetry import configure_traces, start_metrics
from user_svc.app import NAME, ROLES, open_app, run
from user_svc.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    try:
        settings = load(Settings, os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{NAME}: {error}\n")
        return 2
    try:
        if parsed.command == "create-admin":
            return _create_admin(settings, parsed.username, parsed.email)
        _serve(settings, parsed.role)
    except (KeyFileError, MigrationError, OSError, RuntimeError) as error:
        sys.stderr.write(f"{NAME}: {error}\n")
        return 1
    return 0


def _serve(settings: Settings, role: str) -> None:
    configure_logs(NAME, settings.log_level)
    start_metrics(settings.server.host, settings.metrics_port)
    provider = configure_traces(NAME, settings.otlp_endpoint)
    try:
        uvloop.run(run(settings, role))
    finally:
        if provider is not None:
            provider.shutdown()


def _create_admin(settings: Settings, username: str, email: str) -> int:
    configure_logs(NAME, "warning")
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")

    async def create() -> str:
        async with open_app(settings) as app:
            user = await app.accounts.create_admin(username, email, password)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAME}",
        description="Accounts, sessions and the follow graph. Without a command: serves gRPC.",
        epilog="settings (environment):\n" + describe(Settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--role",
        choices=ROLES,
        default="all",
        help="api = serves calls; relay = background work and events; all = both (default)",
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    admin = commands.add_parser(
        "create-admin",
        help="make an admin; the password is read from standard input",
        description="Makes an account with the role ADMIN; its password is read from stdin.",
    )
    admin.add_argument("--username", required=True, help="3-30 of a-z, 0-9 and _")
    admin.add_argument("--email", required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
