"""The fan-out side of feed_svc on a real Redis, beside a user_svc and a content_svc.

No bus and no read path: a test does things to people and posts, hands the events of the outboxes
over in the order it likes, and compares windows with the truth of the two other services.
"""

import itertools
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.events.v1 import events_pb2

from feed_svc.app import Limits
from feed_svc.author_store import AuthorStore
from feed_svc.background import Background
from feed_svc.cache_store import CacheStore
from feed_svc.clients import Contents, People
from feed_svc.consumer import FeedEvents
from feed_svc.fanout import Fanout
from feed_svc.model import TOP, Place, PostId, UserId, WindowState
from feed_svc.rebuild import Rebuilds
from feed_svc.redis_store import FeedRedis, StoreSettings
from feed_svc.tiers import PushSettings, Tiers
from feed_svc.window_store import WindowStore
from svckit.auth.tokens import ServiceTokenSource
from svckit.events.bus import Fence
from svckit.ids import parse_id
from svckit.rpc.client import ServiceChannel
from svckit.settings import Secret
from tests.stacks.content_stack import Author, ContentStack, bus_event
from tests.stacks.user_stack import SERVICE

PULLED_FROM = 3  # followers
PUSH = PushSettings(followers_max=PULLED_FROM)
_tokens = itertools.count(1)  # each owner has a higher one
_USER_EVENTS = "SELECT payload FROM outbox ORDER BY seq"


@dataclass
class FeedEventsStack:
    """`people` and `contents` may be put in the place of the ones that ask for real."""

    content: ContentStack
    redis_url: str
    redis: FeedRedis
    user_svc: ServiceChannel
    content_svc: ServiceChannel
    background: Background
    fence: Fence
    push: PushSettings = PUSH
    limits: Limits = field(default_factory=Limits)
    handed_over: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.people = People(self.user_svc, self.limits.clients)
        self.contents = Contents(self.content_svc, self.limits.clients)
        self.windows = WindowStore(self.redis)
        self.authors = AuthorStore(self.redis)
        self.caches = CacheStore(self.redis)

    @property
    def events(self) -> FeedEvents:
        """Wired anew each time, so that a test may exchange a part."""
        tiers = Tiers(self.push, self.people, self.windows, self.authors, _now_ms)
        fanout = Fanout(
            self.people,
            self.contents,
            self.windows,
            self.authors,
            self.caches,
            tiers,
            _now_ms,
            self.limits.fanout,
        )
        return FeedEvents(fanout, self.redis.fences)

    @property
    def rebuilds(self) -> Rebuilds:
        return Rebuilds(
            self.people,
            self.contents,
            self.windows,
            self.authors,
            self.caches,
            self.background,
        )

    async def sign_up(self, name: str = "someone", *, is_active: bool = True) -> Author:
        """A new person; an active one has a window."""
        person = await self.content.sign_up(name)
        if is_active:
            await self.build(person)
        return person

    async def build(self, *viewers: Author) -> None:
        for viewer in viewers:
            assert await self.rebuilds.rebuild(user_id(viewer)) is WindowState.READY

    async def follow(self, author: Author, *viewers: Author) -> None:
        for viewer in viewers:
            await viewer.person.act("Follow", author.person)

    async def unfollow(self, author: Author, *viewers: Author) -> None:
        for viewer in viewers:
            await viewer.person.act("Unfollow", author.person)

    async def waiting(self) -> list[events_pb2.Event]:
        """What was not handed over yet, of people, then of posts; counts as handed over now."""
        rows = await self.content.people.app.database.fetch(_USER_EVENTS)
        events = [events_pb2.Event.FromString(row["payload"]) for row in rows]
        events += await self.content.events()
        fresh = [event for event in events if event.event_id not in self.handed_over]
        self.handed_over |= {event.event_id for event in fresh}
        return [event for event in fresh if kind_of(event) in FeedEvents.types]

    async def settle(self) -> list[events_pb2.Event]:
        """Hands over everything that waits; returns it."""
        events = await self.waiting()
        await self.hand_over(events)
        return events

    async def hand_over(self, events: Iterable[events_pb2.Event]) -> None:
        handler = self.events
        for event in events:
            await handler.handle(bus_event(event, kind_of(event)), self.fence)

    @asynccontextmanager
    async def without_user_svc(self) -> AsyncIterator[None]:
        people = self.people
        async with ServiceChannel("127.0.0.1:1") as nobody:
            self.people = People(nobody)
            yield
        self.people = people

    async def state(self, viewer: Author) -> WindowState:
        return (await self.windows.info(user_id(viewer))).state

    async def ids_in_window(self, viewer: Author) -> list[PostId]:
        window = await self.windows.read(user_id(viewer), TOP, 500)
        assert window.state is WindowState.READY
        return [place[1] for place in window.source.places]

    async def pulled_by(self, viewer: Author) -> frozenset[UserId]:
        return (await self.windows.read(user_id(viewer), TOP, 1)).pull_author_ids

    async def hot(self, viewer: Author) -> tuple[list[PostId], Place | None]:
        """What a reader learns from Redis alone, newest first, and how far down that is all."""
        window = await self.windows.read(user_id(viewer), TOP, 500)
        assert window.state is WindowState.READY
        recents = await self.authors.recents(window.pull_author_ids)
        assert recents.keys() == window.pull_author_ids
        sources = [window.source, *recents.values()]
        floor = max((each.floor for each in sources if each.floor), default=None)
        places = {place for each in sources for place in each.places}
        known = (place for place in places if floor is None or place >= floor)
        return [place[1] for place in sorted(known, reverse=True)], floor

    async def assert_exact(self, *viewers: Author) -> None:
        """What a viewer should see is known from Redis: once, in order, and nothing else."""
        for viewer in viewers:
            ids, floor = await self.hot(viewer)
            graph, _ = await self.people.graph(user_id(viewer))
            authors = {user_id(viewer), *graph.followee_ids}
            truth = await self.contents.by_authors(authors, TOP, 500)
            assert ids == [place[1] for place in truth if floor is None or place >= floor]


def kind_of(event: events_pb2.Event) -> str:
    kind = event.WhichOneof("payload")
    assert kind is not None
    return str(type(getattr(event, kind)).DESCRIPTOR.name)


def user_id(author: Author) -> UserId:
    return UserId(author.id_bytes)


def post_id(post: content_pb.Post) -> PostId:
    return PostId(parse_id(post.post_id, "post_id").bytes)


@asynccontextmanager
async def open_feed_events(
    redis_url: str,
    content: ContentStack,
    *,
    window_entries_max: int = 256,
    fence: Fence | None = None,
) -> AsyncIterator[FeedEventsStack]:
    settings = StoreSettings(url=Secret(redis_url), window_entries_max=window_entries_max)
    token = ServiceTokenSource(content.people.service_keys, SERVICE).token
    async with (
        ServiceChannel(content.people.address, token) as user_svc,
        ServiceChannel(content.address, token) as content_svc,
        aclosing(FeedRedis(settings)) as redis,
        Background(8) as background,
    ):
        stack = FeedEventsStack(
            content,
            redis_url,
            redis,
            user_svc,
            content_svc,
            background,
            fence or Fence(0, next(_tokens)),
        )
        await stack.events.assigned(stack.fence)
        yield stack


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
