"""One HTTP exchange: the request as the gateway sees it, and the answer that goes back.

`Refused` is what HTTP itself can refuse; what a service refuses is a status of gRPC. Both become an
answer in `gateway.problems`.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]

ReadBody = Callable[[], Awaitable[bytes]]
Gone = Callable[[], asyncio.Future[None]]

CLOSE = (b"connection", b"close")
JSON_TYPE = b"application/json"
SECURITY_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose head has been checked. Nothing else of what a client sent is passed on."""

    method: str
    path: bytes  # as it was sent
    query: bytes
    headers: Mapping[bytes, bytes]
    address: str  # of the client, as far as proxies that we trust tell
    request_id: str
    traceparent: str | None
    token: str | None
    content_length: int
    read_body: ReadBody
    gone: Gone  # done when the client has gone


@dataclass(slots=True)
class Notes:
    """Findings on the way, for log, metrics and headers of any answer."""

    route: str = "-"
    person_id: str | None = None
    headers: Headers = field(default_factory=list)
    is_quiet: bool = False  # not worth a line in the log


@dataclass(slots=True)
class Answer:
    """With a body; behind it, in a stream, come `events` one by one."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)
    events: AsyncGenerator[bytes] | None = None


class Refused(Exception):
    """The request can't be served as HTTP; `field` names the header or part that is wrong."""

    def __init__(
        self, status: int, field: str, message: str, headers: Headers | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        self.message = message
        self.headers = headers or []
