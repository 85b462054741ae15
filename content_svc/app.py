"""The composition root: opens everything in order, wires it, runs it, closes it in reverse."""

import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from google.protobuf.descriptor import ServiceDescriptor
from newsfeed.content.v1 import content_service_pb2 as pb

from content_svc.cache import PostCache
from content_svc.clients import People
from content_svc.comment_store import CommentStore
from content_svc.comments import Comments
from content_svc.consumer import GROUP, PeopleEvents
from content_svc.like_store import LikeStore
from content_svc.likes import Likes
from content_svc.maintenance import Maintenance
from content_svc.posts import Posts
from content_svc.purge_store import PurgeStore
from content_svc.servicer import ContentServicer, batch_of_one
from content_svc.settings import Settings
from content_svc.store import PostStore
from svckit.auth.keys import SigningKeys
from svckit.auth.tokens import ServiceTokenSource
from svckit.events.bus import Publisher
from svckit.events.engine import make_consumer, open_publisher
from svckit.events.relay import Relay
from svckit.migration_files import Component, migrate_when_there
from svckit.mongo.changes import Changes
from svckit.mongo.client import Mongo, open_mongo
from svckit.mongo.migrations import migrate
from svckit.mongo.outbox import COMPONENT as OUTBOX_COMPONENT
from svckit.mongo.outbox import MongoOutbox
from svckit.page_tokens import PageTokens
from svckit.rpc.client import ServiceChannel
from svckit.rpc.identity import Identity
from svckit.rpc.server import Server, run_until_signal, served

NAME = "content_svc"
COMPONENT = Component(NAME, Path(__file__).parent / "migrations")


@dataclass(frozen=True, slots=True)
class App:
    """The use cases, wired to a database and to user_svc."""

    mongo: Mongo
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
    clock_ms: Callable[[], int] | None = None,
) -> AsyncGenerator[App]:
    """Waits for the database, brings its schema up to date and wires the use cases."""
    mongo_settings = settings.database.mongo(NAME)
    await migrate_when_there(lambda: migrate(mongo_settings, [OUTBOX_COMPONENT, COMPONENT]))
    now_ms = clock_ms or _now_ms
    async with open_mongo(mongo_settings) as mongo:
        # Where it does not run (role `api`), an event waits for the next look of the one that does.
        relay = Relay(MongoOutbox(mongo), publisher)
        changes = Changes(mongo, relay.nudge)
        post_store, comment_store = PostStore(mongo), CommentStore(mongo)
        like_store, purges = LikeStore(mongo), PurgeStore(mongo)
        people = People(user_svc)
        posts = Posts(
            changes,
            post_store,
            like_store,
            purges,
            PostCache(post_store.post, lambda post: batch_of_one(post, settings.media_base_url)),
            people,
            settings.media_base_url,
            now_ms,
        )
        yield App(
            mongo=mongo,
            posts=posts,
            comments=Comments(changes, comment_store, post_store, posts, people, now_ms),
            likes=Likes(changes, like_store, post_store, posts, people, now_ms),
            maintenance=Maintenance(
                changes, posts, post_store, comment_store, like_store, purges, now_ms
            ),
            people_events=PeopleEvents(changes, purges, now_ms),
            relay=relay,
        )


async def run(settings: Settings, role: str) -> None:
    """Serves until a signal comes. The role `relay` serves nothing but health."""
    tokens = ServiceTokenSource(SigningKeys(settings.own_keys_file), NAME)
    async with AsyncExitStack() as stack:
        user_svc = await stack.enter_async_context(
            ServiceChannel(settings.user_svc_target, tokens.token)
        )
        publisher = await stack.enter_async_context(open_publisher(settings.bus))
        app = await stack.enter_async_context(open_app(settings, user_svc, publisher))
        identity = Identity(user_svc, settings.service_keys_file)
        background: list[Coroutine[None, None, None]] = []
        services: dict[ServiceDescriptor, object] = {}
        if role in {"api", "all"}:
            background += identity.background()
            services = servicers(app, settings)
        if role in {"relay", "all"}:
            consumer = make_consumer(settings.bus, GROUP, app.people_events)
            background += [app.relay.run(), app.maintenance.run(), consumer.run()]
        server = Server(
            settings.server, settings.port, identity.verifier, services, [app.mongo.ping]
        )
        await run_until_signal(served(server, background))


def servicers(app: App, settings: Settings) -> dict[ServiceDescriptor, object]:
    """Every service of this program with what serves it."""
    page_tokens = PageTokens(settings.page_token_key.encode())
    servicer = ContentServicer(
        app.posts, app.comments, app.likes, page_tokens, settings.media_base_url
    )
    return {pb.DESCRIPTOR.services_by_name["ContentService"]: servicer}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
