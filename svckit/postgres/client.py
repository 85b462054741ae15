"""One PostgreSQL database behind a pool, for a service's store.

A store takes a connection for a transaction (`transaction`, or `run`, which tries again when
others were in the way) or runs one statement (`fetch`, `execute` ...). Everything is bounded: the
wait for a connection, a statement, a whole transaction. The driver's errors end here: what comes
out is an error of `svckit.errors` or a violated constraint by its name.

The pool opens no connection until one is needed, so a service starts without its database; after
an outage the next call connects again. Pooled connections carry no session state (no SET, no
LISTEN, no session lock), which is why giving one back costs no round trip.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.parse import quote

import asyncpg
from asyncpg import Record
from asyncpg.transaction import Transaction

from svckit.errors import Aborted, DeadlineExceeded, Unavailable
from svckit.settings import PORT_MAX, Secret, setting

__all__ = [
    "CheckViolation",
    "Connection",
    "ConstraintViolation",
    "Database",
    "ForeignKeyViolation",
    "PostgresSettings",
    "Record",
    "Session",
    "TransactionConflict",
    "UniqueViolation",
    "connect",
    "driver_errors",
    "open_database",
]

_PooledConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Record]"
Session: TypeAlias = "asyncpg.Connection[Record]"  # one that is not of the pool
T = TypeVar("T")

CONFLICT_ATTEMPTS_MAX = 5
CONFLICT_PAUSE_S = 0.01  # doubled with each attempt, full jitter
GIVE_BACK_TIMEOUT_S = 1.0  # to roll back or cancel; beyond it the connection is dropped
PLANNER_SETTINGS = {
    "jit": "off",  # short statements only: compiling them costs more than it saves
    "random_page_cost": "1.1",  # a page is as near as any other in memory and on flash
}
DRIVER_MARGIN_S = 1.0  # the server ends a slow statement; the driver only when the server is mute


class ConstraintViolation(Exception):
    """A constraint of the schema refused the write; `constraint` is its name."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class UniqueViolation(ConstraintViolation):
    """The same key is there already."""


class ForeignKeyViolation(ConstraintViolation):
    """The row that is pointed at is not there (or still pointed at)."""


class CheckViolation(ConstraintViolation):
    """A CHECK or NOT NULL refused the values (NOT NULL: the column's name)."""


class TransactionConflict(Aborted):
    """The server rolled the transaction back for another's sake: nothing of it happened."""


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

    def url(self) -> str:
        """Empty when neither a URL nor a host is given."""
        if self.dsn or not self.host:
            return self.dsn
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql://{login}@{self.host}:{self.port}/{quote(self.database, safe='')}"


class Connection(Protocol):
    """What a store may do with a connection."""

    async def fetch(self, query: str, *args: object) -> list[Record]: ...
    async def fetchrow(self, query: str, *args: object) -> Record | None: ...
    async def fetchval(self, query: str, *args: object) -> Any: ...
    async def execute(self, query: str, *args: object) -> str: ...


class _Statements:
    """A transaction's statements. Their errors are ours at once: the block can catch them."""

    def __init__(self, connection: _PooledConnection) -> None:
        self._connection = connection

    async def fetch(self, query: str, *args: object) -> list[Record]:
        with driver_errors(self._connection):
            return await self._connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> Record | None:
        with driver_errors(self._connection):
            return await self._connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        with driver_errors(self._connection):
            return await self._connection.fetchval(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        with driver_errors(self._connection):
            return await self._connection.execute(query, *args)


class Database:
    """Made by `open_database`; safe to share between tasks."""

    def __init__(self, pool: "asyncpg.Pool[Record]", settings: PostgresSettings) -> None:
        self._pool = pool
        self._settings = settings

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work` in a transaction, again from its start on a deadlock or serialization failure.

        `work` may run several times, its writes count once. A connection that is lost is never
        tried again here: nobody knows whether its commit went through.
        """
        for attempt in range(1, CONFLICT_ATTEMPTS_MAX):
            try:
                async with self.transaction() as connection:
                    return await work(connection)
            except TransactionConflict:
                await asyncio.sleep(random.uniform(0, CONFLICT_PAUSE_S * 2**attempt))  # noqa: S311
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
                    yield _Statements(connection)
                except BaseException:
                    await _roll_back(connection, transaction)
                    raise
                await transaction.commit()

    async def fetch(self, query: str, *args: object) -> list[Record]:
        async with self._acquired() as connection:
            return await connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> Record | None:
        async with self._acquired() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        async with self._acquired() as connection:
            return await connection.fetchval(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        async with self._acquired() as connection:
            return await connection.execute(query, *args)

    async def ping(self) -> None:
        """Raises `Unavailable` unless the database answers."""
        await self.fetchval("SELECT 1")

    @asynccontextmanager
    async def _acquired(self) -> AsyncGenerator[_PooledConnection]:
        with _connecting():
            async with asyncio.timeout(self._settings.acquire_timeout_s):
                connection = await self._pool.acquire()
        try:
            with driver_errors(connection):
                yield connection
        except _ReadOnly:
            await self._pool.expire_connections()  # a demoted primary: connect to its successor
            raise
        finally:
            with suppress(Exception):  # a connection that cannot be given back has been dropped
                await self._pool.release(connection, timeout=GIVE_BACK_TIMEOUT_S)


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
        command_timeout=settings.statement_timeout_s + DRIVER_MARGIN_S,
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
    with _connecting():
        return await asyncpg.connect(dsn, timeout=timeout_s)


async def _keep(_: object) -> None:
    """Leave a connection that is given back as it is."""


async def _roll_back(connection: _PooledConnection, transaction: Transaction) -> None:
    """Roll back, or drop the connection if that fails: the server rolls back then."""
    rolled_back = False
    try:
        with suppress(Exception):
            async with asyncio.timeout(GIVE_BACK_TIMEOUT_S):
                await transaction.rollback()
                rolled_back = True
    finally:
        if not rolled_back:
            with suppress(asyncpg.InterfaceError):  # the pool has dropped it already
                connection.terminate()


class _ReadOnly(Unavailable):
    """The server takes no writes: it is not the primary any more."""


def _unavailable() -> Unavailable:
    return Unavailable(dependency="postgresql")


@contextmanager
def _connecting() -> Generator[None]:
    """No connection, for whatever reason, means that the database is not available."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise _unavailable() from error


@contextmanager
def driver_errors(connection: "_PooledConnection | Session") -> Generator[None]:
    """What the driver raises in the block leaves it as an error of ours."""
    try:
        yield
    except asyncpg.PostgresError as error:
        translated = _translate(error)
        if translated is None:
            raise
        raise translated from error
    except TimeoutError as error:
        raise DeadlineExceeded(dependency="postgresql") from error
    except OSError as error:
        raise _unavailable() from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if _is_lost(connection):
            raise _unavailable() from error
        raise


def _is_lost(connection: "_PooledConnection | Session") -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool took it back when it was lost
        return True


def _translate(error: asyncpg.PostgresError) -> Exception | None:
    """By SQLSTATE; None = a mistake in the statement, which is for the log."""
    state = error.sqlstate or ""
    if isinstance(error, asyncpg.InvalidCachedStatementError):  # the schema has just changed
        return TransactionConflict()
    if state in _ERRORS:
        return _ERRORS[state](error)
    if state[:2] in {"08", "53"} or state[:3] == "57P":  # connection, resources, shutting down
        return _unavailable()
    return None


_ERRORS: dict[str, Callable[[asyncpg.PostgresError], Exception]] = {
    "23502": lambda error: CheckViolation(error.column_name or ""),
    "23503": lambda error: ForeignKeyViolation(error.constraint_name or ""),
    "23505": lambda error: UniqueViolation(error.constraint_name or ""),
    "23514": lambda error: CheckViolation(error.constraint_name or ""),
    "25006": lambda _: _ReadOnly(dependency="postgresql"),
    "25P03": lambda _: DeadlineExceeded(dependency="postgresql"),  # idle in a transaction
    "25P04": lambda _: DeadlineExceeded(dependency="postgresql"),  # transaction timeout
    "40001": lambda _: TransactionConflict(),
    "40P01": lambda _: TransactionConflict(),
    "55P03": lambda _: DeadlineExceeded(dependency="postgresql"),  # lock timeout
    "57014": lambda _: DeadlineExceeded(dependency="postgresql"),  # statement timeout
}


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
