"""What the oracle of content_svc runs: the service, a mongod of its own, a bus, relays, readers.

Relays and readers are killed as processes are: nothing that they do on the way out gets out.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from newsfeed.events.v1 import events_pb2
from redis.asyncio import Redis

from content_svc.consumer import GROUP, PeopleEvents
from content_svc.model import Post, PostId
from content_svc.store import PostStore, StoreLimits
from devstack.background import in_background
from svckit.errors import DomainError, Unavailable
from svckit.events.bus import BusEvent, Fence, Handler
from svckit.events.engine import open_publisher
from svckit.events.envelope import decoded
from svckit.events.outbox import OutboxSource
from svckit.events.redis.consumer import RedisConsumer
from svckit.events.relay import Relay, RelaySettings
from svckit.events.settings import BusSettings
from svckit.mongo.client import Mongo
from svckit.settings import Secret
from tests.oracle.shared.processes import Process, SteppedBus, SteppedOutbox
from tests.oracle.shared.workers import HASTY
from tests.polling import until
from tests.stacks.content_stack import PATIENT, ContentStack, open_content_stack
from tests.stacks.feed_stack import AgeClock
from tests.stacks.user_stack import open_user_stack
from tests.troubles.own_store import OwnStore, own_mongod

T = TypeVar("T")

PARTITIONS = 4
AT_ONCE_MAX = 2
START_TIMEOUT_S = 20.0
READERS_GROUP = "oracle"
CONTENT_EVENTS = frozenset(
    {"PostCreated", "PostUpdated", "PostDeleted", "PostLiked", "PostUnliked"}
    | {"CommentCreated", "CommentDeleted", "ActivityOccurred"}
)
HASTY_RELAY = RelaySettings(
    lease_ttl_s=0.5,
    lease_renew_s=0.1,
    publish_timeout_s=0.4,
    poll_max_s=0.02,
    backoff_min_s=0.01,
    backoff_max_s=0.1,
    republish_s=0.1,
)
SLOW_SHARE = 0.12
SLOW_S_MAX = 0.1


@dataclass
class Arrivals(Handler):
    """The first of each event, in the order in which they were handled."""

    events: list[events_pb2.Event] = field(default_factory=list)
    ids: set[UUID] = field(default_factory=set)
    types = CONTENT_EVENTS
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    async def handle(self, event: BusEvent, fence: Fence) -> None:  # noqa: ARG002
        if self._random.random() < 2 * SLOW_SHARE:
            await asyncio.sleep(self._random.uniform(0, SLOW_S_MAX))
            if self._random.random() < SLOW_SHARE:
                raise Unavailable(dependency="oracle")
        if event.event_id not in self.ids:
            self.ids.add(event.event_id)
            self.events.append(decoded(event))


class Leavers(Handler):
    """content_svc's own handler, and who it has heard of."""

    types = PeopleEvents.types

    def __init__(self, handler: PeopleEvents) -> None:
        self._handler = handler
        self.ids: set[str] = set()

    async def handle(self, event: BusEvent, fence: Fence) -> None:
        await self._handler.handle(event, fence)
        self.ids.add(decoded(event).user_deleted.user_id)


@dataclass
class System:
    contents: ContentStack
    mongod: OwnStore
    bus: BusSettings
    bus_redis: Redis
    arrivals: Arrivals
    leavers: Leavers
    age_clock: AgeClock
    running: dict[str, list[Process]] = field(
        default_factory=lambda: {"relays": [], "readers": [], "listeners": []}
    )

    kills = 0  # of mongod

    async def befall(self, mishap: str) -> None:
        match mishap.split():
            case ["kill", "mongod"]:
                await self.mongod.kill()
                await self.mongod.start()
                await until(self._has_found_mongod, START_TIMEOUT_S)
                self.kills += 1
            case ["flush", _]:
                await self.bus_redis.flushall()
            case ["cut", _]:
                kill = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                await self.bus_redis.execute_command(*kill)
            case ["start", which]:
                self.start(which)
            case [what, which]:
                await self._end(which, is_killed=what == "kill")

    async def _has_found_mongod(self) -> bool:
        try:
            await self.contents.app.mongo.ping()
        except DomainError:
            return False
        return True

    def start(self, which: str) -> None:
        if len(self.running[which]) < AT_ONCE_MAX:
            self.running[which].append(self._process(which))

    def _process(self, which: str) -> Process:
        process = Process()
        if which == "relays":
            outbox = SteppedOutbox(self.contents.app.mongo, process.step)
            process.begin(_relay(outbox, self.bus))
        elif which == "readers":
            process.begin(self._consumer(READERS_GROUP, self.arrivals, process).run())
        else:
            process.begin(self._consumer(GROUP, self.leavers, process).run())
        return process

    def _consumer(self, group: str, handler: Handler, process: Process) -> RedisConsumer:
        make_bus = partial(SteppedBus, step=process.step)
        return RedisConsumer(self.bus, group, handler, HASTY, make_bus=make_bus)

    def start_missing(self) -> None:
        for which, processes in self.running.items():
            if not processes:
                self.start(which)

    async def _end(self, which: str, *, is_killed: bool) -> None:
        """The oldest of them, if there is one."""
        if self.running[which]:
            process = self.running[which].pop(0)
            await (process.kill() if is_killed else process.stop())

    async def stop(self) -> None:
        for processes in self.running.values():
            for process in processes:
                await process.stop()


class Dawdler:
    """Some calls take long to come back, so that others overtake them."""

    def __init__(self) -> None:
        self._dice = random.Random(1)

    async def dawdle(self) -> None:
        if self._dice.random() < SLOW_SHARE:
            await asyncio.sleep(self._dice.uniform(0, SLOW_S_MAX))


class SlowPosts(PostStore):
    """Each reader of a post may be late on its own, also when several were answered together."""

    def __init__(self, mongo: Mongo, limits: StoreLimits) -> None:
        super().__init__(mongo, limits)
        self._dawdler = Dawdler()

    async def post(self, post_id: PostId) -> Post | None:
        post = await super().post(post_id)
        await self._dawdler.dawdle()
        return post


async def _relay(outbox: OutboxSource[Any], bus: BusSettings) -> None:
    async with open_publisher(bus) as publisher:
        await Relay(outbox, publisher, HASTY_RELAY).run()


@asynccontextmanager
async def open_system(postgres_dsn: str, bus_url: str, folder: Path) -> AsyncIterator[System]:
    keys = folder / "keys"
    keys.mkdir()
    bus = BusSettings(redis_url=Secret(bus_url), partitions=PARTITIONS)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        age_clock = AgeClock()
        mongod = await enter(own_mongod(folder))
        people = await enter(open_user_stack(postgres_dsn, keys))
        contents = await enter(
            open_content_stack(
                mongod.url,
                people,
                keys,
                limits=PATIENT,
                age_clock_s=age_clock,
                post_store_type=SlowPosts,
            )
        )
        contents.mongo.after_step = Dawdler().dawdle
        await enter(in_background(_relay(people.app.relay._outbox, bus)))
        system = System(
            contents=contents,
            mongod=mongod,
            bus=bus,
            # One connection: it cuts all others, and is never cut.
            bus_redis=await enter(Redis.from_url(bus_url, single_connection_client=True)),
            arrivals=Arrivals(),
            leavers=Leavers(contents.app.people_events),
            age_clock=age_clock,
        )
        system.start_missing()
        try:
            yield system
        finally:
            await system.stop()
