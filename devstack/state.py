"""The memory of a stack between two commands: `stack.json` in its DATA_DIR.

The file also marks the folder as made by devstack: only such a folder is ever deleted.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

from devstack.errors import StackError
from devstack.servers import is_alive

FILE_NAME = "stack.json"
# The clock that start times are derived from may be corrected while a process runs.
START_TIME_TOLERANCE_S = 2.0
LOCK_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process that devstack started; the start time tells it from a later one of the same pid."""

    pid: int
    start_time: float
    fingerprint: str
    url: str
    log: str
    stop_signal: int

    def process(self) -> psutil.Process | None:
        """The process if it is still alive, and nobody else's."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.start_time) < START_TIME_TOLERANCE_S
        except psutil.NoSuchProcess:
            return None
        return process if same and is_alive(process) else None


@dataclass(slots=True)
class State:
    """`save` follows each change at once, so that an interrupted command forgets nothing."""

    data_dir: Path
    ports: dict[str, int]
    processes: dict[str, ProcessRecord]

    @classmethod
    def load(cls, data_dir: Path) -> Self | None:
        """None when there is no stack in the folder."""
        try:
            text = (data_dir / FILE_NAME).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            content = json.loads(text)
            processes = {
                name: ProcessRecord(**record) for name, record in content["processes"].items()
            }
            return cls(data_dir, content["ports"], processes)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StackError(
                f"{data_dir / FILE_NAME} is damaged.",
                "Stop what still runs by hand, then delete the folder.",
            ) from error

    def save(self) -> None:
        content = {
            "ports": self.ports,
            "processes": {name: asdict(record) for name, record in self.processes.items()},
        }
        file = self.data_dir / FILE_NAME
        unfinished = file.with_suffix(".part")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(file)


@asynccontextmanager
async def locked(data_dir: Path, on_wait: Callable[[], None]) -> AsyncIterator[None]:
    """One command at a time works on a stack, the others wait. The folder must exist."""
    handle = os.open(data_dir, os.O_RDONLY)
    try:
        if not _try_lock(handle):
            on_wait()
            while not _try_lock(handle):  # noqa: ASYNC110 no event tells about another process
                await asyncio.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def make_folder(data_dir: Path) -> None:
    """Makes DATA_DIR; a folder that is something else already is left alone."""
    if data_dir.exists() and State.load(data_dir) is None and not _is_empty(data_dir):
        raise StackError(
            f"{data_dir} exists, and devstack did not make it.",
            "Choose a new folder: make up DATA_DIR=...",
        )
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir.chmod(0o711)  # PostgreSQL may run as another user, who must get through


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
