"""The gateway and all that is behind it, with a small world in which all feeds are alike.

Every reader follows some of a few authors, who wrote all the posts, and one more who posts later.
Limits are counted in Redis as in production, but so high that nobody meets one.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import grpc
from newsfeed.feed.v1 import feed_service_pb2 as pb
from newsfeed.feed.v1.feed_service_pb2_grpc import FeedServiceStub

from bench.measures.celebrity import COUNT_FOLLOWERS
from bench.measures.feed import FOLLOW, PAGE_ITEMS
from bench.measures.reads import LONG_LIVED
from bench.tools.measure import Site
from bench.tools.posts import load_posts
from devstack import mongo, valkey
from devstack.dataset import SEED, progress_bar
from devstack.programs import FEED_SVC, PROGRAMS, Program
from devstack.rig import Running, bearer, durable
from svckit.auth.tokens import Role
from svckit.mongo.client import MongoSettings
from svckit.settings import Secret

AUTHORS = 300
FOLLOWEES = 50
POSTS = 20_000
WARMED_AT_ONCE = 100
FEED = f"/v1/feed?pageSize={PAGE_ITEMS}"
UNREACHED = "1000000/1"
LIMITS = dict.fromkeys(("RATE_LIMIT_PERSON", "RATE_LIMIT_ADDRESS", "RATE_LIMIT_LOGIN"), UNREACHED)


@dataclass(frozen=True, slots=True)
class Cast:
    authors: Sequence[UUID]
    readers: Sequence[UUID]
    star: UUID  # whom all readers follow

    @classmethod
    def of(cls, people: Sequence[UUID], readers: int) -> "Cast":
        """Of people of whom other measures want nothing."""
        star, *others = people[len(people) // 4 :][: 1 + AUTHORS + readers]
        return cls(others[:AUTHORS], others[AUTHORS:], star)


@dataclass(frozen=True, slots=True)
class Stage:
    site: Site
    cast: Cast
    tokens: Sequence[str]  # of the readers; programs know them after their first call
    programs: Mapping[Program, Running]


@asynccontextmanager
async def set_up(site: Site, readers: int) -> AsyncIterator[Stage]:
    """The windows of so many readers stand."""
    cast = Cast.of(site.world.ids, readers)
    await _follow(site, cast)
    async with (
        durable(mongo.STORE, site.folder) as mongodb_url,
        durable(valkey.STORE, site.folder) as redis_url,
        AsyncExitStack() as running,
    ):
        settings = MongoSettings(Secret(mongodb_url), "gateway")
        await load_posts(settings, cast.authors, POSTS, progress_bar)
        told = LONG_LIVED | LIMITS
        told |= {"MONGODB_URL": mongodb_url, "CONTENT_MONGODB_DB": settings.database}
        told |= {"REDIS_URL": redis_url, "BUS_REDIS_URL": redis_url}
        programs = {}
        for program in PROGRAMS:
            programs[program] = await running.enter_async_context(site.rig.run(program, **told))
            told[program.target_variable] = programs[program].address
        tokens = [site.rig.user_token(each) for each in cast.readers]
        stage = Stage(site, cast, tokens, programs)
        await _prewarm(stage)
        yield stage


async def _follow(site: Site, cast: Cast) -> None:
    random, now = Random(SEED), datetime.now(UTC)
    for reader in cast.readers:
        followees = [cast.star, *random.sample(cast.authors, FOLLOWEES)]
        await site.session.execute(FOLLOW, followees, reader, now)
    await site.session.execute(COUNT_FOLLOWERS, cast.star, len(cast.readers))


async def _prewarm(stage: Stage) -> None:
    """Everybody has read a first page since."""
    rig, readers = stage.site.rig, stage.cast.readers
    admin = bearer(rig.user_token(stage.site.world.hub, Role.ADMIN))
    async with grpc.aio.insecure_channel(stage.programs[FEED_SVC].address) as channel:
        stub = FeedServiceStub(channel)
        for start in range(0, len(readers), WARMED_AT_ONCE):
            some = map(str, readers[start : start + WARMED_AT_ONCE])
            done = await stub.PrewarmFeeds(pb.PrewarmFeedsRequest(user_ids=some), metadata=admin)
            assert not done.failed_user_ids
        for token in stage.tokens:
            page = await stub.ListHomeFeed(pb.ListHomeFeedRequest(), metadata=bearer(token))
            assert len(page.items) == PAGE_ITEMS
            assert not page.degraded
