"""The composition root: opens everything in order, wires it, runs it, closes it in reverse."""

from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.descriptor import ServiceDescriptor
from newsfeed.user.v1 import user_service_pb2 as pb

from svckit.auth.keys import SigningKeys, StaticKeys
from svckit.auth.revocations import Revocations
from svckit.auth.tokens import TokenVerifier, UserTokenSigner
from svckit.events.bus import Publisher
from svckit.events.engine import open_publisher
from svckit.events.relay import Relay
from svckit.migration_files import Component, migrate_when_there
from svckit.page_tokens import PageTokens
from svckit.postgres.changes import Changes
from svckit.postgres.client import Database, open_database
from svckit.postgres.migrations import migrate
from svckit.postgres.outbox import COMPONENT as OUTBOX_COMPONENT
from svckit.postgres.outbox import PostgresOutbox, RowKey
from svckit.rpc.server import Server, run_until_signal, served
from user_svc.accounts import Accounts
from user_svc.graph import Graph
from user_svc.graph_servicer import GraphServicer
from user_svc.graph_store import GraphStore
from user_svc.maintenance import Maintenance
from user_svc.passwords import Passwords
from user_svc.servicer import AuthServicer, UserServicer
from user_svc.session_store import SessionStore
from user_svc.sessions import Sessions
from user_svc.settings import Settings
from user_svc.store import PeopleStore

NAME = "user_svc"
COMPONENT = Component(NAME, Path(__file__).parent / "migrations")


@dataclass(frozen=True, slots=True)
class App:
    """The use cases, wired to a database."""

    database: Database
    accounts: Accounts
    sessions: Sessions
    graph: Graph
    maintenance: Maintenance
    keys: SigningKeys
    relay: Relay[RowKey]


@asynccontextmanager
async def open_app(
    settings: Settings, publisher: Publisher, unit_of_work: type[Changes] = Changes
) -> AsyncGenerator[App]:
    """Waits for the database, brings its schema up to date and wires the use cases."""
    dsn = settings.postgres.url()
    await migrate_when_there(lambda: migrate(dsn, [OUTBOX_COMPONENT, COMPONENT]))
    keys = SigningKeys(settings.user_keys_file)
    async with open_database(settings.postgres, NAME) as database:
        passwords = Passwords(settings.password_threads, settings.passwords_waiting_max)
        # Where it does not run (role `api`), an event waits for the next look of the one that does.
        relay = Relay(PostgresOutbox(database), publisher)
        changes = unit_of_work(database, relay.nudge)
        people, session_store = PeopleStore(database), SessionStore(database)
        graph_store = GraphStore(database)
        signer = UserTokenSigner(keys)
        sessions = Sessions(changes, session_store, people, passwords, signer, _now)
        accounts = Accounts(changes, people, session_store, sessions, passwords, _now)
        graph = Graph(changes, graph_store, people, _now)
        maintenance = Maintenance(graph_store, session_store, _now)
        try:
            yield App(database, accounts, sessions, graph, maintenance, keys, relay)
        finally:
            passwords.close()


async def run(settings: Settings, role: str) -> None:
    """Serves until a signal comes. The role `relay` serves nothing but health."""
    async with (
        open_publisher(settings.bus) as publisher,
        open_app(settings, publisher) as app,
    ):
        revocations = Revocations(app.sessions.revocations)
        verifier = TokenVerifier(app.keys, StaticKeys(settings.service_keys_file), revocations)
        background: list[Coroutine[None, None, None]] = []
        services: dict[ServiceDescriptor, object] = {}
        if role in {"api", "all"}:
            await revocations.poll()
            background.append(revocations.run())
            services = servicers(app, settings)
        if role in {"relay", "all"}:
            background += [app.maintenance.run(), app.relay.run()]
        server = Server(settings.server, settings.port, verifier, services, [app.database.ping])
        await run_until_signal(served(server, background))


def servicers(app: App, settings: Settings) -> dict[ServiceDescriptor, object]:
    """Every service of this program with what serves it."""
    page_tokens = PageTokens(settings.page_token_key.encode())
    services = pb.DESCRIPTOR.services_by_name
    return {
        services["AuthService"]: AuthServicer(app.accounts, app.sessions, app.keys),
        services["UserService"]: UserServicer(app.accounts, page_tokens),
        services["GraphService"]: GraphServicer(app.graph, page_tokens),
    }


def _now() -> datetime:
    return datetime.now(UTC)
