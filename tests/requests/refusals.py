"""What a refused call tells its caller, as one value to compare."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

import grpc
import pytest
from google.rpc import error_details_pb2

from svckit.rpc.status import DOMAIN, rich_status


@dataclass(frozen=True)
class Refusal:
    """The status, the reason with its metadata, and the fields that are said to be wrong."""

    code: grpc.StatusCode
    reason: str
    metadata: Mapping[str, str]
    fields: tuple[str, ...]

    @property
    def says(self) -> str:
        return f"{self.code.name} {self.reason}"


async def refusal(call: Awaitable[object]) -> Refusal:
    """Fails the test when the call succeeds, or when its error has no ErrorInfo of ours."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in rich_status(error).details:
        for message in (info, bad_request):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    assert info.domain == DOMAIN, error
    fields = tuple(violation.field for violation in bad_request.field_violations)
    return Refusal(error.code(), info.reason, dict(info.metadata), fields)
