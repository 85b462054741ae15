"""The composition root: opens everything in order, wires it, runs it, closes it in reverse."""

import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor
from newsfeed.feed.v1 import feed_service_pb2 as pb

from feed_svc.admin import Admin
from feed_svc.author_store import AuthorStore
from feed_svc.background import Background
from feed_svc.cache_store import CacheStore
from feed_svc.candidates import Sources
from feed_svc.clients import Contents, People
from feed_svc.consumer import GROUP, FeedEvents
from feed_svc.engagement_clients import NoEngagement
from feed_svc.fanout import Fanout
from feed_svc.graphs import Graphs
from feed_svc.home import Home
from feed_svc.hydrate import Hydrator
from feed_svc.live import Live
from feed_svc.live_store import LiveStore
from feed_svc.rebuild import Rebuilds
from feed_svc.servicer import FeedServicer
from feed_svc.settings import Settings
from feed_svc.store import FeedRedis, open_store
from feed_svc.tiers import Tiers
from feed_svc.window_store import WindowStore
from svckit.auth.keys import SigningKeys
from svckit.auth.tokens import ServiceTokenSource
from svckit.errors import Unavailable
from svckit.events.engine import make_consumer
from svckit.page_tokens import PageTokens
from svckit.patience import Patience
from svckit.rpc.client import ServiceChannel
from svckit.rpc.identity import Identity
from svckit.rpc.server import Check, Server, run_until_signal, served

NAME = "feed_svc"
JOBS_MAX = 64  # at once, that no caller waits for
REBUILDS_MAX = 4  # of these that build windows


@dataclass(frozen=True, slots=True)
class App:
    """The use cases, wired to Redis and to the other two services."""

    redis: FeedRedis
    windows: WindowStore
    home: Home
    live: Live
    admin: Admin
    rebuilds: Rebuilds
    events: FeedEvents
    backgrounds: tuple[Background, ...]


@asynccontextmanager
async def open_app(
    settings: Settings,
    user_svc: ServiceChannel,
    content_svc: ServiceChannel,
    clock_ms: Callable[[], int] | None = None,
    age_clock_s: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[App]:
    """Opening waits for nobody: feeds are read cold until Redis is there.

    `age_clock_s` is for the age of what is in memory.
    """
    people, contents = People(user_svc), Contents(content_svc)
    now_ms = clock_ms or _now_ms
    entries_max = settings.store.window_entries_max
    async with (
        open_store(settings.store) as redis,
        Background(JOBS_MAX) as background,
        Background(REBUILDS_MAX) as building,
    ):
        windows, authors, caches = WindowStore(redis), AuthorStore(redis), CacheStore(redis)
        rebuilds = Rebuilds(people, contents, windows, authors, caches, entries_max, building)
        tiers = Tiers(settings.push, people, windows, authors, now_ms)
        fanout = Fanout(people, contents, windows, authors, caches, tiers, entries_max, now_ms)
        with_people, with_contents = Patience("user_svc"), Patience("content_svc")
        graphs = Graphs(people, caches, with_people, background, age_clock_s)
        sources = Sources(
            windows, authors, contents, rebuilds, with_contents, background, age_clock_s
        )
        hydrator = Hydrator(
            contents, people, caches, with_contents, with_people, background, age_clock_s
        )
        home = Home(graphs, sources, hydrator, NoEngagement(), background)
        yield App(
            redis=redis,
            windows=windows,
            home=home,
            live=Live(
                *(home, LiveStore(redis), sources.recents.forget),
                *(settings.live_look_every_s, now_ms),
            ),
            admin=Admin(people, windows, rebuilds),
            rebuilds=rebuilds,
            events=FeedEvents(fanout, redis.fences),
            backgrounds=(background, building),
        )


async def run(settings: Settings, role: str) -> None:
    """Serves until a signal comes. The role `fanout` serves nothing but health."""
    tokens = ServiceTokenSource(SigningKeys(settings.own_keys_file), NAME)
    async with AsyncExitStack() as stack:
        user_svc, content_svc = [
            await stack.enter_async_context(ServiceChannel(target, tokens.token))
            for target in (settings.user_svc_target, settings.content_svc_target)
        ]
        app = await stack.enter_async_context(open_app(settings, user_svc, content_svc))
        identity = Identity(user_svc, settings.service_keys_file)
        background: list[Coroutine[None, None, None]] = []
        services: dict[ServiceDescriptor, object] = {}
        checks: list[Check] = []
        if role in {"api", "all"}:
            background += [*identity.background(), app.live.run()]
            services = servicers(app, settings)
        if role in {"fanout", "all"}:
            consumer = make_consumer(settings.bus, GROUP, app.events)
            background += [consumer.run(), _look_at_settings(app.redis)]
            if role == "fanout":  # who serves feeds does so without Redis
                checks = [app.redis.ping, consumer.ping]
        server = Server(settings.server, settings.port, identity.verifier, services, checks)
        await run_until_signal(served(server, background))


def servicers(app: App, settings: Settings) -> dict[ServiceDescriptor, object]:
    """Every service of this program with what serves it."""
    page_tokens = PageTokens(settings.page_token_key.encode())
    servicer = FeedServicer(app.home, app.live, app.admin, page_tokens)
    return {pb.DESCRIPTOR.services_by_name["FeedService"]: servicer}


async def _look_at_settings(redis: FeedRedis) -> None:
    with suppress(Unavailable):  # what is not there yet is looked at with the next start
        await redis.check()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
