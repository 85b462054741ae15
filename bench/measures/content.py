"""Posts: published, read in batches, and found by their authors among a million of others.

content_svc and its relay run as they do on a development machine, with stores that sync to disk.
"""

import statistics
import time
from collections.abc import Sequence
from functools import partial
from random import Random
from uuid import UUID

import grpc
from newsfeed.content.v1 import content_service_pb2 as pb
from newsfeed.content.v1.content_service_pb2_grpc import ContentServiceStub

from bench.measures.reads import CONCURRENCY, LONG_LIVED, beside_echo
from bench.tools.load import generate
from bench.tools.measure import Measure, Site
from bench.tools.posts import START_MS, YEAR_MS, load_posts, text
from content_svc.model import Post
from devstack import mongo, valkey
from devstack.dataset import SEED, progress_bar
from devstack.programs import CONTENT_SVC
from devstack.rig import Running, bearer, durable
from svckit.ids import NIL_ID, pack_ids
from svckit.mongo.client import MongoSettings
from svckit.settings import Secret

CREATE_POST = "/newsfeed.content.v1.ContentService/CreatePost"
BATCH_GET_POSTS = "/newsfeed.content.v1.ContentService/BatchGetPosts"
AUTHORS = 10_000
PAGE_POSTS = 20
BATCHES = 20
FOLLOWEES = 1_000
WINDOW_POSTS = 256
NEW_POSTS = 500


async def publish_and_read(site: Site) -> list[Measure]:
    """Publishing comes first, into a database that is empty."""
    folder, rig = site.folder, site.rig
    authors = site.world.ids[:AUTHORS]
    async with (
        durable(mongo.STORE, folder) as mongodb_url,
        durable(valkey.STORE, folder) as redis_url,
        rig.run(**LONG_LIVED) as user_svc,
    ):
        told = LONG_LIVED | {
            "MONGODB_URL": mongodb_url,
            "BUS_REDIS_URL": redis_url,
            "USER_SVC_TARGET": user_svc.address,
        }
        async with rig.run(CONTENT_SVC, CONTENT_MONGODB_DB="empty", **told) as program:
            created = await _create(site, program)
        settings = MongoSettings(Secret(mongodb_url), "filled")
        latest = await load_posts(settings, authors, site.posts, progress_bar)
        async with rig.run(CONTENT_SVC, CONTENT_MONGODB_DB=settings.database, **told) as program:
            batches = await _get_batches(site, program, latest)
            references = await _list_references(site, program, authors)
    return [*created, *batches, *references]


async def _get_batches(site: Site, program: Running, latest: Sequence[Post]) -> list[Measure]:
    """The same few hundred posts over and over, shares among them: what a busy feed shows."""
    ids = [post.post_id for post in latest[-PAGE_POSTS * BATCHES :]]
    requests = [
        pb.BatchGetPostsRequest(post_ids=pack_ids(ids[start::BATCHES])).SerializeToString()
        for start in range(BATCHES)
    ]
    return await beside_echo(
        site,
        program,
        BATCH_GET_POSTS,
        [site.rig.service_token()],
        requests,
        name="post.batch",
        at_least=0.5,
    )


async def _list_references(site: Site, program: Running, authors: Sequence[UUID]) -> list[Measure]:
    """A page, and as many as fill a feed; the client is here, with nothing else to do."""
    random = Random(SEED)
    pages: list[list[float]] = []
    windows: list[list[float]] = []
    async with grpc.aio.insecure_channel(program.address) as channel:
        for _ in range(site.rounds):
            metadata = bearer(site.rig.service_token())
            call = partial(ContentServiceStub(channel).ListPostsByAuthors, metadata=metadata)
            for limit, cuts in ((PAGE_POSTS, pages), (WINDOW_POSTS, windows)):
                times_ms = []
                round_ends_s = time.perf_counter() + site.seconds
                while time.perf_counter() < round_ends_s:
                    request = _references_request(random, authors, limit)
                    started_s = time.perf_counter()
                    await call(request)
                    times_ms.append((time.perf_counter() - started_s) * 1000)
                cuts.append(statistics.quantiles(times_ms, n=100))
    return [
        Measure("post.references_p50", "ms", [each[49] for each in pages]),
        Measure("post.references_p99", "ms", [each[98] for each in pages], at_most=50),
        Measure("post.window_p50", "ms", [each[49] for each in windows]),
        Measure("post.window_p99", "ms", [each[98] for each in windows]),
    ]


def _references_request(
    random: Random, authors: Sequence[UUID], limit: int
) -> pb.ListPostsByAuthorsRequest:
    """Of other followees each time: their newest posts, or those before some moment of the year."""
    time_ms = START_MS + random.randrange(YEAR_MS)
    place = pb.FeedPosition(create_time_ms=time_ms, post_id=NIL_ID.bytes)
    return pb.ListPostsByAuthorsRequest(
        author_ids=pack_ids(random.sample(authors, FOLLOWEES)),
        before=random.choice((None, place)),
        limit=limit,
    )


async def _create(site: Site, program: Running) -> list[Measure]:
    """With a tag each; one in ten names somebody. The relay publishes what is written meanwhile."""
    random = Random(SEED)
    query = "SELECT username FROM users WHERE user_id = $1"
    named = await site.session.fetchval(query, site.world.hub)
    contents = [
        f"{text(random)} @{named}" if number % 10 == 0 else text(random)
        for number in range(NEW_POSTS)
    ]
    requests = [pb.CreatePostRequest(content=each).SerializeToString() for each in contents]
    rates = []
    for _ in range(site.rounds):
        outcome = await generate(
            program.address,
            CREATE_POST,
            [site.rig.user_token(random.choice(site.world.ids))],
            requests,
            concurrency=CONCURRENCY,
            seconds=site.seconds,
        )
        assert outcome.errors == 0
        rates.append(outcome.per_s)
    return [Measure("post.create_per_s", "posts/s", rates, at_least=600)]
