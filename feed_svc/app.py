"""The composition root: opens everything in order, wires it, runs it, closes it in reverse."""

import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field

from google.protobuf.descriptor import ServiceDescriptor
from newsfeed.feed.v1 import feed_service_pb2 as pb

from feed_svc.admin import Admin, AdminLimits
from feed_svc.author_store import AuthorStore
from feed_svc.background import Background
from feed_svc.cache_store import CacheStore
from feed_svc.candidates import CandidateLimits, Candidates
from feed_svc.clients import ClientLimits, Contents, People
from feed_svc.consumer import GROUP, FeedEvents
from feed_svc.engagement_clients import no_engagement
from feed_svc.fanout import Fanout, FanoutLimits
from feed_svc.followers import BatchLimits
from feed_svc.graphs import GraphLimits, Graphs
from feed_svc.home import Home, HomeLimits
from feed_svc.hydrate import Hydrator
from feed_svc.live import Live, LiveLimits
from feed_svc.live_store import LiveStore
from feed_svc.rebuild import RebuildLimits, Rebuilds
from feed_svc.redis_store import FeedRedis, StoreLimits, StoreSettings
from feed_svc.servicer import FeedServicer
from feed_svc.settings import Settings
from feed_svc.tiers import Tiers
from feed_svc.window_store import WindowStore
from svckit.auth.keys import SigningKeys
from svckit.auth.tokens import ServiceTokenSource
from svckit.errors import Unavailable
from svckit.events.engine import make_consumer
from svckit.page_tokens import PageTokens
from svckit.patience import Patience, PatienceSettings
from svckit.rpc.client import ServiceChannel
from svckit.rpc.identity import Identity
from svckit.rpc.server import Check, Duties, run_until_signal

NAME = "feed_svc"


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of the program that are no settings, by the part that keeps them."""

    jobs_at_once_max: int = 64  # for which no caller waits
    rebuilds_at_once_max: int = 4
    patience: PatienceSettings = field(default_factory=PatienceSettings)
    clients: ClientLimits = field(default_factory=ClientLimits)
    store: StoreLimits = field(default_factory=StoreLimits)
    rebuilds: RebuildLimits = field(default_factory=RebuildLimits)
    fanout: FanoutLimits = field(default_factory=FanoutLimits)
    tier_changes: BatchLimits = field(default_factory=BatchLimits)
    graphs: GraphLimits = field(default_factory=GraphLimits)
    candidates: CandidateLimits = field(default_factory=CandidateLimits)
    home: HomeLimits = field(default_factory=HomeLimits)
    live: LiveLimits = field(default_factory=LiveLimits)
    admin: AdminLimits = field(default_factory=AdminLimits)


@dataclass(frozen=True, slots=True)
class App:
    """The use cases, wired to Redis and to the other two services, and who may call them."""

    identity: Identity
    redis: FeedRedis
    windows: WindowStore
    home: Home
    live: Live
    admin: Admin
    events: FeedEvents
    backgrounds: tuple[Background, ...]


@asynccontextmanager
async def open_app(
    settings: Settings,
    user_svc: ServiceChannel,
    content_svc: ServiceChannel,
    limits: Limits | None = None,
    age_clock_s: Callable[[], float] = time.monotonic,
    make_redis: Callable[[StoreSettings, StoreLimits], FeedRedis] = FeedRedis,
) -> AsyncGenerator[App]:
    """Opening waits for no other program: feeds are read cold until Redis is there.

    `age_clock_s` is for the age of what is in memory.
    """
    limits = limits or Limits()
    people, contents = People(user_svc, limits.clients), Contents(content_svc, limits.clients)
    with_people = Patience("user_svc", limits.patience)
    with_contents = Patience("content_svc", limits.patience)
    async with (
        aclosing(make_redis(settings.store, limits.store)) as redis,
        Background(limits.jobs_at_once_max) as background,
        Background(limits.rebuilds_at_once_max) as building,
    ):
        windows, authors, caches = WindowStore(redis), AuthorStore(redis), CacheStore(redis)
        rebuilds = Rebuilds(people, contents, windows, authors, caches, building, limits.rebuilds)
        tiers = Tiers(settings.push, people, windows, authors, _now_ms, limits.tier_changes)
        fanout = Fanout(people, contents, windows, authors, caches, tiers, _now_ms, limits.fanout)
        graphs = Graphs(people, caches, with_people, background, age_clock_s, limits.graphs)
        candidates = Candidates(
            graphs,
            windows,
            authors,
            contents,
            rebuilds,
            with_contents,
            background,
            age_clock_s,
            limits.candidates,
        )
        hydrator = Hydrator(
            contents, people, caches, with_contents, with_people, background, age_clock_s
        )
        home = Home(graphs, candidates, hydrator, no_engagement, background, limits.home)
        yield App(
            identity=Identity(user_svc, settings.service_keys_file),
            redis=redis,
            windows=windows,
            home=home,
            live=Live(
                home,
                LiveStore(redis),
                candidates.recents.forget,
                settings.live_look_every_s,
                _now_ms,
                limits.live,
            ),
            admin=Admin(people, windows, rebuilds, limits.admin),
            events=FeedEvents(fanout, redis.fences),
            backgrounds=(background, building),
        )


async def run(settings: Settings, role: str) -> None:
    """Serves until a signal comes."""
    tokens = ServiceTokenSource(SigningKeys(settings.own_keys_file), NAME)
    async with (
        ServiceChannel(settings.user_svc_target, tokens.token) as user_svc,
        ServiceChannel(settings.content_svc_target, tokens.token) as content_svc,
        open_app(settings, user_svc, content_svc) as app,
    ):
        await run_until_signal(duties(app, settings, role).served(settings.server, settings.port))


def duties(app: App, settings: Settings, role: str) -> Duties:
    """The role `fanout` serves nothing but health, and is well only with Redis and the bus."""
    background: list[Coroutine[None, None, None]] = []
    checks: list[Check] = []
    serves = role in {"api", "all"}
    if serves:
        background += [*app.identity.background(), app.live.run()]
    if role in {"fanout", "all"}:
        consumer = make_consumer(settings.bus, GROUP, app.events)
        background += [consumer.run(), _look_at_settings(app.redis)]
        if role == "fanout":
            checks = [app.redis.ping, consumer.ping]
    services = _services(app, settings) if serves else {}
    return Duties(app.identity.verifier, services, background, checks)


def _services(app: App, settings: Settings) -> dict[ServiceDescriptor, object]:
    page_tokens = PageTokens(settings.page_token_key.encode())
    servicer = FeedServicer(app.home, app.live, app.admin, page_tokens)
    return {pb.DESCRIPTOR.services_by_name["FeedService"]: servicer}


async def _look_at_settings(redis: FeedRedis) -> None:
    with suppress(Unavailable):  # a Redis that is not there yet is looked at with the next start
        await redis.check()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
