"""Home feeds: read warm against an rpc that does nothing, read cold, and read far down.

All three programs run, with stores that sync to disk. The feeds are of the posts that were loaded;
nothing is delivered meanwhile.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

import grpc
from newsfeed.feed.v1 import feed_service_pb2 as pb
from newsfeed.feed.v1.feed_service_pb2_grpc import FeedServiceStub

from bench.measures.content import AUTHORS
from bench.measures.reads import LONG_LIVED, beside_echo
from bench.tools.measure import Measure, Site
from bench.tools.posts import load_posts
from devstack import mongo, valkey
from devstack.dataset import SEED, progress_bar
from devstack.programs import CONTENT_SVC, FEED_SVC
from devstack.rig import Running, bearer, durable
from svckit.auth.tokens import Role
from svckit.mongo.client import MongoSettings
from svckit.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from newsfeed.feed.v1.feed_service_pb2_grpc import FeedServiceAsyncStub

LIST_HOME_FEED = "/newsfeed.feed.v1.FeedService/ListHomeFeed"
READERS = 100
PAGE_ITEMS = 20
FOLLOWEES = 500
COLD_READERS = 20
DEEP_PAGE = 200
FOLLOW = """
INSERT INTO follows (followee_id, follower_id, create_time)
SELECT followee_id, $2::uuid, $3 FROM unnest($1::uuid[]) AS followee_id ON CONFLICT DO NOTHING
"""


async def read_feeds(site: Site) -> list[Measure]:
    folder, rig = site.folder, site.rig
    authors = site.world.ids[:AUTHORS]
    readers, cold_readers = authors[-READERS:], authors[-READERS - COLD_READERS : -READERS]
    await _follow_many(site, cold_readers, authors)
    async with (
        durable(mongo.STORE, folder) as mongodb_url,
        durable(valkey.STORE, folder) as redis_url,
        rig.run(**LONG_LIVED) as user_svc,
    ):
        settings = MongoSettings(Secret(mongodb_url), "feeds")
        await load_posts(settings, authors, site.posts, progress_bar)
        told = LONG_LIVED | {"BUS_REDIS_URL": redis_url, "USER_SVC_TARGET": user_svc.address}
        of_content = told | {"MONGODB_URL": mongodb_url, "CONTENT_MONGODB_DB": settings.database}
        async with (
            rig.run(CONTENT_SVC, **of_content) as content_svc,
            rig.run(
                FEED_SVC, REDIS_URL=redis_url, CONTENT_SVC_TARGET=content_svc.address, **told
            ) as feed_svc,
        ):
            warm = await _read_warm(site, feed_svc, readers)
            return [*warm, *await _read_cold(site, feed_svc, cold_readers)]


async def _follow_many(site: Site, readers: Sequence[UUID], authors: Sequence[UUID]) -> None:
    random, now = Random(SEED), datetime.now(UTC)
    for reader in readers:
        followees = random.sample([each for each in authors if each != reader], FOLLOWEES)
        await site.session.execute(FOLLOW, followees, reader, now)


async def _read_warm(site: Site, feed_svc: Running, readers: Sequence[UUID]) -> list[Measure]:
    """The first page of many people, in turn."""
    rig = site.rig
    async with grpc.aio.insecure_channel(feed_svc.address) as channel:
        stub = FeedServiceStub(channel)
        request = pb.PrewarmFeedsRequest(user_ids=map(str, readers))
        done = await stub.PrewarmFeeds(request, metadata=_admin(site))
        assert done.built_count == len(readers)
        for reader in readers:
            page = await stub.ListHomeFeed(
                pb.ListHomeFeedRequest(), metadata=bearer(rig.user_token(reader))
            )
            assert len(page.items) == PAGE_ITEMS
            assert not page.degraded
    measures = await beside_echo(
        site,
        feed_svc,
        LIST_HOME_FEED,
        [rig.user_token(reader) for reader in readers],
        [pb.ListHomeFeedRequest(page_size=PAGE_ITEMS).SerializeToString()],
        name="read",
        at_least=0.5,
    )
    return [replace(each, name=each.name.replace("_", ".", 1)) for each in measures]


async def _read_cold(site: Site, feed_svc: Running, readers: Sequence[UUID]) -> list[Measure]:
    """The first page of people who have no window, and pages far below anybody's window."""
    p50s, p99s, deep_p50s = [], [], []
    async with grpc.aio.insecure_channel(feed_svc.address) as channel:
        stub = FeedServiceStub(channel)
        deep_tokens = [await _deep_token(site, stub, reader) for reader in readers]
        for _ in range(site.rounds):
            first_ms, deep_ms = [], []
            round_ends_s = time.perf_counter() + site.seconds
            while time.perf_counter() < round_ends_s:
                for reader, deep_token in zip(readers, deep_tokens, strict=True):
                    evict = pb.EvictFeedRequest(user_id=str(reader))
                    await stub.EvictFeed(evict, metadata=_admin(site))
                    metadata = bearer(site.rig.user_token(reader))
                    call = partial(stub.ListHomeFeed, metadata=metadata)
                    first_ms.append(await _timed_ms(call, pb.ListHomeFeedRequest()))
                    deep = pb.ListHomeFeedRequest(page_token=deep_token)
                    deep_ms.append(await _timed_ms(call, deep))
            cuts = statistics.quantiles(first_ms, n=100)
            p50s.append(cuts[49])
            p99s.append(cuts[98])
            deep_p50s.append(statistics.median(deep_ms))
    ratios = [deep / first for deep, first in zip(deep_p50s, p50s, strict=True)]
    return [
        Measure("read.cold_p50", "ms", p50s),
        Measure("read.cold_p99", "ms", p99s, at_most=60),
        Measure("read.deep_p50", "ms", deep_p50s),
        Measure("read.deep_ratio", "x", ratios, at_most=3),
    ]


async def _deep_token(site: Site, stub: "FeedServiceAsyncStub", reader: UUID) -> str:
    """Of the page that is so many pages down."""
    request = pb.ListHomeFeedRequest(page_size=PAGE_ITEMS)
    metadata = bearer(site.rig.user_token(reader))
    for _ in range(DEEP_PAGE - 1):
        page = await stub.ListHomeFeed(request, metadata=metadata)
        assert len(page.items) == PAGE_ITEMS
        request.page_token = page.next_page_token
    return request.page_token


async def _timed_ms(
    call: "Callable[[pb.ListHomeFeedRequest], Awaitable[pb.ListHomeFeedResponse]]",
    request: pb.ListHomeFeedRequest,
) -> float:
    started_s = time.perf_counter()
    page = await call(request)
    took_ms = (time.perf_counter() - started_s) * 1000
    assert len(page.items) == PAGE_ITEMS
    return took_ms


def _admin(site: Site) -> tuple[tuple[str, str], ...]:
    return bearer(site.rig.user_token(site.world.hub, Role.ADMIN))
