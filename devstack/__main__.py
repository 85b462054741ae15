"""The development stack by command: `python -m devstack up`, `down`, `reset`, and so on."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from devstack.errors import StackError
from devstack.programs import all_programs
from devstack.settings import StackSettings
from devstack.stack import Progress, Stack
from devstack.state import State, locked, make_folder
from svckit.settings import SettingsError, describe, load

DESCRIPTION = "Starts and stops PostgreSQL, Valkey, MongoDB and the newsfeed's programs, here."
Command = Callable[[StackSettings, argparse.Namespace], Coroutine[None, None, int]]
FIRST_STEPS = """
  make logs     what they say
  make status   what runs where
  make down     stop everything, the data stays
  make reset    stop everything and delete the data

The first thing to try:
  curl http://{gateway}/v1/auth/signup -H 'Content-Type: application/json' \\
      -d '{{"username": "ada", "email": "ada@example.com", "password": "correct horse"}}'

All calls, to read and to try: http://{gateway}/docs
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        settings = load(StackSettings, os.environ)
        settings = replace(settings, data_dir=settings.data_dir.absolute())
        command: Command = options.command
        return asyncio.run(command(settings, options))
    except (StackError, SettingsError) as error:
        problem = str(error)
    except PermissionError as error:
        problem = f"{error.filename}: permission denied.\nUse the user who started the stack."
    except KeyboardInterrupt:
        problem = "Interrupted. `make down` stops what was started."
    print(f"\n{problem}", file=sys.stderr)
    return 1


async def up(settings: StackSettings, _: argparse.Namespace) -> int:
    begun = time.monotonic()
    make_folder(settings.data_dir)
    async with locked(settings.data_dir, _say_that_we_wait):
        state = State.load(settings.data_dir) or State(settings.data_dir, {}, {})
        await _stack(settings, state).up()
    print(f"\nReady in {time.monotonic() - begun:.1f} s. Data, keys, logs: {settings.data_dir}")
    cluster = settings.data_dir / "postgresql"
    if cluster.is_symlink():
        print(f"PostgreSQL does not run as root, and its user can't enter {settings.data_dir}:")
        print(f"its data is in {cluster.resolve()} (`make reset` deletes that too).")
    print(FIRST_STEPS.format_map({name: each.url for name, each in state.processes.items()}))
    return 0


async def down(settings: StackSettings, _: argparse.Namespace) -> int:
    async with _opened(settings) as stack:
        await stack.down()
    print("Nothing runs. `make up` starts it again, with its data.")
    return 0


async def reset(settings: StackSettings, options: argparse.Namespace) -> int:
    async with _opened(settings) as stack:
        if not options.yes and not _confirmed(f"Delete {settings.data_dir} with all its data?"):
            raise StackError("Nothing was deleted.", "Without a question: make reset YES=1")
        await stack.reset()
    print(f"{settings.data_dir} is gone.")
    return 0


async def status(settings: StackSettings, _: argparse.Namespace) -> int:
    """The exit code tells whether everything that was started still runs."""
    records = _existing(settings).state.processes
    for name, record in records.items():
        what = "runs" if record.process() else "died"
        print(_columns(name, what, record.url, record.log))
    if not records:
        print("Nothing runs.")
    return 0 if records and all(record.process() for record in records.values()) else 1


async def logs(settings: StackSettings, options: argparse.Namespace) -> int:
    """Becomes `tail`, which ends with Ctrl-C."""
    records = _existing(settings).state.processes
    unknown = set(options.names) - records.keys()
    if unknown or not records:
        raise StackError(
            f"There is no log of {', '.join(sorted(unknown)) or 'anything'}.",
            f"There are: {', '.join(records) or 'none before the first `make up`'}",
        )
    files = [records[name].log for name in options.names or records]
    os.execvp("tail", ["tail", "-n", str(options.lines), "-F", *files])  # noqa: S606, S607


async def run(settings: StackSettings, options: argparse.Namespace) -> int:
    """Becomes the module, with the environment that `up` gives that program (or the first one)."""
    stack = _existing(settings)
    named = (each for each in stack.programs if each.name == options.module)
    environment = stack.environment(next(named, stack.programs[0]))
    command = [sys.executable, "-m", options.module, *options.arguments]
    os.execve(command[0], command, {**os.environ, **environment})  # noqa: S606


@asynccontextmanager
async def _opened(settings: StackSettings) -> AsyncIterator[Stack]:
    """The stack that is there, for one command at a time."""
    _existing(settings)
    async with locked(settings.data_dir, _say_that_we_wait):
        yield _existing(settings)


def _existing(settings: StackSettings) -> Stack:
    state = State.load(settings.data_dir)
    if state is None:
        raise StackError(f"There is no stack in {settings.data_dir}.", "`make up` makes one.")
    return _stack(settings, state)


def _stack(settings: StackSettings, state: State) -> Stack:
    return Stack(state, all_programs(settings), settings.given.urls(), _print_progress)


def _print_progress(progress: Progress) -> None:
    seconds = f"{progress.seconds:5.1f} s"
    print(_columns(progress.name, progress.what, progress.url, seconds), flush=True)


def _say_that_we_wait() -> None:
    print("Another command is at work on this stack; waiting for it.", flush=True)


def _columns(name: str, what: str, url: str, last: str) -> str:
    return f"{name:<14}{what:<9}{_without_password(url):<56}{last}"


def _without_password(url: str) -> str:
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@") if password else url


def _confirmed(question: str) -> bool:
    return sys.stdin.isatty() and input(f"{question} [y/N] ").strip().lower() == "y"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devstack",
        description=DESCRIPTION,
        epilog=f"settings (environment, or `make up NAME=value`):\n{describe(StackSettings)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    add("up", up, "start what does not run yet, and wait until everything answers")
    add("down", down, "stop everything that was started; the data stays")
    add("status", status, "what runs where")
    add("reset", reset, "stop everything and delete the data").add_argument(
        "--yes", action="store_true", help="do not ask"
    )
    logs_parser = add("logs", logs, "follow the logs")
    logs_parser.add_argument("names", nargs="*", metavar="NAME", help="of these only")
    logs_parser.add_argument("--lines", type=int, default=20, help="of each to begin with (20)")
    run_parser = add("run", run, "run a program or a tool once, with the environment of the stack")
    run_parser.add_argument("module", metavar="MODULE", help="such as user_svc, svckit.redrive")
    run_parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    return parser


if __name__ == "__main__":
    sys.exit(main())
