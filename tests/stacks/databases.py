"""PostgreSQL databases of a test's own."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def own_database(postgres_dsn: str) -> AsyncIterator[str]:
    """The DSN of an empty database, which is gone when the block ends."""
    name = f"test_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{postgres_dsn.rpartition('/')[0]}/{name}"
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()
