"""The files that bring a database to what a program needs, whatever kind of database it is.

A component (`svckit`, `content_svc`) is a folder of files `0001_name.sql` or `.json`, without gaps,
each applied once and never changed afterwards.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from svckit.errors import Unavailable

logger = logging.getLogger(__name__)

DATABASE_POLL_S = 1.0
OTHERS_POLL_S = 0.1
FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)")


class Component(NamedTuple):
    """An owner of tables or collections, and the folder with the files that make them."""

    name: str
    directory: Path


class MigrationError(Exception):
    """The files and the database do not fit together, or a file failed; the text says which."""


@dataclass(frozen=True, slots=True)
class Migration:
    component: str
    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.component} {self.version:04d}_{self.name}"


def read(component: Component, suffix: str) -> list[Migration]:
    """The component's files in order; a gap, a double or a stray name is an error."""
    migrations = []
    for path in sorted(component.directory.glob(f"*{suffix}")):
        match = FILE_NAME.fullmatch(path.stem)
        if match is None:
            raise MigrationError(
                f"{component.name}: {path.name} is not named like 0001_name{suffix}"
            )
        text = path.read_text(encoding="utf-8")
        migrations.append(Migration(component.name, int(match[1]), match[2], text))
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise MigrationError(f"{migration}: expected version {expected:04d} here")
    return migrations


def missing(migrations: Sequence[Migration], rows: Sequence[Mapping[str, Any]]) -> list[Migration]:
    """The migrations not applied yet; the database's rows have the checksums of the others."""
    applied = {(row["component"], row["version"]): row["checksum"] for row in rows}
    for migration in migrations:
        checksum = applied.get((migration.component, migration.version), migration.checksum)
        if checksum != migration.checksum:
            raise MigrationError(f"{migration}: the file was changed after it was applied")
    return [each for each in migrations if (each.component, each.version) not in applied]


async def be_alone(take: Callable[[], Awaitable[object]], longest_s: float) -> None:
    """Waits until `take` returns something: the right to migrate, which another process may have.

    It polls: a statement that waits would stall that process's CREATE INDEX CONCURRENTLY.
    """
    try:
        async with asyncio.timeout(longest_s):
            while not await take():  # noqa: ASYNC110
                await asyncio.sleep(OTHERS_POLL_S)
    except TimeoutError as error:
        raise MigrationError("another process has been migrating for too long") from error


async def migrate_when_there(migrate: Callable[[], Awaitable[Sequence[Migration]]]) -> None:
    """Waits for the database as long as it takes, and says so; then migrates it."""
    is_waiting = False
    while True:
        try:
            applied = await migrate()
        except Unavailable as error:
            if not is_waiting:
                logger.warning("waiting_for_database", extra={"error": repr(error.__cause__)})
            is_waiting = True
            await asyncio.sleep(DATABASE_POLL_S)
        else:
            logger.info("schema_ready", extra={"applied": [str(each) for each in applied]})
            return
