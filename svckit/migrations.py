"""Brings a database's schema to what this program needs: numbered SQL files, each applied once.

A component (`svckit`, `user_svc`) is a folder of files `0001_name.sql`, numbered without gaps. Each
file is one transaction together with its row in `schema_migrations`, so it is applied whole or not
at all. Any number of processes may do this at once: one works, the others wait and find it done. A
schema that is ahead of the program is left alone, so that a newer release can be rolled out first.

A file whose first line is `-- no transaction` (for CREATE INDEX CONCURRENTLY: a single statement,
written so that doing it twice does no harm) is applied outside a transaction.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import asyncpg

from svckit.postgres import Session, connect, driver_errors

LOCK_KEY = 0x6E657773  # "news"; one lock for all components of a database
LOCK_POLL_S = 0.1
LOCK_TIMEOUT_S = 60.0
NO_TRANSACTION = "-- no transaction"
FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

VERSION_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    component  text NOT NULL,
    version    integer NOT NULL,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (component, version)
)
"""


class Component(NamedTuple):
    """Who owns some of the tables, and the folder with the files that make them."""

    name: str
    directory: Path


class MigrationError(Exception):
    """The files and the database do not fit together, or a file failed; the text says which."""


@dataclass(frozen=True, slots=True)
class Migration:
    component: str
    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.component} {self.version:04d}_{self.name}"


async def migrate(dsn: str, components: Sequence[Component]) -> list[Migration]:
    """Apply what is missing, component after component; returns what was applied.

    Raises `Unavailable` when the database is not there, `MigrationError` when it does not fit.
    """
    migrations = [migration for component in components for migration in read(component)]
    connection = await connect(dsn)
    try:
        with driver_errors(connection):
            await _lock(connection)
            await connection.execute(VERSION_TABLE)
            missing = await _missing(connection, migrations)
            for migration in missing:
                await _apply(connection, migration)
            return missing
    finally:
        await connection.close()


def read(component: Component) -> list[Migration]:
    """The component's files in order; a gap, a double or a stray name is an error."""
    migrations = []
    for path in sorted(component.directory.glob("*.sql")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{component.name}: {path.name} is not named like 0001_name.sql")
        sql = path.read_text(encoding="utf-8")
        migrations.append(Migration(component.name, int(match[1]), match[2], sql))
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise MigrationError(f"{migration}: expected version {expected:04d} here")
    return migrations


async def _missing(connection: Session, migrations: Sequence[Migration]) -> list[Migration]:
    rows = await connection.fetch("SELECT component, version, checksum FROM schema_migrations")
    applied = {(row["component"], row["version"]): row["checksum"] for row in rows}
    for migration in migrations:
        checksum = applied.get((migration.component, migration.version), migration.checksum)
        if checksum != migration.checksum:
            raise MigrationError(f"{migration}: the file was changed after it was applied")
    return [each for each in migrations if (each.component, each.version) not in applied]


async def _apply(connection: Session, migration: Migration) -> None:
    try:
        if migration.sql.startswith(NO_TRANSACTION):
            await connection.execute(migration.sql)
            await _record(connection, migration)
        else:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await _record(connection, migration)
    except asyncpg.PostgresError as error:
        if connection.is_closed():
            raise
        raise MigrationError(f"{migration}: {error}") from error


async def _record(connection: Session, migration: Migration) -> None:
    await connection.execute(
        "INSERT INTO schema_migrations (component, version, name, checksum)"
        " VALUES ($1, $2, $3, $4)",
        migration.component,
        migration.version,
        migration.name,
        migration.checksum,
    )


async def _lock(connection: Session) -> None:
    """Held until the session ends.

    It polls: a statement that waits would stall another process's CREATE INDEX CONCURRENTLY.
    """
    try:
        async with asyncio.timeout(LOCK_TIMEOUT_S):
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):  # noqa: ASYNC110
                await asyncio.sleep(LOCK_POLL_S)
    except TimeoutError as error:
        raise MigrationError("another process has been migrating for too long") from error
