"""What the oracle does to a `System`: deeds of people, reads, mishaps, and the rest between them.

People of one run do not know those of another, so runs follow one another without a clean-up.
"""

import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import grpc
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.feed.v1 import feed_service_pb2 as pb
from newsfeed.user.v1 import user_service_pb2 as user_pb

from content_svc.consumer import GROUP as CONTENT_GROUP
from feed_svc.consumer import GROUP
from feed_svc.model import UserId
from tests.oracle.feeds.system import System
from tests.oracle.feeds.truth import Deed, DeletePost, DeleteUser, Edit, Publish, Relate
from tests.oracle.feeds.walks import Difference, ReadPage
from tests.polling import until
from tests.stacks.feed_stack import MEMORY_AGE_S, stub

if TYPE_CHECKING:
    from newsfeed.feed.v1.feed_service_pb2_grpc import FeedServiceAsyncStub

    from tests.stacks.content_stack import Author
    from tests.stacks.user_stack import Person

SETTLE_TIMEOUT_S = 30.0


class Refused(Exception):
    """A service has said no."""


class World:
    def __init__(self, system: System) -> None:
        self.runs = self.steps = self.pages = self.degraded_pages = 0
        self.ends_at_s = math.inf
        self.failure: BaseException | None = None  # the first one
        self._system = system
        self._members: dict[str, Author] = {}
        self._admin: Person | None = None

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.ends_at_s and self.failure is None

    async def begin(self, slow_function: str) -> None:
        """A run begins, with one worker in good health."""
        self._system.slowness.function = slow_function
        await self._system.workers.begin()
        self._members.clear()
        self._admin = await self._system.people.sign_up_with_role(user_pb.ROLE_ADMIN, "admin")

    async def sign_up(self) -> str:
        member = self._system.contents.author(await self._system.people.sign_up())
        self._members[member.user_id] = member
        return member.user_id

    async def do(self, deed: Deed) -> int:
        """Returns when a post was created, and 0 for other deeds."""
        try:
            return await self._do(deed)
        except grpc.aio.AioRpcError as error:
            raise Refused(f"{error.code().name}: {error.details()}") from error

    async def _do(self, deed: Deed) -> int:
        member = self._members[deed.who]
        match deed:
            case Publish(_, post_id, content, shared_post_id):
                post = content_pb.CreatePostRequest(
                    post_id=post_id, content=content, shared_post_id=shared_post_id
                )
                answer = await member.calls.CreatePost(post)
                return answer.post.create_time.ToMilliseconds()
            case Edit(_, post_id, content):
                change = content_pb.UpdatePostRequest(post_id=post_id, content=content)
                await member.calls.UpdatePost(change)
            case DeletePost(_, post_id):
                await member.calls.DeletePost(content_pb.DeletePostRequest(post_id=post_id))
            case Relate(_, verb, target_id):
                await member.person.act(verb, self._members[target_id].person)
            case DeleteUser():
                await member.person.delete()
        return 0

    def reader(self, viewer_id: str) -> ReadPage:
        calls = stub(self._system.feeds_channel, self._members[viewer_id].person.metadata)

        async def read(request: pb.ListHomeFeedRequest) -> pb.ListHomeFeedResponse:
            try:
                answer = await calls.ListHomeFeed(request)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.INTERNAL:
                    raise Difference(f"no page, but {error.details()!r}") from error
                raise
            self.pages += 1
            self.degraded_pages += answer.degraded
            return answer

        return read

    async def settle(self) -> None:
        """Returns once everything has arrived everywhere, and nothing older is remembered."""
        try:
            await until(self._has_settled, SETTLE_TIMEOUT_S)
        except TimeoutError as error:
            raise Difference(f"never at rest: {await self._system.bus.lag()}") from error
        if await self._system.bus.dead_letters():
            raise Difference("events were set aside")
        for background in self._system.feeds.backgrounds:
            await background.idle()
        self._system.age_clock.ahead_s += MEMORY_AGE_S

    async def _has_settled(self) -> bool:
        if not await self._is_quiet():
            return False
        # What deleted people made goes now, and that makes further events.
        await self._system.contents.app.maintenance.purge()
        return await self._is_quiet()

    async def _is_quiet(self) -> bool:
        for relay in self._system.relays:
            if (await relay._outbox.backlog()).rows:
                return False
        return await self._system.bus.has_handled_all([CONTENT_GROUP, GROUP])

    async def evict(self, viewer_id: str) -> None:
        request = pb.EvictFeedRequest(user_id=viewer_id)
        await _when_there(lambda: self._admin_calls().EvictFeed(request))

    async def rebuild(self, viewer_id: str) -> None:
        request = pb.RebuildFeedRequest(user_id=viewer_id)
        await _when_there(lambda: self._admin_calls().RebuildFeed(request))

    def _admin_calls(self) -> "FeedServiceAsyncStub":
        assert self._admin is not None
        return stub(self._system.feeds_channel, self._admin.metadata)

    async def expire(self, viewer_id: str, what: str, in_ms: int) -> None:
        """One of a window's two keys: `window` or `companion`."""
        key = getattr(self._system.feeds.redis.keys, what)(UUID(viewer_id).bytes)
        if in_ms:
            await self._system.feeds_redis.pexpire(key, in_ms)
        else:
            await self._system.feeds_redis.delete(key)

    async def flush(self) -> None:
        """The feeds' Redis forgets everything, its functions too."""
        await self._system.feeds_redis.flushall()
        await self._system.feeds_redis.function_flush()

    @contextmanager
    def hold_up_deliveries(self, author_id: str) -> Iterator[None]:
        """Workers know who follows the author, and deliver to them only when the block ends."""
        with self._system.slowness.hold_up("deliver", UserId(UUID(author_id).bytes)):
            yield

    @contextmanager
    def hold_up_builds(self) -> Iterator[None]:
        """What goes into a window is known, and put there only when the block ends."""
        with self._system.slowness.hold_up("finish"):
            yield

    async def cut(self) -> None:
        """All connections to the feeds' Redis break."""
        await self._system.feeds_redis.execute_command(
            "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"
        )

    async def change_workers(self, what: str) -> None:
        """`add`, `kill` or `thaw`."""
        workers = self._system.workers
        match what:
            case "add":
                await workers.add()
            case "kill":
                await workers.kill_oldest()
            case "thaw":
                workers.thaw()

    async def freeze_worker(self, after_calls: int, function: str = "") -> None:
        await self._system.workers.freeze_oldest(after_calls, function)

    async def deliver_again(self, count: int, how: str, partitions: Sequence[int]) -> None:
        """`repeat` or `rewind`. Only workers that begin ask for the position of the group."""
        if how == "repeat":
            await self._system.bus.repeat(count, partitions)
        else:
            await self._system.workers.stop()
            await self._system.bus.rewind(GROUP, count, partitions)
            await self._system.workers.add()


async def _when_there(call: Callable[[], Awaitable[object]]) -> None:
    """Operators ask again while Redis does not answer."""

    async def has_answered() -> bool:
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True

    await until(has_answered)
