"""Errors as HTTP: a status of gRPC, a refusal of HTTP or a fault of ours → an answer.

In the contract's shape: `{"error": {"code": 404, "status": "NOT_FOUND", "message": ..., "details":
[...]}}`. Details come as their senders made them. Texts of drivers, of gRPC itself or of exceptions
never get out.
"""

import json
import logging
import math
from collections.abc import Mapping
from http import HTTPStatus

from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.clients import CallFailed
from gateway.exchange import JSON_TYPE, SECURITY_HEADERS, Answer, Headers, Refused
from svckit.context import current_call
from svckit.errors import (
    DeadlineExceeded,
    DomainError,
    NotFound,
    ResourceExhausted,
    Unimplemented,
)
from svckit.rpc.status import to_rpc_status
from svckit.rpc.table import Internal, InvalidMessage

logger = logging.getLogger(__name__)

HTTP_STATUS = {
    code_pb2.CANCELLED: 499,
    code_pb2.UNKNOWN: 500,
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.DEADLINE_EXCEEDED: 504,
    code_pb2.NOT_FOUND: 404,
    code_pb2.ALREADY_EXISTS: 409,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.FAILED_PRECONDITION: 400,
    code_pb2.ABORTED: 409,
    code_pb2.OUT_OF_RANGE: 400,
    code_pb2.UNIMPLEMENTED: 501,
    code_pb2.INTERNAL: 500,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DATA_LOSS: 500,
    code_pb2.UNAUTHENTICATED: 401,
}


class NoSuchPath(NotFound):
    reason = "UNIMPLEMENTED"


_ERROR_OF_REFUSAL: Mapping[int, type[DomainError]] = {
    404: NoSuchPath,
    405: Unimplemented,
    408: DeadlineExceeded,
    503: ResourceExhausted,
}


def to_answer(error: Exception) -> Answer:
    """Every error has one; what we did not expect is logged and told as INTERNAL."""
    if isinstance(error, Refused):
        status = _status_of(_error_of(error))
        status.message = error.message
        return _answer(error.status, status, error.headers)
    if isinstance(error, CallFailed):
        status = error.status
    elif isinstance(error, DomainError):
        status = _status_of(error)
    else:
        logger.error("request_failed", exc_info=error)
        call = current_call.get()
        status = _status_of(Internal(request_id=call.request_id if call else ""))
    return _answer(_http_status_of(status), status, [])


def to_json(error: Exception) -> bytes:
    return to_answer(error).body


def to_wire(answer: Answer, request_id: bytes) -> bytes:
    """All bytes of an answer that is given before there is a request to serve."""
    headers = [
        *answer.headers,
        *SECURITY_HEADERS,
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id),
        (b"content-length", b"%d" % len(answer.body)),
    ]
    phrase = HTTPStatus(answer.status).phrase.encode()
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (answer.status, phrase, b"".join(lines), answer.body)


def _status_of(error: DomainError) -> status_pb2.Status:
    return status_pb2.Status.FromString(to_rpc_status(error).details)


def _http_status_of(status: status_pb2.Status) -> int:
    """The usual one; but 429 says that the caller asks too much, and 503 that we have too much."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.reason == ResourceExhausted.reason:
            return 503
    return HTTP_STATUS.get(status.code, 500)


def _answer(http_status: int, status: status_pb2.Status, headers: Headers) -> Answer:
    document = {
        "error": {
            "code": http_status,
            "status": code_pb2.Code.Name(status.code),
            "message": status.message,
            "details": [
                json_format.MessageToDict(each, always_print_fields_with_no_presence=True)
                for each in status.details
            ],
        }
    }
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    headers = [(b"content-type", JSON_TYPE), *headers]
    if http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    for detail in status.details:
        if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo.FromString(detail.value)
            retry_after_s = max(1, math.ceil(retry.retry_delay.ToTimedelta().total_seconds()))
            headers.append((b"retry-after", b"%d" % retry_after_s))
    return Answer(http_status, body, headers)


def _error_of(refused: Refused) -> DomainError:
    """The nearest that the contract has to what HTTP refuses."""
    kind = _ERROR_OF_REFUSAL.get(refused.status)
    return kind() if kind else InvalidMessage.of(refused.field, refused.message)
