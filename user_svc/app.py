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
from svckit.postgres.outbox import PostgresOutbox, RowKey, append
from svckit.rpc.server import Duties, run_until_signal
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
from user_svc.upkeep_store import UpkeepStore

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
    revocations: Revocations
    verifier: TokenVerifier
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
        passwords = Passwords(settings.passwords)
        # Where it does not run (role `api`), an event waits for the next look of the one that does.
        relay = Relay(PostgresOutbox(database), publisher)
        changes = unit_of_work(database, append, relay.nudge)
        people = PeopleStore(database, settings.search)
        session_store = SessionStore(database)
        sessions = Sessions(
            changes,
            session_store,
            people,
            passwords,
            UserTokenSigner(keys),
            _now,
            settings.sessions,
        )
        revocations = Revocations(sessions.revocations)
        try:
            yield App(
                database=database,
                accounts=Accounts(changes, people, session_store, sessions, passwords, _now),
                sessions=sessions,
                graph=Graph(
                    changes, GraphStore(database, settings.graph), people, _now, settings.graph
                ),
                maintenance=Maintenance(UpkeepStore(database), _now, settings.maintenance),
                keys=keys,
                revocations=revocations,
                verifier=TokenVerifier(keys, StaticKeys(settings.service_keys_file), revocations),
                relay=relay,
            )
        finally:
            passwords.close()


async def run(settings: Settings, role: str) -> None:
    """Serves until a signal comes. The role `relay` serves nothing but health."""
    async with (
        open_publisher(settings.bus) as publisher,
        open_app(settings, publisher) as app,
    ):
        await app.revocations.poll()
        await run_until_signal(duties(app, settings, role).served(settings.server, settings.port))


def duties(app: App, settings: Settings, role: str) -> Duties:
    """The work of the program in its role."""
    services: dict[ServiceDescriptor, object] = {}
    background: list[Coroutine[None, None, None]] = []
    if role in {"api", "all"}:
        services = _servicers(app, settings)
        background.append(app.revocations.run())
    if role in {"relay", "all"}:
        background += [app.maintenance.run(), app.relay.run()]
    return Duties(app.verifier, services, background, [app.database.ping])


def _servicers(app: App, settings: Settings) -> dict[ServiceDescriptor, object]:
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
