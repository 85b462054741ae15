"""Errors of PostgreSQL in words of ours: the driver's own go no further than here.

What comes out is an error of `svckit.errors`, or a violated constraint by its name.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias

import asyncpg

from svckit.errors import Aborted, DeadlineExceeded, Unavailable

AnyConnection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)


class ConstraintViolation(Exception):
    """A constraint of the schema refused the write.

    `constraint` is its name, or that of the column that may not be null.
    """

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class TransactionConflict(Aborted):
    """The server rolled the transaction back for another's sake: nothing of it happened."""


class ReadOnly(Unavailable):
    """The server takes no writes: it is not the primary any more."""


def _unavailable() -> Unavailable:
    return Unavailable(dependency="postgresql")


@contextmanager
def connecting() -> Generator[None]:
    """No connection, for whatever reason, means that the database is not available."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise _unavailable() from error


@contextmanager
def driver_errors(connection: AnyConnection) -> Generator[None]:
    """The driver's errors leave the block as errors of ours."""
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


def _is_lost(connection: AnyConnection) -> bool:
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
    "23502": lambda error: ConstraintViolation(error.column_name or ""),
    "23503": lambda error: ConstraintViolation(error.constraint_name or ""),
    "23505": lambda error: ConstraintViolation(error.constraint_name or ""),
    "23514": lambda error: ConstraintViolation(error.constraint_name or ""),
    "25006": lambda _: ReadOnly(dependency="postgresql"),
    "25P03": lambda _: DeadlineExceeded(dependency="postgresql"),  # idle in a transaction
    "25P04": lambda _: DeadlineExceeded(dependency="postgresql"),  # transaction timeout
    "40001": lambda _: TransactionConflict(),
    "40P01": lambda _: TransactionConflict(),
    "55P03": lambda _: DeadlineExceeded(dependency="postgresql"),  # lock timeout
    "57014": lambda _: DeadlineExceeded(dependency="postgresql"),  # statement timeout
}
