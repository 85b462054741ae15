"""One PostgreSQL database behind a pool, for a service's store.

A store takes a connection for a transaction (`transaction`, or `run`, which tries again when
others were in the way) or runs one statement (`fetch`, `execute` ...). Everything is bounded: the
wait for a connection, a statement, a whole transaction. The driver's errors end in
`svckit.postgres.errors`.

The pool opens no connection until one is needed, so a service starts without its database; after
an outage the next call connects again. Pooled connections carry no session state (no SET, no
LISTEN, no session lock), which is why giving one back costs no round trip.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

import asyncpg
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy
from asyncpg.transaction import Transaction

from svckit.backoff import backoff_s
from svckit.postgres.errors import ReadOnly, TransactionConflict, connecting, driver_errors
from svckit.settings import PORT_MAX, Secret, setting

__all__ = [
    "Connection",
    "Database",
    "PostgresSettings",
    "Record",
    "Session",
    "connect",
    "open_database",
]

_PooledConnection: TypeAlias = "PoolConnectionProxy[Record]"
Session: TypeAlias = "asyncpg.Connection[Record]"  # one that is not of the pool
T = TypeVar("T")

PLANNER_SETTINGS = {
    "jit": "off",  # short statements only: compiling them costs more than it saves
    "random_page_cost": "1.1",  # a page is as near as any other in memory and on flash
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSettings:
    """Where the database is (one URL, or its parts) and how long anything may take."""

    dsn: Secret = setting("POSTGRES_DSN", "PostgreSQL as one URL; wins over the parts", Secret())
    host: str = setting("POSTGRES_HOST", "PostgreSQL's host", "")
    port: int = setting("POSTGRES_PORT", "its port", 5432, at_least=1, at_most=PORT_MAX)
    user: str = setting("POSTGRES_USER", "its user", "newsfeed")
    password: Secret = setting("POSTGRES_PASSWORD", "its password", Secret())
    database: str = setting("POSTGRES_DB", "its database", "newsfeed")
    pool_size_max: int = setting("POSTGRES_POOL_MAX", "connections per process", 20, at_least=1)
    acquire_timeout_s: float = 2.0  # wait for a free connection, connecting included
    statement_timeout_s: float = 5.0
    transaction_timeout_s: float = 5.0
    driver_margin_s: float = 1.0  # the driver ends a statement only when the server is mute
    give_back_timeout_s: float = 1.0  # to roll back or cancel; then the connection is dropped
    conflict_attempts_max: int = 5
    conflict_pause_min_s: float = 0.015
    conflict_pause_max_s: float = 0.2

    def url(self) -> str:
        """Empty when neither a URL nor a host is given."""
        if self.dsn or not self.host:
            return self.dsn
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql://{login}@{self.host}:{self.port}/{quote(self.database, safe='')}"


class Connection(ABC):
    """What a store runs its statements on: a transaction, or the database itself."""

    @abstractmethod
    async def _do(self, call: Callable[..., Awaitable[T]], *args: object) -> T:
        """Call it with the driver's connection and `args`."""

    async def fetch(self, query: str, *args: object) -> list[Record]:
        return await self._do(PoolConnectionProxy.fetch, query, *args)

    async def fetchrow(self, query: str, *args: object) -> Record | None:
        return await self._do(PoolConnectionProxy.fetchrow, query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        return await self._do(PoolConnectionProxy.fetchval, query, *args)

    async def execute(self, query: str, *args: object) -> str:
        return await self._do(PoolConnectionProxy.execute, query, *args)


class _Transaction(Connection):
    """Its statements' errors are ours at once: the block can catch them."""

    def __init__(self, connection: _PooledConnection) -> None:
        self._connection = connection

    async def _do(self, call: Callable[..., Awaitable[T]], *args: object) -> T:
        with driver_errors(self._connection):
            return await call(self._connection, *args)


class Database(Connection):
    """Made by `open_database`; safe to share between tasks."""

    def __init__(self, pool: "asyncpg.Pool[Record]", settings: PostgresSettings) -> None:
        self._pool = pool
        self._settings = settings

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work` in a transaction, again from its start on a deadlock or serialization failure.

        `work` may run several times, its writes count once. A connection that is lost is never
        tried again here: nobody knows whether its commit went through.
        """
        settings = self._settings
        pauses_s = backoff_s(settings.conflict_pause_min_s, settings.conflict_pause_max_s)
        for _ in range(1, settings.conflict_attempts_max):
            try:
                async with self.transaction() as connection:
                    return await work(connection)
            except TransactionConflict:
                await asyncio.sleep(next(pauses_s))
        async with self.transaction() as connection:
            return await work(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Commits at the end of the block; rolls back if it raises, is cancelled or too long."""
        async with self._acquired() as connection:
            async with asyncio.timeout(self._settings.transaction_timeout_s):
                transaction = connection.transaction()
                try:
                    await transaction.start()
                    yield _Transaction(connection)
                except BaseException:
                    await _roll_back(connection, transaction, self._settings.give_back_timeout_s)
                    raise
                await transaction.commit()

    async def _do(self, call: Callable[..., Awaitable[T]], *args: object) -> T:
        async with self._acquired() as connection:
            return await call(connection, *args)

    async def ping(self) -> None:
        """Raises `Unavailable` unless the database answers."""
        await self.fetchval("SELECT 1")

    @asynccontextmanager
    async def _acquired(self) -> AsyncGenerator[_PooledConnection]:
        with connecting():
            async with asyncio.timeout(self._settings.acquire_timeout_s):
                connection = await self._pool.acquire()
        try:
            with driver_errors(connection):
                yield connection
        except ReadOnly:
            await self._pool.expire_connections()  # a demoted primary: connect to its successor
            raise
        finally:
            with suppress(Exception):  # a connection that cannot be given back has been dropped
                await self._pool.release(connection, timeout=self._settings.give_back_timeout_s)


@asynccontextmanager
async def open_database(
    settings: PostgresSettings, application_name: str = "newsfeed"
) -> AsyncGenerator[Database]:
    """The pool, for as long as the block lasts; opening does not connect."""
    server_settings = {
        **PLANNER_SETTINGS,
        "application_name": application_name,
        "statement_timeout": _milliseconds(settings.statement_timeout_s),
        "idle_in_transaction_session_timeout": _milliseconds(settings.transaction_timeout_s),
    }
    pool = await asyncpg.create_pool(
        settings.url(),
        min_size=0,
        max_size=settings.pool_size_max,
        command_timeout=settings.statement_timeout_s + settings.driver_margin_s,
        server_settings=server_settings,
        reset=_keep,
    )
    try:
        yield Database(pool, settings)
    finally:
        try:
            async with asyncio.timeout(settings.transaction_timeout_s):
                await pool.close()
        except TimeoutError:
            pool.terminate()


async def connect(dsn: str, *, timeout_s: float = 3.0) -> Session:
    """One connection outside any pool, without statement timeouts: for migrations."""
    with connecting():
        return await asyncpg.connect(dsn, timeout=timeout_s)


async def _keep(_: object) -> None:
    """Leave a connection that is given back as it is."""


async def _roll_back(
    connection: _PooledConnection, transaction: Transaction, timeout_s: float
) -> None:
    """Roll back, or drop the connection if that fails: the server rolls back then."""
    try:
        async with asyncio.timeout(timeout_s):
            await transaction.rollback()
    except BaseException as error:
        with suppress(asyncpg.InterfaceError):  # the pool has dropped it already
            connection.terminate()
        if not isinstance(error, Exception):
            raise


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
