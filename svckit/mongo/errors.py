"""Errors of MongoDB in words of ours: the driver's own go no further than here."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from svckit.errors import Aborted, DeadlineExceeded, Unavailable

_DUPLICATE_KEY = 11000
_OUTRUN = {112, 239, 246}  # WriteConflict, SnapshotTooOld, SnapshotUnavailable


class DuplicateKey(Exception):
    """The same key is there already; inside a transaction the transaction is over."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        super().__init__(", ".join(fields))
        self.fields = fields


class TransactionConflict(Aborted):
    """The server rolled the transaction back for another's sake: nothing of it happened."""


@contextmanager
def driver_errors(on_silence: Callable[[PyMongoError], None]) -> Generator[None]:
    """The driver's errors leave the block as errors of ours.

    `on_silence` is told when the server is gone. What takes too long does not show that.
    """
    try:
        yield
    except PyMongoError as error:
        if isinstance(error, ConnectionFailure) and not isinstance(error, NetworkTimeout):
            on_silence(error)
        translated = _translate(error)
        if translated is None:
            raise
        raise translated from error
    except TimeoutError as error:
        raise DeadlineExceeded(dependency="mongodb") from error


def _translate(error: PyMongoError) -> Exception | None:
    """None = a mistake in the call, which is for the log."""
    details = _details(error)
    if details.get("code") == _DUPLICATE_KEY:
        return DuplicateKey(tuple(details.get("keyPattern", ())))
    if isinstance(error, (ServerSelectionTimeoutError, WaitQueueTimeoutError)):
        return Unavailable(dependency="mongodb")
    if error.timeout:
        return DeadlineExceeded(dependency="mongodb")
    if error.has_error_label("TransientTransactionError") or details.get("code") in _OUTRUN:
        return TransactionConflict()
    if isinstance(error, ConnectionFailure):
        return Unavailable(dependency="mongodb")
    return None


def _details(error: PyMongoError) -> Mapping[str, Any]:
    """The server's words; of several writes, about the first that failed."""
    if isinstance(error, BulkWriteError):
        return next(iter(error.details.get("writeErrors", ())), error.details)
    return (error.details if isinstance(error, OperationFailure) else None) or {}
