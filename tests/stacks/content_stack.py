"""A whole content_svc in the test's own process, beside a user_svc: own database, real server.

Calls go over gRPC; what no rpc shows (outbox records, all collections at once) is read from the
database. Background work does not run by itself, but for keys and revocations: tests call its
steps, with a clock that they may put forward.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import bson
import grpc
from newsfeed.content.v1 import content_service_pb2 as pb
from newsfeed.content.v1.content_service_pb2_grpc import ContentServiceStub
from newsfeed.events.v1 import events_pb2
from newsfeed.user.v1 import user_service_pb2 as user_pb

from content_svc.app import App, Limits, duties, open_app
from content_svc.clients import PeopleLimits
from content_svc.settings import Settings
from content_svc.store import PostStore
from svckit.auth.keys import SigningKeys
from svckit.auth.revocations import Revocations
from svckit.auth.tokens import ServiceTokenSource
from svckit.events.bus import BusEvent, Fence, Position
from svckit.events.engine import open_publisher
from svckit.mongo.changes import Changes
from svckit.rpc.client import ServiceChannel
from svckit.settings import load
from tests.stacks.user_stack import SERVICE, Person, SignedChannel, UserStack
from tests.troubles.mongo import TroubledMongo

if TYPE_CHECKING:
    from newsfeed.content.v1.content_service_pb2_grpc import ContentServiceAsyncStub

CDN = "https://cdn.example.com/media"
# Longer than a purge is looked after.
LONG_MS = 60_000
PATIENT = Limits(people=PeopleLimits(page_timeout_s=PeopleLimits().answer_timeout_s))


@dataclass
class Clock:
    """The time of day, put forward by as much as a test wants."""

    ahead_ms: int = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


def stub(
    channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]
) -> "ContentServiceAsyncStub":
    return ContentServiceStub(cast("grpc.aio.Channel", SignedChannel(channel, metadata)))


class Author:
    """Somebody with an account, who calls content_svc."""

    def __init__(self, channel: grpc.aio.Channel, person: Person) -> None:
        self.person = person
        self.user_id = person.user_id
        self.id_bytes = person.id_bytes
        self.calls = stub(channel, person.metadata)

    async def publish(self, content: str = "", **fields: Any) -> pb.Post:
        answer = await self.calls.CreatePost(pb.CreatePostRequest(content=content, **fields))
        return answer.post

    async def share(self, post: pb.Post, **fields: Any) -> pb.Post:
        return await self.publish(shared_post_id=post.post_id, **fields)

    async def comment(self, post: pb.Post, content: str = "so true", **fields: Any) -> pb.Comment:
        request = pb.CreateCommentRequest(post_id=post.post_id, content=content, **fields)
        return (await self.calls.CreateComment(request)).comment

    async def like(self, post: pb.Post) -> None:
        assert (await self.calls.LikePost(pb.LikePostRequest(post_id=post.post_id))).liked

    async def unlike(self, post: pb.Post) -> None:
        assert not (await self.calls.UnlikePost(pb.UnlikePostRequest(post_id=post.post_id))).liked

    async def edit(self, post: pb.Post, **fields: Any) -> pb.Post:
        request = pb.UpdatePostRequest(post_id=post.post_id, **fields)
        return (await self.calls.UpdatePost(request)).post

    async def delete(self, post: pb.Post) -> datetime:
        answer = await self.calls.DeletePost(pb.DeletePostRequest(post_id=post.post_id))
        return answer.delete_time.ToDatetime()

    async def delete_comment(self, comment: pb.Comment) -> datetime:
        request = pb.DeleteCommentRequest(post_id=comment.post_id, comment_id=comment.comment_id)
        return (await self.calls.DeleteComment(request)).delete_time.ToDatetime()


@dataclass(frozen=True)
class ContentStack:
    app: App
    people: UserStack
    address: str
    channel: grpc.aio.Channel
    clock: Clock

    @property
    def revocations(self) -> Revocations:
        return self.app.identity.revocations

    @property
    def mongo(self) -> TroubledMongo:
        assert isinstance(self.app.mongo, TroubledMongo)
        return self.app.mongo

    @property
    def nobody(self) -> "ContentServiceAsyncStub":
        return stub(self.channel, ())

    @property
    def service(self) -> "ContentServiceAsyncStub":
        return stub(self.channel, self.people.service.metadata)

    def author(self, person: Person) -> Author:
        return Author(self.channel, person)

    async def sign_up(self, name: str = "someone") -> Author:
        return self.author(await self.people.sign_up(name))

    async def moderator(self) -> Author:
        person = await self.people.sign_up_with_role(user_pb.ROLE_MODERATOR, "moderator")
        return self.author(person)

    async def get(self, post: pb.Post) -> pb.Post:
        answer = await self.nobody.GetPost(pb.GetPostRequest(post_id=post.post_id))
        return answer.post

    async def batch(self, *posts: pb.Post) -> list[str]:
        """Ids of those that are there, as another service reads them."""
        request = pb.BatchGetPostsRequest(post_ids=packed(posts))
        return [post.post_id for post in (await self.service.BatchGetPosts(request)).posts]

    async def references(self, *authors: Author, limit: int = 500) -> list[str]:
        """Ids of what these wrote, as a feed reads them."""
        author_ids = b"".join(author.id_bytes for author in authors)
        request = pb.ListPostsByAuthorsRequest(author_ids=author_ids, limit=limit)
        answer = await self.service.ListPostsByAuthors(request)
        return [str(uuid.UUID(bytes=each.post_id)) for each in answer.posts]

    async def call_raw(
        self, rpc: str, data: bytes, metadata: Sequence[tuple[str, str]] = ()
    ) -> bytes:
        """Bytes to bytes by `ContentService.Method`."""
        path = f"/{pb.DESCRIPTOR.package}.{rpc.replace('.', '/')}"
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(path)
        return await call(data, metadata=metadata)

    async def purge(self) -> None:
        """Does all that waits to be removed, and lets the purges themselves end."""
        async with asyncio.timeout(30):
            while await self.documents("purges"):
                self.clock.ahead_ms += LONG_MS
                await self.app.maintenance.purge()

    async def tell_of_deletion(self, author: Author) -> None:
        """What the bus brings when a person was deleted."""
        event = events_pb2.Event(event_id=str(uuid.uuid4()), lane=author.user_id, schema_version=1)
        event.user_deleted.user_id = author.user_id
        await self.app.people_events.handle(bus_event(event, "UserDeleted"), Fence(0, 1))

    async def documents(self, name: str) -> list[dict[str, Any]]:
        return await self.app.mongo.collection(name).find({}, sort={"_id": 1})

    async def document_counts(self) -> dict[str, int]:
        """How many documents there are in each collection."""
        return {name: len(await self.documents(name)) for name in await self._collections()}

    async def digest(self) -> dict[str, str]:
        """All that is stored, in short: two are equal when nothing has changed between them."""
        return {name: _digest(await self.documents(name)) for name in await self._collections()}

    async def _collections(self) -> list[str]:
        listed = await self.app.mongo.command({"listCollections": 1, "nameOnly": True})
        names = sorted(each["name"] for each in listed["cursor"]["firstBatch"])
        assert {"posts", "comments", "likes", "outbox"} <= set(names)
        return names

    @asynccontextmanager
    async def emitted(self) -> AsyncIterator[list[events_pb2.Event]]:
        """The events that the block leaves in the outbox, in order; filled when it ends."""
        events: list[events_pb2.Event] = []
        known = {event.event_id for event in await self.events()}
        yield events
        events += [event for event in await self.events() if event.event_id not in known]

    async def events(self) -> list[events_pb2.Event]:
        """All that wait in the outbox, in order."""
        records = await self.app.mongo.collection("outbox").find({}, sort={"seq": 1})
        return [_checked_event(record) for record in records]


def packed(posts: Sequence[pb.Post]) -> bytes:
    return b"".join(uuid.UUID(post.post_id).bytes for post in posts)


def bus_event(event: events_pb2.Event, kind: str) -> BusEvent:
    event_id = uuid.UUID(event.event_id)
    data = event.SerializeToString()
    return BusEvent(event_id, event.lane, kind, data, {}, 0, Position("0"), 0)


@asynccontextmanager
async def open_content_stack(
    mongodb_url: str,
    people: UserStack,
    folder: Path,
    cdn: str = CDN,
    limits: Limits | None = None,
    age_clock_s: Callable[[], float] = time.monotonic,
    unit_of_work: type[Changes] = Changes,
    post_store_type: type[PostStore] = PostStore,
) -> AsyncIterator[ContentStack]:
    """On a database of its own; `folder` is the one in which the keys of `people` are."""
    own_keys_file = folder / f"{SERVICE}.json"
    environ = {
        "MONGODB_URL": mongodb_url,
        "CONTENT_MONGODB_DB": f"test_{uuid.uuid4().hex}",
        "BUS_REDIS_URL": "redis://127.0.0.1:1/0",  # nobody: events stay in the outbox
        "BIND_HOST": "127.0.0.1",
        "DRAIN_DELAY_S": "0",
        "SERVICE_KEY_FILE": str(own_keys_file),
        "SERVICE_JWKS_FILE": str(folder / "services.json"),
        "PAGE_TOKEN_KEY": "0123456789abcdef" * 2,
        "MEDIA_CDN_BASE_URL": cdn,
    }
    settings = load(Settings, environ)
    token = ServiceTokenSource(SigningKeys(own_keys_file), SERVICE).token
    clock = Clock()
    async with (
        ServiceChannel(people.address, token) as user_svc,
        open_publisher(settings.bus) as publisher,
        open_app(
            settings,
            user_svc,
            publisher,
            limits,
            clock,
            age_clock_s,
            TroubledMongo,
            unit_of_work,
            post_store_type,
        ) as app,
        duties(app, settings, "api").served(settings.server, 0) as server,
        grpc.aio.insecure_channel(address := f"127.0.0.1:{server.port}") as channel,
    ):
        yield ContentStack(app, people, address, channel, clock)
        await app.mongo.command({"dropDatabase": 1})


def _checked_event(record: dict[str, Any]) -> events_pb2.Event:
    event = events_pb2.Event.FromString(record["payload"])
    kind = event.WhichOneof("payload")
    assert kind is not None
    assert record["type"] == type(getattr(event, kind)).DESCRIPTOR.name
    assert record["lane"] == event.lane
    assert str(record["_id"]) == event.event_id
    return event


def _digest(documents: list[dict[str, Any]]) -> str:
    options: bson.CodecOptions[dict[str, Any]] = bson.CodecOptions(
        uuid_representation=bson.binary.UuidRepresentation.STANDARD
    )
    return hashlib.md5(
        b"".join(bson.encode(each, codec_options=options) for each in documents)
    ).hexdigest()
