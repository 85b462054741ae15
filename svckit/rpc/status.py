"""Domain errors to gRPC status and back: the one table of both directions.

Outwards every error becomes a `google.rpc.Status` with `ErrorInfo`, and `BadRequest` or `RetryInfo`
where they apply. Inwards a status of another service becomes a domain error of the same kind, so
that no use case ever sees a `grpc` exception.
"""

from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from svckit import errors

DOMAIN = "newsfeed"
DETAILS_KEY = "grpc-status-details-bin"

_CODES: dict[type[errors.DomainError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.DomainError: grpc.StatusCode.INTERNAL,
}
_KINDS = {code: kind for kind, code in _CODES.items()}
_PEERS_FAILURES = {
    errors.DomainError,
    errors.Unimplemented,
    errors.Unauthenticated,
    errors.Unavailable,
}


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """A status as gRPC sends it: the code, the text, and the packed details."""

    code: grpc.StatusCode
    message: str
    details: bytes

    @property
    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return ((DETAILS_KEY, self.details),)


def code_of(error: errors.DomainError) -> grpc.StatusCode:
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)


def to_rpc_status(error: errors.DomainError) -> RpcStatus:
    code = code_of(error)
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    ]
    message = error.message
    if isinstance(error, errors.InvalidArgument):
        told = (f"{each.field}: {each.description}" for each in error.violations)
        message = "; ".join(told) or message
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=violation.field,
                        description=violation.description,
                        reason=error.reason,
                    )
                    for violation in error.violations
                ]
            )
        )
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(error.retry_after_s * 1000))
        details.append(retry)
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return RpcStatus(code, message, status.SerializeToString())


def rich_status(rpc_error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The rich status that came with an error; empty when the peer sent none."""
    for key, value in rpc_error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status()


def to_domain_error(rpc_error: grpc.aio.AioRpcError, peer: str) -> errors.DomainError:
    """The same kind of error as the peer raised. What only the peer can know counts as Unavailable.

    A peer's INTERNAL, UNKNOWN and UNIMPLEMENTED, and the peer's UNAUTHENTICATED (our own service
    token, nothing that our caller could mend) are its failure, not our caller's.
    """
    kind = _KINDS.get(rpc_error.code(), errors.DomainError)
    if kind in _PEERS_FAILURES:
        return errors.Unavailable(dependency=peer)
    reason, metadata, violations = None, {}, []
    for detail in rich_status(rpc_error).details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            violations = [
                errors.FieldViolation(each.field, each.description) for each in bad.field_violations
            ]
    error = (
        errors.InvalidArgument(violations, **metadata)
        if kind is errors.InvalidArgument
        else kind(**metadata)
    )
    if reason:
        error.args = (reason,)
        error.reason = reason  # type: ignore[misc]  # shadows the class's reason with the peer's
    return error
