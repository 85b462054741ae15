"""The store of feed_svc, on every kind of server that it must run on."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from devstack import valkey
from feed_svc.redis_store import FeedRedis, StoreLimits, StoreSettings
from feed_svc.window_store import WindowStore
from svckit.settings import Secret
from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_events import FeedEventsStack, open_feed_events
from tests.stacks.redis_servers import SERVERS, server_named
from tests.stores import throwaway
from tests.troubles.own_cluster import own_cluster

SMALL_WINDOW = 8
PATIENCE_S = 10.0  # a busy machine is no mistake
CLUSTER = "cluster"
PATIENT = StoreLimits(
    connect_timeout_s=PATIENCE_S, request_timeout_s=PATIENCE_S, write_timeout_s=PATIENCE_S
)


@pytest.fixture(scope="session", params=[*SERVERS, CLUSTER])
async def feed_store_settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[StoreSettings]:
    name: str = request.param
    if name == CLUSTER:
        async with own_cluster(tmp_path_factory.mktemp(CLUSTER)) as cluster:
            yield StoreSettings(url=Secret(cluster.url), is_cluster=True)
    else:
        async with throwaway(server_named(name)) as url:
            yield StoreSettings(url=Secret(url))


@pytest.fixture
async def feed_redis(feed_store_settings: StoreSettings) -> AsyncIterator[FeedRedis]:
    """With windows so small that they overflow. Shared: keep apart by new people and fences."""
    settings = replace(feed_store_settings, window_entries_max=SMALL_WINDOW)
    async with aclosing(FeedRedis(settings, PATIENT)) as redis:
        yield redis


@pytest.fixture
def windows(feed_redis: FeedRedis) -> WindowStore:
    return WindowStore(feed_redis)


@pytest.fixture(scope="module")
async def feed_redis_url() -> AsyncIterator[str]:
    """For tests that may empty it."""
    async with throwaway(valkey.STORE) as url:
        yield url


@pytest.fixture
async def feeds(feed_redis_url: str, content_stack: ContentStack) -> AsyncIterator[FeedEventsStack]:
    """The fan-out side alone; all that happened before counts as handed over."""
    async with open_feed_events(feed_redis_url, content_stack) as stack:
        await stack.waiting()
        yield stack
