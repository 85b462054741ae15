"""Seeded mistakes: texts of the program that are replaced in a copy, and what comes of each.

A list of them has a command line:

    python -m tests.oracle.<list>.mistakes [--seconds N] [--part K/N] [words of names ...]
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
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


def mistake(name: str, file: str, right: str, wrong: str, *more: Edit) -> Mistake:
    return Mistake(name, (Edit(file, right, wrong), *more))


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


def parser_of(program: str, seconds: float) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("names", nargs="*", help="words that are in their names; none = all")
    parser.add_argument("--seconds", type=float, default=seconds, help="for each, at most")
    parser.add_argument(
        "--part", type=_part, default=(1, 1), metavar="K/N", help="the Kth of N parts of the list"
    )
    return parser


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    number, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= parts:
        raise argparse.ArgumentTypeError("must be like 1/3")
    return number, parts


def chosen(mistakes: Sequence[Mistake], arguments: argparse.Namespace) -> list[Mistake]:
    """What the command line means; all parts together are the whole list, each mistake once."""
    number, parts = arguments.part
    names = arguments.names or [""]
    found = [each for each in mistakes if any(name in each.name for name in names)]
    found = found[number - 1 :: parts]
    for edit in (edit for each in found for edit in each.edits):
        assert edit.right in (ROOT / edit.file).read_text("utf-8"), f"out of date: {edit}"
    return found


class Tally:
    """Tells of which commit the mistakes are, what came of each, and in the end of all."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self._caught = 0
        self._missed: list[str] = []
        tell(f"{len(mistakes)} mistakes, made at {_commit()}")

    def note(self, mistake: Mistake, details: str, *, is_caught: bool) -> None:
        if is_caught:
            self._caught += 1
        else:
            self._missed.append(mistake.name)
        tell(f"{'caught' if is_caught else 'MISSED'} {mistake.name:70} {details}")

    def end(self) -> int:
        """The exit code: 0 = all were caught."""
        missed = f"; missed: {', '.join(self._missed)}" if self._missed else ""
        tell(f"{self._caught} of {self._caught + len(self._missed)} caught{missed}")
        return 1 if self._missed else 0


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _commit() -> str:
    command = ("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "no commit"
