"""What is different on a Redis Cluster. That all else is not, the other tests of the store show."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from feed_svc.engine_store import Cluster
from feed_svc.redis_store import FeedRedis, StoreSettings
from feed_svc.window_store import WindowStore
from svckit.errors import Unavailable
from svckit.settings import Secret
from tests.integration.conftest import PATIENT
from tests.polling import until
from tests.stacks.feed_redis import (
    at,
    complete,
    new_fence,
    new_user,
    new_window,
    packed,
    source_of,
)
from tests.troubles.own_cluster import NODES, OwnCluster, own_cluster


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnCluster]:
    async with own_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
async def redis(cluster: OwnCluster) -> AsyncIterator[FeedRedis]:
    settings = StoreSettings(url=Secret(cluster.url), is_cluster=True)
    async with aclosing(FeedRedis(settings, PATIENT)) as redis:
        yield redis


def engine(redis: FeedRedis) -> Cluster:
    assert isinstance(redis._engine, Cluster)
    return redis._engine


async def test_windows_are_on_all_nodes_and_a_delivery_reaches_them(redis: FeedRedis) -> None:
    windows, place = WindowStore(redis), at(1)
    viewers = [await new_window(windows) for _ in range(100)]
    client = engine(redis)._client
    slots = {client.keyslot(redis.keys.window(each)) for each in viewers}
    nodes = {client.nodes_manager.get_node_from_slot(slot) for slot in slots}
    assert len(nodes) == NODES
    assert await windows.deliver(new_fence(), place, packed(viewers)) == len(viewers)
    for viewer_id in viewers:
        assert await source_of(windows, viewer_id) == complete(place)


async def test_slots_that_have_moved_are_found(redis: FeedRedis) -> None:
    """All but a third are not where this client thinks that they are."""
    windows = WindowStore(redis)
    viewers = [await new_window(windows) for _ in range(30)]
    slots = engine(redis)._client.nodes_manager.slots_cache
    wrong = slots[0]
    for slot in slots:
        slots[slot] = wrong
    assert await windows.deliver(new_fence(), at(1), packed(viewers)) == len(viewers)
    assert not redis.is_silent


async def test_one_node_that_does_not_answer_silences_all(
    cluster: OwnCluster, redis: FeedRedis
) -> None:
    async with aclosing(
        FeedRedis(redis.settings, replace(PATIENT, request_timeout_s=0.25))
    ) as hasty:
        await hasty.ping()
        windows, viewer_id = WindowStore(hasty), await new_window(WindowStore(redis))
        frozen = cluster.processes[1]
        frozen.suspend()
        try:
            with pytest.raises(Unavailable):
                await asyncio.gather(*(windows.floor(new_user()) for _ in range(64)))
            with pytest.raises(Unavailable):
                await windows.floor(viewer_id)
            assert hasty.is_silent
        finally:
            frozen.resume()
        await until(lambda: not hasty.is_silent, timeout_s=30.0)
        assert await windows.deliver(new_fence(), at(1), viewer_id) == 1
