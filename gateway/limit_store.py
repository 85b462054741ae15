"""The counts of limits in Redis, shared by all replicas of the gateway.

All keys of one subject are in one slot, so that one script counts under all of its limits. What
requests ask at the same time goes in one round trip. A call that takes too long is cut off and
takes its connection with it: no call reads the reply to another.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.model import Allowance, CountingBounds, Limit
from svckit.batches import Gatherer, RoundSettings
from svckit.errors import Unavailable

_MICROSECONDS = 1_000_000


class _Question(NamedTuple):
    subject: str
    limits: tuple[Limit, ...]


class RedisLimits:
    """A `LimitStore`; raises `Unavailable` for whatever is wrong with Redis."""

    def __init__(self, redis: Redis, bounds: CountingBounds) -> None:
        self._redis = redis
        self._timeout_s = bounds.store_timeout_s
        self._source = files("gateway").joinpath("lua", "gcra.lua").read_bytes()
        self._digest = sha1(self._source, usedforsecurity=False).hexdigest()
        rounds = RoundSettings(most=bounds.batch_max, interval_s=0)
        self._together = Gatherer(self._take, rounds)

    async def take(self, subject: str, limits: Sequence[Limit]) -> list[Allowance]:
        return await self._together.do(_Question(subject, tuple(limits)))

    async def ping(self) -> None:
        with _errors():
            async with asyncio.timeout(self._timeout_s):
                await self._redis.ping()

    async def _take(self, asked: Sequence[_Question]) -> list[list[Allowance]]:
        with _errors():
            async with asyncio.timeout(self._timeout_s):
                replies = await self._run(asked)
                if any(isinstance(reply, NoScriptError) for reply in replies):
                    await self._redis.script_load(self._source)
                    replies = await self._run(asked)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return [
            _allowances(question.limits, cast("list[int]", reply))
            for question, reply in zip(asked, replies, strict=True)
        ]

    async def _run(self, asked: Sequence[_Question]) -> list[object]:
        pipeline = self._redis.pipeline(transaction=False)
        for subject, limits in asked:
            keys = [f"limit:{{{subject}}}:{each.name}" for each in limits]
            numbers = [
                round(seconds * _MICROSECONDS)
                for each in limits
                for seconds in (each.interval_s, each.period_s)
            ]
            pipeline.evalsha(self._digest, len(keys), *keys, *numbers)
        return await pipeline.execute(raise_on_error=False)


@asynccontextmanager
async def open_limit_store(url: str, bounds: CountingBounds) -> AsyncGenerator[RedisLimits | None]:
    """None without a URL. Does not connect before it is used."""
    if not url:
        yield None
        return
    redis = Redis.from_url(
        url,
        socket_timeout=None,  # the limit is that of each call
        socket_connect_timeout=bounds.store_timeout_s,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    try:
        yield RedisLimits(redis, bounds)
    finally:
        await redis.aclose()


def _allowances(limits: Sequence[Limit], reply: Sequence[int]) -> list[Allowance]:
    if reply[0] < 0:
        recovery_s, retry_after_s = (each / _MICROSECONDS for each in reply[1:])
        return [Allowance(limits[-reply[0] - 1], recovery_s, retry_after_s)]
    return [
        Allowance(limit, recovery / _MICROSECONDS)
        for limit, recovery in zip(limits, reply, strict=True)
    ]


@contextmanager
def _errors() -> Generator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(dependency="redis") from error
