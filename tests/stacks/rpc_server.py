"""A real server on a free port around a servicer of the test's own making, and a client for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from svckit.auth.tokens import Caller, Role, TokenInvalid
from svckit.rpc.server import Check, Server, ServerSettings
from svckit.rpc.table import Verifier

ALICE_ID = UUID("01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7")
SOMEBODY = str(ALICE_ID)  # for requests that must name a person


class NamedRoles:
    """Verifies the tokens `user`, `moderator`, `admin` and `service`, and no others."""

    async def verify(self, token: str) -> Caller:
        if token not in set(Role):
            raise TokenInvalid
        role = Role(token)
        user_id = None if role is Role.SERVICE else ALICE_ID
        return Caller(role, user_id, user_id, None, "token-id", datetime.max.replace(tzinfo=UTC))


class Servicer:
    """Serves the methods that it is given; calling another one is a mistake of the test."""

    def __init__(self, methods: Mapping[str, Callable[[Any], Any]]) -> None:
        self._methods = methods

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        return self._methods.get(name, self._unexpected)

    async def _unexpected(self, request: object) -> None:
        raise AssertionError(request)


@asynccontextmanager
async def serving(
    service: ServiceDescriptor,
    methods: Mapping[str, Callable[[Any], Any]],
    settings: ServerSettings | None = None,
    checks: Sequence[Check] = (),
    verifier: Verifier | None = None,
) -> AsyncIterator[Server]:
    settings = settings or ServerSettings(host="127.0.0.1", drain_delay_s=0)
    verifier = verifier or NamedRoles()
    async with (
        asyncio.TaskGroup() as group,
        Server(settings, 0, verifier, {service: Servicer(methods)}, checks) as server,
    ):
        watching = group.create_task(server.watch_health())
        yield server
        watching.cancel()


@asynccontextmanager
async def dialled(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)
