"""A whole user_svc in the test's own process: a fresh database, a real server, real clients.

Calls go over gRPC; what no rpc shows (outbox rows, all tables at once) is read from the database.
Background work does not run by itself, but for the list of revocations: tests call its steps.
"""

import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import grpc
from newsfeed.events.v1 import events_pb2
from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import (
    AuthServiceStub,
    GraphServiceStub,
    UserServiceStub,
)

from svckit.auth.keys import SigningKeys, ensure_key_file, write_public_set
from svckit.auth.revocations import Revocations
from svckit.auth.tokens import ServiceTokenSource
from svckit.events.bus import Publisher
from svckit.events.engine import open_publisher
from svckit.postgres.changes import Changes
from svckit.settings import load
from tests.stacks.databases import own_database
from tests.stacks.rpc_server import bearer
from user_svc.app import App, duties, open_app
from user_svc.passwords import PasswordSettings
from user_svc.settings import Settings

PASSWORD = "correct horse battery"  # everybody's
CHEAP_PASSWORDS = PasswordSettings(memory_kib=8, iterations=1)
PATIENCE_S = 20.0  # a busy machine is no mistake
SERVICE = "feed_svc"
GATEWAY = "gateway"

_TABLES = """
SELECT relname::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
ORDER BY relname
"""
_OUTBOX = "SELECT seq, type, lane, aggregateid, payload FROM outbox WHERE seq > $1 ORDER BY seq"


class Client:
    """The three stubs of user_svc, calling with one access token or with none."""

    def __init__(self, channel: grpc.aio.Channel, token: str | None) -> None:
        self.metadata = bearer(token) if token else ()
        signed = cast("grpc.aio.Channel", SignedChannel(channel, self.metadata))
        self.auth = AuthServiceStub(signed)
        self.users = UserServiceStub(signed)
        self.graph = GraphServiceStub(signed)


class SignedChannel:
    """As much of a channel as stubs use; adds the metadata to every call."""

    def __init__(self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        self._channel = channel
        self._metadata = metadata

    def unary_unary(self, *method: Any, **options: Any) -> Callable[..., Any]:
        return partial(self._channel.unary_unary(*method, **options), metadata=self._metadata)

    def unary_stream(self, *method: Any, **options: Any) -> Callable[..., Any]:
        return partial(self._channel.unary_stream(*method, **options), metadata=self._metadata)


class Person(Client):
    """Somebody with an account, and the tokens of the session that they call with."""

    def __init__(self, channel: grpc.aio.Channel, user: pb.User, tokens: pb.Tokens) -> None:
        super().__init__(channel, tokens.access_token)
        self.user = user
        self.user_id = user.user_id
        self.tokens = tokens

    async def act(self, verb: str, other: "Person") -> pb.Relationship:
        """`Follow`, `Unfollow`, `Block`, `Unblock`, `Mute` or `Unmute` another person."""
        request = getattr(pb, f"{verb}UserRequest")(user_id=other.user_id)
        answer = await getattr(self.graph, f"{verb}User")(request)
        return cast("pb.Relationship", answer.relationship)

    async def delete(self, other: "Person | None" = None) -> datetime:
        """Oneself, or another; returns when that was first done."""
        request = pb.DeleteUserRequest(user_id=(other or self).user_id)
        return (await self.users.DeleteUser(request)).delete_time.ToDatetime(UTC)

    @property
    def id_bytes(self) -> bytes:
        return uuid.UUID(self.user_id).bytes


@dataclass(frozen=True)
class UserStack:
    app: App
    address: str
    channel: grpc.aio.Channel
    service_keys: SigningKeys
    _numbers: "itertools.count[int]"

    @property
    def revocations(self) -> Revocations:
        return self.app.revocations

    @property
    def nobody(self) -> Client:
        return Client(self.channel, None)

    @property
    def service(self) -> Client:
        return Client(self.channel, ServiceTokenSource(self.service_keys, SERVICE).token())

    async def call_raw(
        self, rpc: str, data: bytes, metadata: Sequence[tuple[str, str]] = ()
    ) -> bytes:
        """Bytes to bytes by `Service.Method`; of a stream all messages together."""
        service, _, name = rpc.partition(".")
        method = pb.DESCRIPTOR.services_by_name[service].methods_by_name[name]
        path = f"/{method.containing_service.full_name}/{name}"
        if method.server_streaming:
            stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
            stream = self.channel.unary_stream(path)
            return b"".join([message async for message in stream(data, metadata=metadata)])
        unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(path)
        return await unary(data, metadata=metadata)

    async def sign_up(self, name: str = "someone") -> Person:
        """A new person; the number makes the name unique."""
        username = f"{name}_{next(self._numbers)}"
        request = pb.SignUpRequest(
            username=username, email=f"{username}@example.com", password=PASSWORD
        )
        answer = await self.nobody.auth.SignUp(request)
        return Person(self.channel, answer.user, answer.tokens)

    async def log_in(self, person: Person, password: str = PASSWORD) -> Person:
        """The same person in another session."""
        request = pb.LogInRequest(login=person.user.username, password=password)
        answer = await self.nobody.auth.LogIn(request)
        return Person(self.channel, answer.user, answer.tokens)

    async def sign_up_with_role(self, role: "pb.Role.ValueType", name: str = "someone") -> Person:
        person = await self.sign_up(name)
        role_name = pb.Role.Name(role).removeprefix("ROLE_").lower()
        await self.app.database.execute(
            "UPDATE users SET role = $2::text::user_role WHERE user_id = $1::text::uuid",
            person.user_id,
            role_name,
        )
        return await self.log_in(person)

    async def settle(self) -> None:
        """Does all background work that waits."""
        await self.app.maintenance.purge_deleted()
        await self.app.maintenance.fold_counts()

    async def digest(self) -> dict[str, str | None]:
        """All that is stored, in short: two are equal when nothing has changed between them."""
        database = self.app.database
        return {
            table: await database.fetchval(
                f"SELECT md5(string_agg(row::text, '|' ORDER BY row::text)) FROM {table} AS row"
            )
            for (table,) in await database.fetch(_TABLES)
        }

    async def row_counts(self) -> dict[str, int]:
        """How many rows there are in each table."""
        database = self.app.database
        return {
            table: await database.fetchval(f"SELECT count(*) FROM {table}")
            for (table,) in await database.fetch(_TABLES)
        }

    @asynccontextmanager
    async def emitted(self) -> AsyncIterator[list[events_pb2.Event]]:
        """The events that the block leaves in the outbox, in order; filled when it ends."""
        events: list[events_pb2.Event] = []
        last = await self.app.database.fetchval("SELECT coalesce(max(seq), 0) FROM outbox")
        yield events
        for row in await self.app.database.fetch(_OUTBOX, last):
            event = events_pb2.Event.FromString(row["payload"])
            kind = event.WhichOneof("payload")
            assert kind is not None
            assert row["type"] == type(getattr(event, kind)).DESCRIPTOR.name
            assert row["lane"] == row["aggregateid"] == event.lane
            events.append(event)


@asynccontextmanager
async def open_user_stack(
    postgres_dsn: str,
    folder: Path,
    publisher: Publisher | None = None,
    unit_of_work: type[Changes] = Changes,
    **changed: object,
) -> AsyncIterator[UserStack]:
    """On a database of its own. Passwords are hashed cheaply: no test here is about that.

    `changed` are parts of the settings that differ from a program's.
    """
    keys = SigningKeys(_make_keys(folder))
    async with own_database(postgres_dsn) as dsn:
        settings = _settings(dsn, folder, **changed)
        async with (
            open_publisher(settings.bus) as nowhere,
            open_app(settings, publisher or nowhere, unit_of_work) as app,
            duties(app, settings, "api").served(settings.server, 0) as server,
            grpc.aio.insecure_channel(address := f"127.0.0.1:{server.port}") as channel,
        ):
            yield UserStack(app, address, channel, keys, itertools.count(1))


def _make_keys(folder: Path) -> Path:
    """The keys of everybody; returns the file with those of `SERVICE`."""
    service_keys_file, gateway_keys_file = folder / f"{SERVICE}.json", folder / f"{GATEWAY}.json"
    ensure_key_file(folder / "people.json", "people.")
    ensure_key_file(service_keys_file, f"{SERVICE}.")
    ensure_key_file(gateway_keys_file, f"{GATEWAY}.")
    write_public_set([service_keys_file, gateway_keys_file], folder / "services.json")
    return service_keys_file


def _settings(dsn: str, folder: Path, **changed: Any) -> Settings:
    environ = {
        "POSTGRES_DSN": dsn,
        "BUS_REDIS_URL": "redis://127.0.0.1:1/0",  # nobody: events stay in the outbox
        "BIND_HOST": "127.0.0.1",
        "DRAIN_DELAY_S": "0",
        "USER_TOKEN_KEYS_FILE": str(folder / "people.json"),
        "SERVICE_JWKS_FILE": str(folder / "services.json"),
        "PAGE_TOKEN_KEY": "0123456789abcdef" * 2,
    }
    settings = load(Settings, environ)
    patient = replace(
        settings.postgres,
        acquire_timeout_s=PATIENCE_S,
        statement_timeout_s=PATIENCE_S,
        transaction_timeout_s=PATIENCE_S,
    )
    parts = {"passwords": CHEAP_PASSWORDS, "postgres": patient, **changed}
    return replace(settings, **parts)
