"""The edge: an ASGI request in, its answer out, whatever happens on the way.

Every answer has a request id, the security headers and a line in the log; every error has the
contract's shape. A reader that takes nothing for too long is cut off.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import aclosing
from typing import Any

from gateway.cors import Cors
from gateway.exchange import CLOSE, SECURITY_HEADERS, Answer, Headers, Notes, Refused, Request
from gateway.head import Proxies, read_head
from gateway.metrics import REQUEST_SECONDS, REQUESTS, STREAMS_CUT
from gateway.pages import Pages
from gateway.problems import to_answer
from gateway.routes import Router
from gateway.transcode import Transcoder
from svckit.context import Call, current_call
from svckit.ids import new_id

Scope = Mapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

logger = logging.getLogger(__name__)

_NO_CONTENT = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Edge:
    """The ASGI application."""

    def __init__(
        self,
        router: Router,
        transcoder: Transcoder,
        pages: Pages,
        cors: Cors,
        proxies: Proxies,
        request_timeout_s: float,
        write_timeout_s: float,
        body_bytes_max: int,
    ) -> None:
        self._router = router
        self._transcoder = transcoder
        self._pages = pages
        self._cors = cors
        self._proxies = proxies
        self._request_timeout_s = request_timeout_s
        self._write_timeout_s = write_timeout_s
        self._body_bytes_max = body_bytes_max
        self._is_draining = False

    def drain(self) -> None:
        """From now on every answer tells its connection to go elsewhere."""
        self._is_draining = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.monotonic()
        call = Call(scope["method"], new_id().hex, started_s + self._request_timeout_s)
        current_call.set(call)
        notes = Notes()
        try:
            request = self._read(scope, receive, call)
            notes.headers += self._cors.headers(request)
            answer = await self._answer(request, call, notes)
        except Exception as error:  # noqa: BLE001 the outermost place: whatever it is, it is answered
            answer = to_answer(error)
        headers = _headers(answer, call, notes)
        if self._is_draining:
            headers.append(CLOSE)
        sent_bytes = await self._send(answer, headers, scope, send)
        seconds = time.monotonic() - started_s
        REQUESTS.labels(notes.route, str(answer.status)).inc()
        if answer.events is None:
            REQUEST_SECONDS.labels(notes.route).observe(seconds)
        _log(answer.status, notes, seconds, sent_bytes)

    def _read(self, scope: Scope, receive: Receive, call: Call) -> Request:
        request = read_head(
            scope["method"],
            scope["raw_path"],
            scope["query_string"],
            scope["headers"],
            scope["http_version"],
            self._proxies.client_of(scope["client"][0], scope["headers"]),
            lambda: _read_body(receive),
            scope["state"]["gone"],
            call.request_id,
            self._body_bytes_max,
        )
        call.request_id = request.request_id
        call.traceparent = request.traceparent
        call.token = request.token
        return request

    async def _answer(self, request: Request, call: Call, notes: Notes) -> Answer:
        if (page := self._pages.find(request)) is not None:
            notes.route, notes.is_quiet = request.path.decode("latin-1"), page.is_quiet
            return page.answer(request)
        if request.method == "OPTIONS":
            return self._cors.options(request, self._router.allowed(request.path))
        route, values = self._router.match(request.method, request.path)
        notes.route = call.method = f"{route.http_method} {route.template}"
        return await self._transcoder.answer(request, route, values, call, notes)

    async def _send(self, answer: Answer, headers: Headers, scope: Scope, send: Send) -> int:
        """Returns how many bytes of body went out."""
        sent_bytes = len(answer.body)
        has_more = answer.events is not None
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await send(start)
                await send(_chunk(answer.body, has_more=has_more))
            if answer.events is None:
                return sent_bytes
            async with aclosing(answer.events) as events:
                async for event in events:
                    async with asyncio.timeout(self._write_timeout_s):
                        await send(_chunk(event, has_more=True))
                    sent_bytes += len(event)
            async with asyncio.timeout(self._write_timeout_s):
                await send(_chunk(b"", has_more=False))
        except TimeoutError:
            STREAMS_CUT.inc()
            scope["state"]["abort"]()
        return sent_bytes


async def _read_body(receive: Receive) -> bytes:
    """All of it; its length was checked with the head, and the server keeps to the length."""
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Refused(400, "body", "the body ended before its length")
        body += event["body"]
        if not event["more_body"]:
            return bytes(body)


def _headers(answer: Answer, call: Call, notes: Notes) -> Headers:
    headers = [
        *answer.headers,
        *notes.headers,
        *SECURITY_HEADERS,
        (b"x-request-id", call.request_id.encode()),
    ]
    names = {name for name, _ in headers}
    if b"cache-control" not in names:
        headers.append((b"cache-control", b"no-store"))
    if _NO_CONTENT[0] not in names:
        headers.append(_NO_CONTENT)
    if answer.events is None and answer.status not in {204, 304}:
        headers.append((b"content-length", b"%d" % len(answer.body)))
    return headers


def _chunk(body: bytes, *, has_more: bool) -> Event:
    return {"type": "http.response.body", "body": body, "more_body": has_more}


def _log(status: int, notes: Notes, seconds: float, sent_bytes: int) -> None:
    level = logging.DEBUG if notes.is_quiet else logging.INFO
    told: dict[str, object] = {
        "status": status,
        "ms": round(seconds * 1000, 1),
        "bytes": sent_bytes,
    }
    if notes.person_id is not None:
        told["person_id"] = notes.person_id
    logger.log(level, "request", extra=told)
