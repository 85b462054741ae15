"""The gateway: a page of the home feed through it, against the rpc behind it; then too much of it.

Rounds alternate between the two ways to the same feeds, for the same people and with as many
requests under way: as many as the gateway lets in. Half of that would not keep two programs busy,
of which each waits for the other. Overload is three times what was served in the rounds.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from newsfeed.feed.v1.feed_service_pb2 import ListHomeFeedRequest

from bench.measures.feed import LIST_HOME_FEED, PAGE_ITEMS
from bench.measures.gateway_overload import overload
from bench.tools.gateway_stage import FEED, Stage, set_up
from bench.tools.http_load import Phase
from bench.tools.http_load import generate as generate_http
from bench.tools.load import generate
from bench.tools.measure import Measure, Site
from devstack.programs import FEED_SVC, GATEWAY

READERS = 100
AT_ONCE = 64
AS_FAST_AS_ANSWERED = 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """CPU is in microseconds a request."""

    per_s: float
    unserved: int
    gateway_cpu: float
    feed_cpu: float


async def serve_feeds(site: Site) -> list[Measure]:
    async with set_up(site, READERS) as stage:
        rounds = [(await _through(stage), await _past(stage)) for _ in range(site.rounds)]
        through, past = [each for each, _ in rounds], [each for _, each in rounds]
        peak_per_s = statistics.median(each.per_s for each in through)
        overloaded = await overload(stage, peak_per_s)
    ratios = [served.per_s / called.per_s for served, called in rounds]
    return [
        Measure("gateway.ratio", "x", ratios, at_least=0.5),
        Measure("gateway.per_s", "requests/s", [each.per_s for each in through]),
        Measure("gateway.direct_per_s", "calls/s", [each.per_s for each in past]),
        Measure("gateway.cpu", "us/request", [each.gateway_cpu for each in through]),
        Measure("gateway.feed_cpu", "us/request", [each.feed_cpu for each in through]),
        Measure("gateway.direct_feed_cpu", "us/call", [each.feed_cpu for each in past]),
        Measure("gateway.unserved", "requests", [each.unserved for each in through], at_most=0),
        Measure("gateway.direct_unserved", "calls", [each.unserved for each in past], at_most=0),
        *overloaded,
    ]


async def _through(stage: Stage) -> Round:
    before = _cpu_s(stage)
    (outcome,) = await generate_http(
        stage.programs[GATEWAY].address,
        FEED,
        stage.tokens,
        [Phase(AS_FAST_AS_ANSWERED, stage.site.seconds)],
        connections=AT_ONCE,
    )
    requests = len(outcome.answers)
    unserved = sum(not each.is_good for each in outcome.answers)
    return Round(outcome.good_per_s, unserved, *_cpu_us(before, _cpu_s(stage), requests))


async def _past(stage: Stage) -> Round:
    before = _cpu_s(stage)
    outcome = await generate(
        stage.programs[FEED_SVC].address,
        LIST_HOME_FEED,
        stage.tokens,
        [ListHomeFeedRequest(page_size=PAGE_ITEMS).SerializeToString()],
        concurrency=AT_ONCE,
        seconds=stage.site.seconds,
    )
    return Round(outcome.per_s, outcome.errors, *_cpu_us(before, _cpu_s(stage), outcome.calls))


def _cpu_s(stage: Stage) -> Sequence[float]:
    return [stage.programs[name].cpu_s for name in (GATEWAY, FEED_SVC)]


def _cpu_us(before: Sequence[float], after: Sequence[float], requests: int) -> Sequence[float]:
    return [1e6 * (now - then) / requests for now, then in zip(after, before, strict=True)]
