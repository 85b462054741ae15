"""The composition root: opens everything in order, wires it, runs it, closes it in reverse."""

import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from google.protobuf.descriptor import ServiceDescriptor
from newsfeed.content.v1 import content_service_pb2 as pb

from content_svc.cache import CacheSettings, PostCache
from content_svc.clients import People, PeopleLimits
from content_svc.comment_store import CommentStore
from content_svc.comments import Comments
from content_svc.consumer import GROUP, PeopleEvents
from content_svc.creations import Creations
from content_svc.like_store import LikeStore
from content_svc.likes import Likes
from content_svc.maintenance import Maintenance, MaintenanceLimits
from content_svc.posts import Posts
from content_svc.purge_store import PurgeStore
from content_svc.servicer import ContentServicer, batch_of_one
from content_svc.settings import Settings
from content_svc.store import PostStore, StoreLimits
from svckit.auth.keys import SigningKeys
from svckit.auth.revocations import RevocationSettings
from svckit.auth.tokens import ServiceTokenSource
from svckit.events.bus import Publisher
from svckit.events.engine import make_consumer, open_publisher
from svckit.events.relay import Relay
from svckit.ids import Clock
from svckit.migration_files import Component, migrate_when_there
from svckit.mongo.changes import Changes
from svckit.mongo.client import Mongo, MongoSettings, open_mongo
from svckit.mongo.migrations import migrate
from svckit.mongo.outbox import COMPONENT as OUTBOX_COMPONENT
from svckit.mongo.outbox import MongoOutbox, append
from svckit.page_tokens import PageTokens
from svckit.rpc.client import ServiceChannel
from svckit.rpc.identity import Identity
from svckit.rpc.server import Duties, ServerSettings, run_until_signal

NAME = "content_svc"
COMPONENT = Component(NAME, Path(__file__).parent / "migrations")
SETTLED_MARGIN = 1.25  # clocks disagree, and a busy process wakes up late


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of the program that are no settings, by the part that keeps them."""

    store: StoreLimits = field(default_factory=StoreLimits)
    creations_together_max: int = 64  # posts in a transaction
    cache: CacheSettings = field(default_factory=CacheSettings)
    people: PeopleLimits = field(default_factory=PeopleLimits)
    revocations: RevocationSettings = field(default_factory=RevocationSettings)
    page_refills_max: int = 3  # how far a list is looked through for one page
    maintenance: MaintenanceLimits = field(default_factory=MaintenanceLimits)


@dataclass(frozen=True, slots=True)
class App:
    """The use cases, wired to a database and to user_svc."""

    mongo: Mongo
    identity: Identity
    posts: Posts
    comments: Comments
    likes: Likes
    maintenance: Maintenance
    people_events: PeopleEvents
    relay: Relay[UUID]


@asynccontextmanager
async def open_app(
    settings: Settings,
    user_svc: ServiceChannel,
    publisher: Publisher,
    limits: Limits | None = None,
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    age_clock_s: Clock = time.monotonic,
    mongo_type: type[Mongo] = Mongo,
    unit_of_work: type[Changes] = Changes,
    post_store_type: type[PostStore] = PostStore,
) -> AsyncGenerator[App]:
    """Waits for the database, brings its schema up to date and wires the use cases.

    `age_clock_s` is for the age of what is in memory.
    """
    limits = limits or Limits()
    database = settings.database
    mongo_settings = MongoSettings(database.url, database.database, NAME, database.pool_size_max)
    await migrate_when_there(lambda: migrate(mongo_settings, [OUTBOX_COMPONENT, COMPONENT]))
    async with open_mongo(mongo_settings, mongo_type) as mongo:
        # Where it does not run (role `api`), an event waits for the next look of the one that does.
        relay = Relay(MongoOutbox(mongo), publisher)
        changes = unit_of_work(mongo, append, relay.nudge)
        post_store, comment_store = post_store_type(mongo, limits.store), CommentStore(mongo)
        like_store, purges = LikeStore(mongo), PurgeStore(mongo)
        people = People(user_svc, age_clock_s, limits.people)
        posts = Posts(
            changes,
            Creations(changes, post_store, limits.creations_together_max),
            post_store,
            like_store,
            purges,
            PostCache(
                post_store.post,
                lambda post: batch_of_one(post, settings.media_base_url),
                age_clock_s,
                limits.cache,
            ),
            people,
            settings.media_base_url,
            clock_ms,
            limits.page_refills_max,
        )
        yield App(
            mongo=mongo,
            identity=Identity(user_svc, settings.service_keys_file, limits.revocations),
            posts=posts,
            comments=Comments(
                changes, comment_store, post_store, posts, people, clock_ms, limits.page_refills_max
            ),
            likes=Likes(
                changes, like_store, post_store, posts, people, clock_ms, limits.page_refills_max
            ),
            maintenance=Maintenance(
                changes,
                posts,
                post_store,
                comment_store,
                like_store,
                purges,
                clock_ms,
                settled_ms(mongo_settings, settings.server, limits.revocations),
                limits.maintenance,
            ),
            people_events=PeopleEvents(changes, purges, clock_ms),
            relay=relay,
        )


async def run(settings: Settings, role: str) -> None:
    """Serves until a signal comes. The role `relay` serves nothing but health."""
    tokens = ServiceTokenSource(SigningKeys(settings.own_keys_file), NAME)
    async with (
        ServiceChannel(settings.user_svc_target, tokens.token) as user_svc,
        open_publisher(settings.bus) as publisher,
        open_app(settings, user_svc, publisher) as app,
    ):
        await run_until_signal(duties(app, settings, role).served(settings.server, settings.port))


def duties(app: App, settings: Settings, role: str) -> Duties:
    background: list[Coroutine[None, None, None]] = []
    services: dict[ServiceDescriptor, object] = {}
    if role in {"api", "all"}:
        background += app.identity.background()
        services = servicers(app, settings)
    if role in {"relay", "all"}:
        consumer = make_consumer(settings.bus, GROUP, app.people_events)
        background += [app.relay.run(), app.maintenance.run(), consumer.run()]
    return Duties(app.identity.verifier, services, background, [app.mongo.ping])


def settled_ms(
    mongo: MongoSettings, server: ServerSettings, revocations: RevocationSettings
) -> int:
    """How long after a deletion something may still be added to what was deleted.

    To a post: its deletion takes a transaction, and a like that began just before the commit takes
    another. By a person: the last call with an access token begins before the revocation is known,
    and its transaction before the end of the call.
    """
    to_post_s = 2 * mongo.transaction_over_s
    token_s = revocations.poll_every_s + revocations.fetch_timeout_s
    by_person_s = token_s + server.call_timeout_s + mongo.transaction_over_s
    return int(SETTLED_MARGIN * max(to_post_s, by_person_s) * 1000)


def servicers(app: App, settings: Settings) -> dict[ServiceDescriptor, object]:
    """Every service of this program with what serves it."""
    return {
        pb.DESCRIPTOR.services_by_name["ContentService"]: ContentServicer(
            app.posts,
            app.comments,
            app.likes,
            PageTokens(settings.page_token_key.encode()),
            settings.media_base_url,
        )
    }
