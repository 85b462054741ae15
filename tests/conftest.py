"""Stores for every test that asks for one: started once per run, when the first test needs them."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from devstack import mongo, postgres, valkey
from devstack.stores import throwaway


@pytest.fixture(scope="session")
async def postgres_dsn() -> AsyncIterator[str]:
    """A running PostgreSQL, as a superuser: for tests that create their own databases."""
    async with throwaway(postgres.STORE) as dsn:
        yield dsn


@pytest.fixture(scope="session")
async def redis_url() -> AsyncIterator[str]:
    async with throwaway(valkey.STORE) as url:
        yield url


@pytest.fixture(scope="session")
async def mongodb_url() -> AsyncIterator[str]:
    async with throwaway(mongo.STORE) as url:
        yield url


@pytest.fixture
async def database_dsn(postgres_dsn: str) -> AsyncIterator[str]:
    """An empty database for this test alone."""
    name = f"test_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield f"{postgres_dsn.rpartition('/')[0]}/{name}"
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()
