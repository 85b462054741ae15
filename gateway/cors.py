"""Which pages of other origins may call: what browsers ask before, and are told with each answer.

People are known by a header that pages set themselves, never by cookies: no page gains anything
from who happens to be signed in elsewhere.
"""

from collections.abc import Sequence

from gateway.exchange import Answer, Headers, Request

_MAX_AGE_S = 600
_TAKEN = b"authorization, content-type, last-event-id, traceparent, x-request-id"
_SHOWN = (
    b"etag, location, ratelimit-limit, ratelimit-remaining, ratelimit-reset, retry-after,"
    b" x-request-id"
)


class Cors:
    def __init__(self, origins: frozenset[str]) -> None:
        self._takes_all = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, request: Request) -> Headers:
        """For every answer."""
        if self._takes_all:
            return [
                (b"access-control-allow-origin", b"*"),
                (b"access-control-expose-headers", _SHOWN),
            ]
        if not self._origins:
            return []
        headers = [(b"vary", b"origin")]
        origin = request.headers.get(b"origin")
        if origin in self._origins:
            headers.append((b"access-control-allow-origin", origin))
            headers.append((b"access-control-expose-headers", _SHOWN))
        return headers

    def options(self, request: Request, methods: Sequence[str]) -> Answer:
        """To OPTIONS, whether a browser asks or somebody else."""
        allowed = ", ".join((*methods, "OPTIONS")).encode()
        headers = [(b"allow", allowed)]
        if b"access-control-request-method" in request.headers:
            headers += [
                (b"access-control-allow-methods", allowed),
                (b"access-control-allow-headers", _TAKEN),
                (b"access-control-max-age", b"%d" % _MAX_AGE_S),
            ]
        return Answer(204, headers=headers)
