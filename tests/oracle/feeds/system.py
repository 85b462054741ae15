"""The whole system in one process: three services, their relays, the bus, workers, real stores.

Bounds are small, so that what is rare in life happens all the time: windows overflow, floors rise,
authors change tier, and whatever goes in batches takes several.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from redis.asyncio import Redis

from content_svc.consumer import GROUP as CONTENT_GROUP
from devstack.background import in_background
from feed_svc.app import App, duties, open_app
from feed_svc.clients import ClientLimits
from feed_svc.fanout import FanoutLimits
from feed_svc.followers import BatchLimits
from feed_svc.home import HomeLimits
from feed_svc.settings import Settings
from svckit.auth.keys import SigningKeys
from svckit.auth.tokens import ServiceTokenSource
from svckit.events.engine import make_consumer, open_publisher
from svckit.events.relay import Relay
from svckit.rpc.client import ServiceChannel
from svckit.settings import load
from tests.oracle.shared.bus_tricks import BusTricks
from tests.oracle.shared.workers import HASTY, Slowness, SteppedRedis, Workers
from tests.stacks.content_stack import ContentStack, open_content_stack
from tests.stacks.feed_stack import PATIENT, AgeClock
from tests.stacks.user_stack import SERVICE, UserStack, open_user_stack
from user_svc.model import GraphSettings

SMALL = replace(
    PATIENT,
    clients=ClientLimits(places_per_call_max=7, posts_per_call_max=3),
    store=replace(PATIENT.store, windows_per_call_max=2, backfilled_per_call_max=12, recents_max=3),
    fanout=FanoutLimits(purged_posts_max=10, deliveries=BatchLimits(followers_max=2)),
    tier_changes=BatchLimits(followers_max=1),
    home=HomeLimits(looks_max=2),
)
PARTITIONS = 4
SETTINGS = {
    "BIND_HOST": "127.0.0.1",
    "PAGE_TOKEN_KEY": "0123456789abcdef" * 2,
    "BUS_PARTITIONS": str(PARTITIONS),
    "WINDOW_ENTRIES_MAX": "6",
    "PUSH_FOLLOWERS_MAX": "3",
}


@dataclass(frozen=True)
class Stores:
    """Where they are. The feeds' Redis is for nothing else."""

    postgres_dsn: str
    mongodb_url: str
    feed_url: str
    bus_url: str


@dataclass(frozen=True)
class System:
    people: UserStack
    contents: ContentStack
    feeds: App  # the one that serves; workers have others
    feeds_channel: grpc.aio.Channel
    feeds_redis: Redis
    relays: tuple[Relay[Any], ...]
    bus: BusTricks
    workers: Workers
    slowness: Slowness
    age_clock: AgeClock


@asynccontextmanager
async def open_system(stores: Stores, folder: Path) -> AsyncIterator[System]:
    """`folder` is for keys."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        graph = GraphSettings(stream_chunk_ids=3)
        people = await enter(open_user_stack(stores.postgres_dsn, folder, graph=graph))
        age_clock = AgeClock()
        contents = await enter(
            open_content_stack(stores.mongodb_url, people, folder, age_clock_s=age_clock)
        )
        own_keys_file = folder / f"{SERVICE}.json"
        settings = load(
            Settings,
            SETTINGS
            | {
                "REDIS_URL": stores.feed_url,
                "BUS_REDIS_URL": stores.bus_url,
                "SERVICE_KEY_FILE": str(own_keys_file),
                "SERVICE_JWKS_FILE": str(folder / "services.json"),
            },
        )
        token = ServiceTokenSource(SigningKeys(own_keys_file), SERVICE).token
        user_svc = await enter(ServiceChannel(people.address, token))
        content_svc = await enter(ServiceChannel(contents.address, token))
        slowness = Slowness()
        make_redis = partial(SteppedRedis, steps=[slowness.wait])
        app = await enter(open_app(settings, user_svc, content_svc, SMALL, age_clock, make_redis))
        outboxes: list[Any] = [people.app.relay._outbox, contents.app.relay._outbox]
        relays = [Relay(each, await enter(open_publisher(settings.bus))) for each in outboxes]
        server = await enter(duties(app, settings, "api").served(settings.server, 0))
        for work in (
            people.app.maintenance.run(),
            *(relay.run() for relay in relays),
            make_consumer(settings.bus, CONTENT_GROUP, contents.app.people_events, HASTY).run(),
        ):
            await enter(in_background(work))
        yield System(
            people=people,
            contents=contents,
            feeds=app,
            feeds_channel=await enter(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")),
            feeds_redis=await enter(Redis.from_url(stores.feed_url)),
            relays=tuple(relays),
            bus=await enter(BusTricks(settings.bus)),
            workers=await enter(Workers(settings, user_svc, content_svc, SMALL, slowness)),
            slowness=slowness,
            age_clock=age_clock,
        )
