"""Brings a database's schema to what this program needs: numbered SQL files, each applied once.

A component (`svckit`, `user_svc`) is a folder of files `0001_name.sql`, numbered without gaps. Each
file is one transaction together with its row in `schema_migrations`, so it is applied whole or not
at all. Any number of processes may do this at once: one works, the others wait and find it done. A
schema that is ahead of the program is left alone, so that a newer release can be rolled out first.

A file whose first line is `-- no transaction` (for CREATE INDEX CONCURRENTLY: a single statement,
written so that doing it twice does no harm) is applied outside a transaction.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import asyncpg

from svckit.migration_files import Component, Migration, MigrationError, be_alone, missing, read
from svckit.postgres.client import Session, connect
from svckit.postgres.errors import driver_errors

LOCK_KEY = 0x6E657773  # "news"; one lock for all components of a database
LOCK_TIMEOUT_S = 60.0
NO_TRANSACTION = "-- no transaction"

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


async def migrate(dsn: str, components: Sequence[Component]) -> list[Migration]:
    """Apply what is missing, component after component; returns what was applied.

    Raises `Unavailable` when the database is not there, `MigrationError` when it does not fit.
    """
    migrations = [each for component in components for each in read(component, ".sql")]
    connection = await connect(dsn)
    try:
        with driver_errors(connection):
            # Held until the session ends.
            take = partial(connection.fetchval, "SELECT pg_try_advisory_lock($1)", LOCK_KEY)
            await be_alone(take, LOCK_TIMEOUT_S)
            await connection.execute(VERSION_TABLE)
            rows = await connection.fetch("SELECT * FROM schema_migrations")
            todo = missing(migrations, [dict(row) for row in rows])
            for migration in todo:
                await _apply(connection, migration)
            return todo
    finally:
        await connection.close()


async def _apply(connection: Session, migration: Migration) -> None:
    is_bare = migration.text.startswith(NO_TRANSACTION)
    try:
        async with nullcontext() if is_bare else connection.transaction():
            await connection.execute(migration.text)
            await connection.execute(
                "INSERT INTO schema_migrations (component, version, name, checksum)"
                " VALUES ($1, $2, $3, $4)",
                migration.component,
                migration.version,
                migration.name,
                migration.checksum,
            )
    except asyncpg.PostgresError as error:
        if connection.is_closed():
            raise
        raise MigrationError(f"{migration}: {error}") from error
