"""A whole feed_svc in the test's own process, beside a user_svc and a content_svc.

The server, the consumer, the bus and both relays are the real ones, so what people do reaches feeds
as it does in production; `settle` waits until it has. The Redis of the feeds is the stack's own.
"""

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
from newsfeed.feed.v1 import feed_service_pb2 as pb
from newsfeed.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from newsfeed.user.v1 import user_service_pb2 as user_pb

from devstack.background import in_background
from feed_svc.app import App, Limits, duties, open_app
from feed_svc.consumer import GROUP
from feed_svc.graphs import GraphLimits
from feed_svc.model import UserId, WindowInfo, WindowState
from feed_svc.redis_store import StoreLimits
from feed_svc.settings import Settings
from svckit.auth.keys import SigningKeys
from svckit.auth.revocations import Revocations
from svckit.auth.tokens import ServiceTokenSource
from svckit.events.bus import Groups
from svckit.events.delivery import ConsumerSettings
from svckit.events.engine import make_consumer, open_groups, open_publisher
from svckit.events.outbox import OutboxSource
from svckit.events.relay import Relay, RelaySettings
from svckit.events.settings import BusSettings
from svckit.mongo.outbox import MongoOutbox
from svckit.patience import PatienceSettings
from svckit.postgres.outbox import PostgresOutbox
from svckit.rpc.client import ServiceChannel
from svckit.rpc.limits import ChannelLimits
from svckit.settings import load
from tests.polling import until
from tests.stacks.content_stack import Author, ContentStack
from tests.stacks.user_stack import SERVICE, Person, SignedChannel

if TYPE_CHECKING:
    from newsfeed.feed.v1.feed_service_pb2_grpc import FeedServiceAsyncStub

PAGE_TOKEN_KEY = "0123456789abcdef" * 2  # that of the other two
SETTLE_TIMEOUT_S = 30.0
PATIENCE_S = 5.0
MEMORY_AGE_S = 10.0  # longer than anything is kept in memory
PATIENT = Limits(
    patience=PatienceSettings(PATIENCE_S, PATIENCE_S),
    graphs=GraphLimits(hidden_timeout_s=PATIENCE_S),
    store=StoreLimits(request_timeout_s=PATIENCE_S, write_timeout_s=PATIENCE_S),
)
PATIENT_CALLS = ChannelLimits(timeout_s=PATIENCE_S)
"""A busy machine is no mistake: no part gives up on another because it is slow."""
QUICK = ConsumerSettings(acknowledge_every_s=0.005)
BUSY = RelaySettings(poll_min_s=0.002, poll_max_s=0.02)


@dataclass
class AgeClock:
    """The clock by which what is in memory grows old, put forward by as much as a test wants."""

    ahead_s: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@dataclass(frozen=True)
class Feed:
    """All of a feed, as it was paged through."""

    items: list[pb.FeedItem]
    is_degraded: bool

    @property
    def post_ids(self) -> list[str]:
        return [item.post.post_id for item in self.items]


def stub(
    channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]
) -> "FeedServiceAsyncStub":
    return FeedServiceStub(cast("grpc.aio.Channel", SignedChannel(channel, metadata)))


class Reader(Author):
    """Somebody with an account, who posts and reads."""

    def __init__(self, stack: "FeedStack", person: Person) -> None:
        super().__init__(stack.contents.channel, person)
        self.feed_calls = stub(stack.channel, person.metadata)

    async def act(self, verb: str, other: Author) -> None:
        await self.person.act(verb, other.person)

    async def page(self, size: int = 0, token: str = "", **fields: str) -> pb.ListHomeFeedResponse:
        request = pb.ListHomeFeedRequest(page_size=size, page_token=token, **fields)
        return await self.feed_calls.ListHomeFeed(request)

    async def feed(self, size: int = 100) -> Feed:
        """From the top to the end."""
        items: list[pb.FeedItem] = []
        page = await self.page(size)
        is_degraded = page.degraded
        items += page.items
        while page.next_page_token:
            page = await self.page(size, page.next_page_token)
            is_degraded |= page.degraded
            items += page.items
        return Feed(items, is_degraded)


class Traffic:
    """From both outboxes over the bus to feed_svc."""

    def __init__(
        self,
        groups: Groups,
        outboxes: Sequence[OutboxSource[Any]],
        relays: Sequence[Relay[Any]],
    ) -> None:
        self._groups = groups
        self._outboxes = outboxes
        self._relays = relays

    async def settle(self) -> None:
        """Returns once all that was done is handled."""
        for relay in self._relays:
            relay.nudge()
        await until(self._is_relayed, SETTLE_TIMEOUT_S)
        await until(self._is_handled, SETTLE_TIMEOUT_S)

    async def _is_relayed(self) -> bool:
        return not any([(await outbox.backlog()).rows for outbox in self._outboxes])

    async def _is_handled(self) -> bool:
        """The group is past everything that is on the bus."""
        return any(
            each.name == GROUP and not each.lag for each in await self._groups.group_states()
        )


@dataclass(frozen=True)
class FeedStack:
    settings: Settings
    app: App
    contents: ContentStack
    address: str
    channel: grpc.aio.Channel
    age_clock: AgeClock
    traffic: Traffic | None
    """None = what people do stays in the outboxes."""

    @property
    def revocations(self) -> Revocations:
        return self.app.identity.revocations

    def reader(self, person: Person) -> Reader:
        return Reader(self, person)

    async def sign_up(self, name: str = "someone") -> Reader:
        return self.reader(await self.contents.people.sign_up(name))

    async def admin(self) -> Reader:
        people = self.contents.people
        return self.reader(await people.sign_up_with_role(user_pb.ROLE_ADMIN, "admin"))

    @property
    def nobody(self) -> "FeedServiceAsyncStub":
        return stub(self.channel, ())

    async def call_raw(
        self, rpc: str, data: bytes, metadata: Sequence[tuple[str, str]] = ()
    ) -> bytes:
        """Bytes to bytes by `FeedService.Method`; of a live stream its first message."""
        service, _, name = rpc.partition(".")
        method = pb.DESCRIPTOR.services_by_name[service].methods_by_name[name]
        path = f"/{method.containing_service.full_name}/{name}"
        if method.server_streaming:
            stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
            stream = self.channel.unary_stream(path)
            call = stream(data, metadata=metadata)
            first = await call.read()
            call.cancel()
            assert isinstance(first, bytes)
            return first
        unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(path)
        return await unary(data, metadata=metadata)

    async def digest(self) -> tuple[object, object]:
        """All that the other two have stored, in short: without traffic calls alone change it."""
        return await self.contents.digest(), await self.contents.people.digest()

    async def settle(self) -> None:
        """All that was done has reached the windows, and nothing older is remembered."""
        assert self.traffic is not None
        await self.traffic.settle()
        for background in self.app.backgrounds:
            await background.idle()
        self.forget()

    def forget(self) -> None:
        """What is in memory is too old from now on."""
        self.age_clock.ahead_s += MEMORY_AGE_S

    async def evict(self, reader: Author) -> None:
        await self.app.windows.evict(UserId(reader.id_bytes))

    async def info(self, reader: Author) -> WindowInfo:
        return await self.app.windows.info(UserId(reader.id_bytes))

    async def has_window(self, reader: Author) -> None:
        """Waits until the reader's window serves."""

        async def is_ready() -> bool:
            return (await self.info(reader)).state is WindowState.READY

        await until(is_ready)


@asynccontextmanager
async def open_feed_stack(
    redis_url: str,
    bus_url: str,
    contents: ContentStack,
    folder: Path,
    *,
    has_traffic: bool = True,
    limits: Limits = PATIENT,
    **environment: str,
) -> AsyncIterator[FeedStack]:
    """`folder` is the one with the keys of the other two; `environment` is told to feed_svc.

    Of the stacks on the same two services only one can have traffic. A test of how long others are
    waited for hands in the limits of the program.
    """
    own_keys_file = folder / f"{SERVICE}.json"
    environ = {
        "REDIS_URL": redis_url,
        "BUS_REDIS_URL": bus_url,
        "BIND_HOST": "127.0.0.1",
        "DRAIN_DELAY_S": "0",
        "SERVICE_KEY_FILE": str(own_keys_file),
        "SERVICE_JWKS_FILE": str(folder / "services.json"),
        "PAGE_TOKEN_KEY": PAGE_TOKEN_KEY,
        "USER_SVC_TARGET": contents.people.address,
        "CONTENT_SVC_TARGET": contents.address,
        **environment,
    }
    settings = load(Settings, environ)
    token = ServiceTokenSource(SigningKeys(own_keys_file), SERVICE).token
    age_clock = AgeClock()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        user_svc = await enter(ServiceChannel(settings.user_svc_target, token, PATIENT_CALLS))
        content_svc = await enter(ServiceChannel(settings.content_svc_target, token, PATIENT_CALLS))
        app = await enter(open_app(settings, user_svc, content_svc, limits, age_clock))
        server = await enter(duties(app, settings, "api").served(settings.server, 0))
        address = f"127.0.0.1:{server.port}"
        channel = await enter(grpc.aio.insecure_channel(address))
        traffic = await enter(_traffic(settings.bus, contents, app)) if has_traffic else None
        yield FeedStack(settings, app, contents, address, channel, age_clock, traffic)


@asynccontextmanager
async def _traffic(bus: BusSettings, contents: ContentStack, app: App) -> AsyncIterator[Traffic]:
    settings = replace(bus, prefix=f"bus_{uuid.uuid4().hex}")
    outboxes: list[OutboxSource[Any]] = [
        PostgresOutbox(contents.people.app.database),
        MongoOutbox(contents.app.mongo),
    ]
    async with AsyncExitStack() as stack:
        relays: list[Relay[Any]] = []
        for outbox in outboxes:
            publisher = await stack.enter_async_context(open_publisher(settings))
            relays.append(Relay(outbox, publisher, BUSY))
        consumer = make_consumer(settings, GROUP, app.events, QUICK)
        for work in (*(relay.run() for relay in relays), consumer.run()):
            await stack.enter_async_context(in_background(work))
        groups = await stack.enter_async_context(open_groups(settings))
        yield Traffic(groups, outboxes, relays)


async def circle(stack: FeedStack, *names: str) -> Sequence[Reader]:
    """The first follows the others, and has a window."""
    viewer, *others = [await stack.sign_up(name) for name in names]
    for other in others:
        await viewer.act("Follow", other)
    await stack.settle()
    await viewer.page()
    await stack.has_window(viewer)
    return viewer, *others
