"""The errors a use case may raise, by kind.

A kind decides the gRPC status (the table is in `svckit.rpc.status`); a subclass names the reason,
which stands in the public enum `newsfeed.errors.v1.ErrorReason`. An error carries data, never a
driver's text: whatever is in here may be shown to the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that is wrong: its path in the request, and what would be right."""

    field: str
    description: str


class DomainError(Exception):
    """An error in terms of the contract; `metadata` says with what."""

    reason: ClassVar[str] = "INTERNAL"
    message: ClassVar[str] = "Something went wrong on our side."
    retry_after_s: float | None = None

    def __init__(self, **metadata: str) -> None:
        super().__init__(self.reason)
        self.metadata = metadata


class InvalidArgument(DomainError):
    """The request can never succeed as it is; every wrong field is named."""

    reason = "INVALID_FIELD"
    message = "The request has invalid fields."

    def __init__(self, violations: Sequence[FieldViolation], **metadata: str) -> None:
        super().__init__(**metadata)
        self.violations = tuple(violations)

    @classmethod
    def of(cls, field: str, description: str) -> "InvalidArgument":
        return cls([FieldViolation(field, description)])


class Unauthenticated(DomainError):
    """Nobody knows who is calling."""

    reason = "TOKEN_MISSING"
    message = "This call needs an access token."


class PermissionDenied(DomainError):
    """The caller is known and may not do this."""

    reason = "PERMISSION_DENIED"
    message = "You may not do this."


class NotFound(DomainError):
    """The thing that was named does not exist for this caller."""


class AlreadyExists(DomainError):
    """Another thing already has this name or id."""


class FailedPrecondition(DomainError):
    """The request is right, the state of the world is not."""


class Aborted(DomainError):
    """Others changed the same thing at the same time; trying again is sensible."""

    reason = "CONFLICT"
    message = "Somebody changed this at the same time. Try again."


class ResourceExhausted(DomainError):
    """A limit is reached; `retry_after_s` says when trying again may help."""

    reason = "OVERLOADED"
    message = "Too much is going on right now. Try again later."

    def __init__(self, retry_after_s: float | None = None, **metadata: str) -> None:
        super().__init__(**metadata)
        self.retry_after_s = retry_after_s


class Unavailable(DomainError):
    """A part that is needed is not there; trying again later is safe."""

    reason = "DEPENDENCY_UNAVAILABLE"
    message = "A part of the service is not reachable right now. Try again later."

    def __init__(self, retry_after_s: float = 1.0, **metadata: str) -> None:
        super().__init__(**metadata)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(DomainError):
    """The time the caller gave, or the server allows, ran out."""

    reason = "DEADLINE_EXCEEDED"
    message = "The call took too long."


class Unimplemented(DomainError):
    """The contract has it, and this version does not do it yet."""

    reason = "UNIMPLEMENTED"
    message = "This is not there yet."
