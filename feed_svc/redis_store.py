"""The Redis of the feeds: a client that gives up at once, and functions that run inside Redis.

In: commands, and calls of functions (feed_svc/lua), which go to one Redis in one round trip, or to
all nodes of a cluster side by side. Out: replies, or `Unavailable`. After a failure nothing is sent
until Redis answers a ping again, so a caller that can do without it loses no time.

Functions and not scripts: a pipeline to a cluster takes FCALL but no EVALSHA, and functions are
replicated. Their names carry a hash of their source: two versions of this program get along.

Fan-out writes with a fence: see `fences.py`.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from typing import cast
from urllib.parse import quote

from redis.exceptions import RedisError, ResponseError

from feed_svc.engine_store import FAILURES, Argument, Cluster, Command, OneRedis
from feed_svc.fences import FenceNumber, FenceRefused, Fences
from feed_svc.keys import SHARDS_MAX, Keys
from feed_svc.model import WINDOW_ENTRIES_MAX
from svckit.batches import RoundSettings
from svckit.dependency import AskSettings, Dependency
from svckit.events.bus import Fence, Fenced
from svckit.settings import PORT_MAX, Secret, SettingsError, setting

logger = logging.getLogger(__name__)

DAY_S = 86_400
LUA_FILES = ("places", "fences", "windows", "builds", "authors", "copies")
LISTPACK_SETTING = "zset-max-listpack-entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Which Redis it is, and how feeds are kept there."""

    url: Secret = setting("REDIS_URL", "Redis of the feeds; wins over host and port", Secret())
    host: str = setting("REDIS_HOST", "its host", "")
    port: int = setting("REDIS_PORT", "its port", 6379, at_least=1, at_most=PORT_MAX)
    is_cluster: bool = setting("REDIS_CLUSTER", "it is a Redis Cluster", default=False)
    shards: int = setting(
        "FEED_SHARDS",
        "most nodes feeds can spread over; fixed for the life of a cluster",
        64,
        at_least=1,
        at_most=SHARDS_MAX,
    )
    window_entries_max: int = setting(
        "WINDOW_ENTRIES_MAX", "posts in a hot window", WINDOW_ENTRIES_MAX, at_least=2, at_most=4096
    )
    window_ttl_s: int = setting(
        "WINDOW_TTL_S", "the feed of who does not read is forgotten", 30 * DAY_S, at_least=1
    )

    def __post_init__(self) -> None:
        if not self.url and not self.host:
            raise SettingsError(["REDIS_URL: required, or REDIS_HOST"])

    def full_url(self) -> str:
        return self.url or f"redis://{quote(self.host)}:{self.port}/0"


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """How long Redis is waited for, how much is in a call, how much is kept and for how long."""

    connect_timeout_s: float = 0.25
    request_timeout_s: float = 0.25
    write_timeout_s: float = 1.0  # of all that no reader waits for: fan-out, pings
    writes_at_once_max: int = 8  # reads must get in between
    ask: AskSettings = field(default_factory=AskSettings)  # while Redis is silent
    windows_per_call_max: int = 500
    posts_per_call_max: int = 500
    backfilled_per_call_max: int = 600  # over all windows: some 5 ms, for which all others wait
    reads: RoundSettings = field(  # of windows; the interval counts while there are many readers
        default_factory=lambda: RoundSettings(most=100, interval_s=0.010)
    )
    build_alone_ms: int = 10_000  # so long no other build begins
    build_ttl_ms: int = 60_000
    recents_max: int = 200  # posts kept of each author
    copy_ttl_ms: int = 600_000  # of posts and cards
    graph_ttl_ms: int = 3_600_000
    watch_ttl_ms: int = 30_000
    silence_max_s: float = 5.0  # of pokes; then Redis is asked, and has as long to answer


@dataclass(frozen=True, slots=True)
class Call:
    """Of a function. All keys are in one slot."""

    function: str
    keys: Sequence[bytes]
    arguments: Sequence[Argument] = ()


class FeedRedis:
    """Connects when it is first used.

    Calls end within their time, and raise `Unavailable`; those with a fence also `Fenced`.
    """

    def __init__(self, settings: StoreSettings, limits: StoreLimits | None = None) -> None:
        self.settings = settings
        self.limits = limits or StoreLimits()
        self.keys = Keys(settings.shards, is_cluster=settings.is_cluster)
        self.fences = Fences(self._raise)
        engine: type[Cluster | OneRedis] = Cluster if settings.is_cluster else OneRedis
        self._engine = engine(settings.full_url(), self.limits.connect_timeout_s)
        self._library, self._version = _library()
        self._writes = asyncio.Semaphore(self.limits.writes_at_once_max)
        self._dependency = Dependency("redis", self._ask, self.limits.ask)

    @property
    def is_silent(self) -> bool:
        """It did not answer, and has not answered a ping since."""
        return self._dependency.is_silent

    async def run(
        self, commands: Sequence[Command], timeout_s: float | None = None
    ) -> list[object]:
        """Replies in the order of the commands, which are not a transaction.

        They have the time of a request unless they are given another.
        """
        self._dependency.require()
        try:
            async with asyncio.timeout(timeout_s or self.limits.request_timeout_s):
                return await self._run(commands)
        except FAILURES as error:
            self._dependency.fall_silent(error)
            raise self._dependency.unavailable() from error

    async def call(self, *calls: Call) -> list[object]:
        return await self.run([self._command(each) for each in calls])

    async def write(self, fence: Fence, calls: Sequence[Call]) -> list[object]:
        """Call functions that want a fence, whose key each call has first."""
        async with self._writes:
            number = await self.fences.number(fence)
            commands = [self._command(each, (fence.partition, str(number))) for each in calls]
            try:
                return await self.run(commands, self.limits.write_timeout_s)
            except BaseException as error:
                self.fences.distrust(fence, number)
                if not isinstance(error, FenceRefused):
                    raise
                if error.newest_token > fence.token:
                    raise Fenced(error.newest_token) from None
                raise self._dependency.unavailable() from error

    async def get_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of any keys, in one round trip."""
        if not keys:
            return []
        if self.settings.is_cluster:
            found = await self.run([("GET", key) for key in keys])
        else:
            found = cast("list[object]", (await self.run([("MGET", *keys)]))[0])
        return cast("list[bytes | None]", found)

    async def ping(self) -> None:
        try:
            async with asyncio.timeout(self.limits.write_timeout_s):
                await self._engine.ping()
        except FAILURES as error:
            raise self._dependency.unavailable() from error

    async def check(self) -> None:
        """Warn if windows would take several times the memory that they need."""
        needed = 2 * self.settings.window_entries_max
        try:
            async with asyncio.timeout(self.limits.write_timeout_s):
                found = await self._engine.setting(LISTPACK_SETTING)
        except ResponseError:
            logger.info("feed_store_tells_no_settings")
            return
        except FAILURES as error:
            raise self._dependency.unavailable() from error
        if found < needed:
            told = {"setting": LISTPACK_SETTING, "value": found, "needed": needed}
            logger.warning("feed_windows_not_compact", extra=told)

    async def aclose(self) -> None:
        await self._dependency.close()
        await self._engine.close()

    def _command(self, call: Call, leading: Sequence[Argument] = ()) -> Command:
        name = f"{call.function}_{self._version}"
        return ("FCALL", name, len(call.keys), *call.keys, *leading, *call.arguments)

    async def _run(self, commands: Sequence[Command]) -> list[object]:
        replies = await self._engine.run(commands)
        lost = [at for at, reply in enumerate(replies) if _is_function_missing(reply)]
        if lost:
            await self._engine.load(self._library)
            found = await self._engine.run([commands[at] for at in lost])
            for at, reply in zip(lost, found, strict=True):
                replies[at] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise FenceRefused.of(reply) or reply
        return replies

    async def _raise(self, fence: Fence, number: FenceNumber) -> None:
        """On all shards."""
        leading = (fence.partition, str(number))
        commands = [self._command(Call("raise", [key]), leading) for key in self.keys.fences]
        try:
            await self.run(commands, self.limits.write_timeout_s)
        except FenceRefused as refused:
            raise Fenced(refused.newest_token) from None

    async def _ask(self) -> None:
        await self._engine.reset()
        await self._engine.ping()


def _library() -> tuple[str, str]:
    """The source of the functions, and its version."""
    folder = files("feed_svc").joinpath("lua")
    source = "\n".join(folder.joinpath(f"{name}.lua").read_text("utf-8") for name in LUA_FILES)
    version = sha256(source.encode()).hexdigest()[:12]
    return f"#!lua name=newsfeed_{version}\nlocal VERSION = '{version}'\n{source}", version


def _is_function_missing(reply: object) -> bool:
    return isinstance(reply, RedisError) and "Function not found" in str(reply)
