"""A whole gateway in the test's own process: a real server on a free port, and a plain client.

The client speaks HTTP/1.1 over a socket of its own and reads exactly what comes, so that a test may
send what no library would.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
from google.protobuf.descriptor import ServiceDescriptor

from gateway.app import App, open_app
from gateway.model import Bounds
from gateway.settings import Settings
from svckit.auth.keys import StaticKeys
from svckit.auth.tokens import TokenVerifier
from svckit.health import require_serving
from svckit.rpc.server import ServerSettings
from svckit.settings import load
from tests.polling import until
from tests.stacks.rpc_server import serving
from tests.stacks.user_stack import GATEWAY, UserStack

ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]

    @property
    def reason(self) -> str:
        return str(self.error["details"][0]["reason"])


class Connection:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def request(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: object = None,
        **headers: str,
    ) -> Reply:
        """`headers` with underscores; a `body` that is no bytes is sent as JSON."""
        await self.send(request_bytes(method, path, token, body, **headers))
        return await self.reply(method)

    async def get(self, path: str, token: str | None = None, **headers: str) -> None:
        await self.send(request_bytes("GET", path, token, **headers))

    async def reply(self, method: str = "GET") -> Reply:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            status, headers = await self.head()
            if headers.get("transfer-encoding") == "chunked":
                body = b"".join([chunk async for chunk in self.chunks()])
            elif method == "HEAD" or status in {204, 304}:
                body = b""
            else:
                body = await self.reader.readexactly(int(headers["content-length"]))
        return Reply(status, headers, body)

    async def head(self) -> tuple[int, dict[str, str]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in head[1:-2]:
            name, value = line.split(": ", 1)
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return int(head[0].split()[1]), headers

    async def chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            chunk = await self.reader.readexactly(size + 2)
            yield chunk[:-2]
        await self.reader.readexactly(2)

    async def event(self) -> str:
        """The next Server-Sent Event, or comment, as it came."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            return (await self.reader.readexactly(size + 2))[:-2].decode()

    async def ends(self) -> bool:
        """Nothing comes any more but the end of a stream of chunks."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await self.reader.read(64) in {b"0\r\n\r\n", b""}


def request_bytes(
    method: str, path: str, token: str | None = None, body: object = None, **headers: str
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    data = (
        body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    )
    if data:
        headers.setdefault("content_type", "application/json")
        lines.append(f"Content-Length: {len(data)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


@dataclass(frozen=True)
class GatewayStack:
    app: App

    @property
    def port(self) -> int:
        return self.app.server.port

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()

    async def request(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: object = None,
        **headers: str,
    ) -> Reply:
        """On a connection of its own."""
        async with self.connection() as connection:
            return await connection.request(method, path, token, body, **headers)

    async def sees_user_svc(self) -> bool:
        services = (await self.request("GET", "/readyz")).json["services"]
        return bool(services["user_svc"] == "serving")

    def knows_of_ended(self, token: str) -> bool:
        """The session of this token is among those that are known to have ended."""
        claims = jwt.decode(token, options={"verify_signature": False})
        return self.app.identity.revocations.is_revoked(UUID(claims["sid"]))


@asynccontextmanager
async def open_gateway_stack(
    folder: Path, bounds: Bounds | None = None, /, **environ: str
) -> AsyncIterator[GatewayStack]:
    """`folder` has the keys of all services; limits are off unless `environ` says otherwise."""
    settings = load(
        Settings,
        {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": "0",
            "SERVICE_KEY_FILE": str(folder / f"{GATEWAY}.json"),
            "SERVICE_JWKS_FILE": str(folder / "services.json"),
            "DRAIN_DELAY_S": "0",
            "RATE_LIMIT_PERSON": "0",
            "RATE_LIMIT_ADDRESS": "0",
            "RATE_LIMIT_LOGIN": "0",
            **environ,
        },
    )
    # A service that does not serve when first looked at is looked at again only a second later.
    await until(lambda: _serves(environ["USER_SVC_TARGET"]))
    async with open_app(settings, bounds) as app, app.served():
        stack = GatewayStack(app)
        await until(stack.sees_user_svc)
        yield stack


async def _serves(target: str) -> bool:
    try:
        await require_serving(target)
    except ConnectionError:
        return False
    return True


@asynccontextmanager
async def serving_beside(
    people: UserStack,
    folder: Path,
    service: ServiceDescriptor,
    methods: Mapping[str, Callable[[Any], Any]],
) -> AsyncIterator[str]:
    """A service of the test's own making that knows the people of user_svc; yields its address."""
    verifier = TokenVerifier(
        people.app.keys, StaticKeys(folder / "services.json"), people.revocations
    )
    settings = ServerSettings(host="127.0.0.1", drain_delay_s=0)
    async with serving(service, methods, settings, verifier=verifier) as server:
        yield f"127.0.0.1:{server.port}"
