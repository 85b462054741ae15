"""Bytes that no honest client sends: each is refused, or cut off, within a second and for little.

Nothing here needs a service: what is wrong is refused before one is asked.
"""

import asyncio
import gzip
import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from svckit.logs import JsonFormatter
from tests.polling import until
from tests.stacks.gateway_stack import GatewayStack, open_gateway_stack, request_bytes
from tests.stacks.user_stack import UserStack

WITHIN_S = 5.0
HEAD_TIMEOUT_S = 0.5
KEEP_ALIVE_S = 1  # there is no less
MEMORY_MIB_MAX = 50
SENT_AT_ONCE_BYTES = 64 * 1024
LOGIN = "/v1/auth/login"
BODY = b'{"login": "ada", "password": "correct horse battery"}'


@pytest.fixture(scope="module")
async def stack(user_stack: UserStack, keys_folder: Path) -> AsyncIterator[GatewayStack]:
    environ = {
        "USER_SVC_TARGET": user_stack.address,
        "HEAD_TIMEOUT_S": str(HEAD_TIMEOUT_S),
        "WRITE_TIMEOUT_S": "0.5",
        "KEEP_ALIVE_S": str(KEEP_ALIVE_S),
        "CONNECTIONS_MAX": "60",
    }
    async with open_gateway_stack(keys_folder, **environ) as stack:
        yield stack


@pytest.fixture(autouse=True)
async def costs_little(stack: GatewayStack) -> AsyncIterator[None]:
    """Afterwards the gateway still serves, and has not grown."""
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    yield
    assert (await stack.request("GET", "/healthz")).status == 200
    assert process.memory_info().rss - before < MEMORY_MIB_MAX * 2**20


def head(*lines: str, method: str = "POST", path: str = LOGIN) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: gateway", *lines, "", ""]).encode(
        "latin-1"
    )


def post(body: bytes, *lines: str) -> bytes:
    length = f"Content-Length: {len(body)}"
    return head("Content-Type: application/json", length, *lines) + body


NESTED = b'{"login": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
BOMB = gzip.compress(b'{"login": "' + b"a" * 100_000_000 + b'"}', 9)
ANY_ID = "01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7"

REFUSED = {
    "chunked and Content-Length": (
        head("Content-Length: 6", "Transfer-Encoding: chunked")
        + b"0\r\n\r\nGET /smuggled HTTP/1.1",
        {400},
    ),
    "chunked": (
        head("Transfer-Encoding: chunked", "Content-Type: application/json")
        + b"2\r\n{}\r\n0\r\n\r\n",
        {411},
    ),
    "chunked with a trailer": (
        head("Transfer-Encoding: chunked") + b"0\r\nAuthorization: Bearer x\r\n\r\n",
        {411},
    ),
    "two lengths": (head("Content-Length: 2", "Content-Length: 3") + b"{}", {400}),
    "a negative length": (head("Content-Length: -1"), {400}),
    "a length in hexadecimal": (head("Content-Length: 0x10"), {400}),
    "a length that is huge": (head("Content-Length: 99999999999999999999999"), {400, 413}),
    "a body that is too large": (head("Content-Length: 262145"), {413}),
    "a body in gzip": (post(BOMB[:1000], "Content-Encoding: gzip"), {415}),
    "a gzip bomb": (post(BOMB, "Content-Encoding: gzip"), {413, 415}),
    "another type": (head("Content-Type: text/xml", "Content-Length: 2") + b"{}", {415}),
    "a form": (
        head("Content-Type: application/x-www-form-urlencoded", "Content-Length: 3") + b"a=b",
        {415},
    ),
    "no type": (head("Content-Length: 2") + b"{}", {415}),
    "nested 10,000 deep": (post(NESTED), {400}),
    "a name twice": (post(b'{"login": "a", "login": "b", "password": "x"}'), {400}),
    "invalid UTF-8": (post(b'{"login": "\xff\xfe", "password": "x"}'), {400}),
    "an unpaired surrogate": (post(b'{"login": "\\ud800", "password": "x"}'), {400}),
    "a number of 200,000 digits": (post(b'{"login": ' + b"9" * 200_000 + b"}"), {400}),
    "NaN": (post(b'{"login": NaN}'), {400}),
    "1,000 headers": (head(*(f"X-{number}: y" for number in range(1000))), {431}),
    "one huge header": (head(f"X-Huge: {'y' * 100_000}"), {431}),
    "a huge header that never ends": (head(f"X-Huge: {'y' * 300_000}")[:-4], {431}),
    "a huge name": (head(f"{'X' * 100_000}: y"), {431}),
    "a huge path": (head(path="/" + "x" * 100_000, method="GET"), {431}),
    "a token of 1 MB": (head(f"Authorization: Bearer {'x' * 1_000_000}", path="/v1/me"), {431}),
    "a token of 20 KB": (
        head(f"Authorization: Bearer {'x' * 20_000}", path="/v1/me", method="GET"),
        {401},
    ),
    "two Authorization headers": (
        head("Authorization: Bearer a", "Authorization: Bearer b", path="/v1/me", method="GET"),
        {400},
    ),
    "two Host headers": (head("Host: other", path="/v1/me", method="GET"), {400}),
    "no Host header": (b"GET /v1/me HTTP/1.1\r\n\r\n", {400}),
    "%00": (head(path="/v1/users/%00", method="GET"), {400}),
    "%00 in the query": (head(path="/v1/users:search?query=%00", method="GET"), {400, 401}),
    "..;/": (head(path="/v1/..;/admin/users", method="GET"), {400, 404}),
    "../": (head(path="/v1/me/../admin/users", method="GET"), {400, 404}),
    "%2e%2e": (head(path="/v1/%2e%2e/v1/me", method="GET"), {400, 404}),
    "%2f": (head(path="/v1%2fme", method="GET"), {404}),
    "//": (head(path="//v1/me", method="GET"), {400, 404}),
    "bytes beyond UTF-8 in the path": (head(path="/v1/users/%ff", method="GET"), {400}),
    "a verb that is overridden": (
        head("X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", path=f"/v1/users/{ANY_ID}"),
        {405},
    ),
    "a verb in the query": (head(path=f"/v1/users/{ANY_ID}?_method=DELETE"), {405}),
    "CONNECT": (b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n", {400}),
    "TRACE": (head(method="TRACE", path="/v1/me"), {405}),
    "an unknown verb": (head(method="BREW", path="/v1/me"), {400}),
    "HTTP/2 without asking": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "HTTP/0.9": (b"GET /v1/me\r\n\r\n", {400}),
    "TLS": (bytes.fromhex("16030100a5010000a10303") + b"\x00" * 150, {400}),
    "a header folded over lines": (head("X-Folded: a\r\n b", path="/v1/me", method="GET"), {400}),
    "a space before the colon": (head("X-Spaced : a", path="/v1/me", method="GET"), {400}),
    "a line that ends with LF alone": (b"GET /v1/me HTTP/1.1\nHost: gateway\n\n", {400}),
    "NUL in a header": (head("X-Nul: a\x00b", path="/v1/me", method="GET"), {400}),
    "CR alone in a header": (head("X-Cr: a\rX-Request-Id: b", path="/v1/me", method="GET"), {400}),
    "a body on GET": (
        request_bytes("GET", "/.well-known/jwks.json", None, {"a": 1}),
        {400},
    ),
}


async def sent(stack: GatewayStack, data: bytes) -> tuple[int, bytes] | None:
    """The answer's status and what came with it, or None if the connection was just closed."""
    async with stack.connection() as connection:
        try:
            await connection.send(data)
            reply = await connection.reply()
        except (ConnectionError, asyncio.IncompleteReadError):
            return None
    return reply.status, reply.body


@pytest.mark.parametrize("name", REFUSED)
async def test_is_refused_at_once(stack: GatewayStack, name: str) -> None:
    data, statuses = REFUSED[name]
    async with asyncio.timeout(WITHIN_S):
        answer = await sent(stack, data)
    if answer is None:  # an answer may be lost to what was still being sent, if that was much
        assert len(data) > SENT_AT_ONCE_BYTES
    else:
        assert answer[0] in statuses
        error = json.loads(answer[1])["error"]
        assert error["code"] == answer[0]
        assert error["details"][0]["domain"] == "newsfeed"


@pytest.mark.parametrize(
    "start",
    [b"", b"\r\n", b"GET", b"GET /v1/me HTTP/1.1\r\nHost: g", head()[:-2]],
    ids=["nothing", "an empty line", "a verb", "half a head", "all but the last line"],
)
async def test_a_head_that_does_not_arrive(stack: GatewayStack, start: bytes) -> None:
    async with stack.connection() as connection, asyncio.timeout(HEAD_TIMEOUT_S + WITHIN_S):
        await connection.send(start)
        reply = await connection.reply()
        assert (reply.status, reply.error["status"]) == (408, "DEADLINE_EXCEEDED")
        assert await connection.reader.read() == b""


async def test_a_head_that_drips_is_not_kept_alive_by_dripping(stack: GatewayStack) -> None:
    async with stack.connection() as connection, asyncio.timeout(HEAD_TIMEOUT_S + WITHIN_S):
        answer = asyncio.create_task(connection.reply())
        while not answer.done():
            for byte in (b"G", b"\r\n"):
                connection.writer.write(byte)
            await asyncio.wait({answer}, timeout=0.05)
        assert answer.result().status in {400, 408}


async def test_a_second_head_that_does_not_arrive(stack: GatewayStack) -> None:
    async with stack.connection() as connection:
        assert (await connection.request("GET", "/healthz")).status == 200
        async with asyncio.timeout(HEAD_TIMEOUT_S + WITHIN_S):
            await connection.send(b"GET /heal")
            assert (await connection.reply()).status == 408


async def test_a_body_that_does_not_arrive(stack: GatewayStack) -> None:
    async with stack.connection() as connection, asyncio.timeout(HEAD_TIMEOUT_S + WITHIN_S):
        await connection.send(post(BODY)[:-1])
        assert (await connection.reply()).status == 408
        assert await connection.reader.read() == b""


async def test_a_body_that_drips_after_its_answer(stack: GatewayStack) -> None:
    """What is refused by its head is not read for ever."""
    async with stack.connection() as connection, asyncio.timeout(HEAD_TIMEOUT_S + 2 * WITHIN_S):
        await connection.send(head("Content-Length: 1000", path="/nowhere"))
        assert (await connection.reply()).status == 404
        end = asyncio.create_task(connection.reader.read())
        while not end.done():
            connection.writer.write(b"x")
            await asyncio.wait({end}, timeout=0.05)


async def test_a_large_body_behind_its_refusal_is_dropped_and_the_connection_good(
    stack: GatewayStack,
) -> None:
    async with stack.connection() as connection:
        await connection.send(head("Content-Length: 200000", path="/nowhere"))
        assert (await connection.reply()).status == 404
        for _ in range(20):
            await connection.send(b"x" * 10_000)
        assert (await connection.request("GET", "/healthz")).status == 200


async def test_half_a_head_behind_a_dropped_body_has_an_end_too(stack: GatewayStack) -> None:
    async with stack.connection() as connection, asyncio.timeout(HEAD_TIMEOUT_S + 2 * WITHIN_S):
        await connection.send(head("Content-Length: 1000", path="/nowhere"))
        assert (await connection.reply()).status == 404
        await connection.send(b"x" * 1000 + b"GET /")
        await connection.reader.read()


async def test_many_slow_heads_leave_room_for_others(stack: GatewayStack) -> None:
    slow = [await asyncio.open_connection("127.0.0.1", stack.port) for _ in range(50)]
    for _, writer in slow:
        writer.write(b"GET / HTTP/1.1\r\nX: ")
    assert (await stack.request("GET", "/healthz")).status == 200
    for reader, writer in slow:
        assert b" 408 " in await reader.read()
        writer.close()


async def test_beyond_the_most_connections_one_is_told_so(stack: GatewayStack) -> None:
    others = [await asyncio.open_connection("127.0.0.1", stack.port) for _ in range(60)]
    async with stack.connection() as connection:
        reply = await connection.reply()
        assert (reply.status, reply.reason) == (503, "OVERLOADED")
    for _, writer in others:
        writer.close()
    await until(lambda: stack.app.server.connections == 0)


async def test_a_reader_that_takes_no_answers(stack: GatewayStack) -> None:
    """Its answers fill the sockets; then it is cut off instead of held in memory."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port, limit=1024)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    request = request_bytes("GET", "/metrics")
    async with asyncio.timeout(10):
        while not writer.transport.is_closing() and stack.app.server.connections:
            writer.write(request)
            await asyncio.sleep(0)
    writer.close()


async def test_thousands_of_requests_without_waiting(stack: GatewayStack) -> None:
    answers = 0
    async with stack.connection() as connection, asyncio.timeout(5):
        connection.writer.write(request_bytes("GET", "/healthz") * 5000)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while (await connection.reply()).status == 200:
                answers += 1
    assert answers < 1000


async def test_a_few_requests_without_waiting_are_answered_in_order(stack: GatewayStack) -> None:
    async with stack.connection() as connection:
        paths = ["/healthz", "/nowhere", "/", "/v1/me"]
        await connection.send(b"".join(request_bytes("GET", path) for path in paths))
        assert [(await connection.reply()).status for _ in paths] == [200, 404, 200, 401]


async def test_a_reader_that_takes_no_large_answer(stack: GatewayStack) -> None:
    """The last of its answers was written at once: only a timer can cut this one off.

    Several megabytes, since the sockets of a machine that talks to itself hold some.
    """
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    own.connect(("127.0.0.1", stack.port))
    own.sendall(request_bytes("GET", "/redoc/redoc.js") * 2)
    await until(lambda: stack.app.server.connections == 1)
    await until(lambda: stack.app.server.connections == 0)
    own.close()


@pytest.mark.parametrize("connection_header", ["Upgrade", "keep-alive, Upgrade, HTTP2-Settings"])
async def test_an_offer_to_upgrade_is_ignored_and_smuggles_nothing(
    stack: GatewayStack, connection_header: str
) -> None:
    async with stack.connection() as connection, asyncio.timeout(KEEP_ALIVE_S + 4 * WITHIN_S):
        offer = {"connection": connection_header, "upgrade": "h2c", "http2_settings": "AA"}
        first = request_bytes("GET", "/healthz", None, None, **offer)
        await connection.send(first + request_bytes("GET", "/v1/me"))
        assert (await connection.reply()).status == 200
        assert await connection.reader.read() == b""


async def test_no_input_breaks_a_line_of_the_log(
    stack: GatewayStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ids = ["a\x0bb", "a\u0085b".encode().decode("latin-1"), "a%0d%0aforged", '","forged":"1']
    for request_id in ids:
        await stack.request(
            "GET", f"/v1/users/{request_id.encode().hex()}", x_request_id=request_id
        )
    await stack.request("GET", '/v1/users/%0d%0a{"event":"forged"}')
    await stack.request("POST", LOGIN, None, {"a\r\nforged": 1, "b\u2028forged": 2})
    for record in caplog.records:
        line = JsonFormatter("gateway").format(record)
        assert len(line.splitlines()) == 1
        assert "forged" not in json.loads(line)
