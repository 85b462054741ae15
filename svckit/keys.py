"""Makes and rotates the keys that sign tokens: see `python -m svckit.keys --help`."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from svckit.auth.keys import (
    KeyFileError,
    SigningKey,
    dated_kid,
    make_key,
    merged_public_set,
    read_private,
    write_private,
)

NAME = "svckit.keys"


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except KeyFileError as error:
        sys.stderr.write(f"{NAME}: {error}\n")
        return 1
    return 0


def _new(arguments: argparse.Namespace) -> None:
    write_private(arguments.file, [make_key(arguments.kid)], create=True)


def _add(arguments: argparse.Namespace) -> None:
    keys = read_private(arguments.file)
    prefix = next(iter(keys)).rpartition(".")
    key = make_key(arguments.kid or dated_kid(prefix[0] + prefix[1]))
    if key.kid in keys:
        raise KeyFileError(f"{arguments.file}: there is a key {key.kid} already")
    write_private(arguments.file, [*keys.values(), key])


def _promote(arguments: argparse.Namespace) -> None:
    keys = read_private(arguments.file)
    promoted = _take(keys, arguments)
    write_private(arguments.file, [promoted, *keys.values()])


def _remove(arguments: argparse.Namespace) -> None:
    keys = read_private(arguments.file)
    if next(iter(keys)) == arguments.kid:
        raise KeyFileError(f"{arguments.file}: {arguments.kid} signs: promote another one first")
    _take(keys, arguments)
    write_private(arguments.file, keys.values())


def _take(keys: dict[str, SigningKey], arguments: argparse.Namespace) -> SigningKey:
    if arguments.kid not in keys:
        raise KeyFileError(f"{arguments.file}: no key {arguments.kid}, only {', '.join(keys)}")
    return keys.pop(arguments.kid)


def _public(arguments: argparse.Namespace) -> None:
    json.dump(merged_public_set(arguments.files), sys.stdout, indent=2)
    sys.stdout.write("\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAME}",
        description="Make and rotate the Ed25519 keys that sign tokens (JWK sets in files).",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], None], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    kid_help = "key id; of a service's key: <service>.<anything>. Default: day and random"
    new = command("new", _new, "Make a file with one new key.")
    add = command("add", _add, "Append a new key: it verifies, and does not sign yet.")
    promote = command("promote", _promote, "Move a key to the front: it signs from now on.")
    remove = command("remove", _remove, "Remove a key that no longer signs.")
    public = command("public", _public, "Print the public keys of private files as one JWK set.")
    for one in (new, add, promote, remove):
        one.add_argument("file", type=Path, metavar="FILE")
    for one in (new, add):
        one.add_argument("--kid", help=kid_help)
    for one in (promote, remove):
        one.add_argument("kid", metavar="KID")
    public.add_argument("files", type=Path, nargs="+", metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
