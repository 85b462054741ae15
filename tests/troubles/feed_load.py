"""People who read all the time, while those whom they follow post, and others come and go.

Says what is wrong with an answer, and when all windows are right.

Every reader follows the steady authors throughout; so of their posts it is known which ones a page
must have. The author who is tried out is followed and left over and over by the wanderers.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import grpc
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.feed.v1 import feed_service_pb2 as pb

from feed_svc.model import UserId, WindowState
from svckit.errors import Unavailable
from tests.requests.refusals import refusal_of
from tests.stacks.feed_stack import FeedStack, Reader

READ_EVERY_S = 0.2  # each
POST_EVERY_S = 0.1
CHANGE_EVERY_S = 0.3
STEADY_AUTHORS = 3
READERS = 4
WANDERERS = 2  # of these
PAGE_ITEMS = 20
ASK_AGAIN_S = 0.1
FRESH_S = 2.0  # a post is in all windows by then, on a busy machine

Place: TypeAlias = tuple[int, str]


@dataclass(frozen=True)
class Read:
    """`page` is None if it failed with `error`."""

    reader: Reader
    started_s: float
    took_s: float
    page: pb.ListHomeFeedResponse | None
    error: str = ""

    @property
    def ended_s(self) -> float:
        return self.started_s + self.took_s


@dataclass(frozen=True)
class Posted:
    place: Place
    author_id: str
    acknowledged_s: float


class FeedLoad:
    """`reads` are all that were made, in the order in which they ended."""

    def __init__(self, stack: FeedStack, steady: list[Reader], tried: Reader) -> None:
        self._stack = stack
        self._steady = steady
        self._tried = tried
        self._posted: list[Posted] = []
        self._trying: set[Reader] = set()
        self._are_over = False
        self.readers: list[Reader] = []
        self.reads: list[Read] = []

    @classmethod
    async def of_new_people(cls, stack: FeedStack) -> "FeedLoad":
        """All of them read already, from windows."""
        load = cls(
            stack,
            [await stack.sign_up("steady") for _ in range(STEADY_AUTHORS)],
            await stack.sign_up("tried"),
        )
        for _ in range(READERS):
            reader = await stack.sign_up("reader")
            for author in load._steady:
                await reader.act("Follow", author)
            load.readers.append(reader)
        for author in (*load._steady, load._tried) * 3:
            await load._post(author)
        await stack.settle()
        for reader in load.readers:
            await patient(reader)
            await stack.has_window(reader)
        return load

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Reads and changes, from before the block until after it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish())
            for number, reader in enumerate(self.readers):
                tasks.create_task(self._read(reader, tasks))
                if number < WANDERERS:
                    tasks.create_task(self._wander(reader))
            yield
            self._are_over = True

    async def settle(self) -> None:
        await self._stack.settle()

    async def are_exact(self) -> bool:
        """Everybody's window serves, and the feed is what it should be."""
        return all([await self._is_exact(reader) for reader in self.readers])

    def faults_of(self, read: Read, known_until_s: float) -> str:
        """What is wrong with an answer that must have all posts acknowledged until then."""
        if read.page is None:
            return f"failed: {read.error}"
        places = [_place(item.post) for item in read.page.items]
        if places != sorted(set(places), reverse=True):
            return "not in order, or twice"
        authors = {item.post.author_id for item in read.page.items}
        steady = {each.user_id for each in self._steady}
        tried = {self._tried.user_id} if read.reader in self.readers[:WANDERERS] else set()
        if not authors <= steady | tried:
            return "posts of somebody whom the viewer never followed"
        lowest = places[-1] if read.page.next_page_token else (0, "")
        expected = {
            each.place
            for each in self._posted
            if each.author_id in steady
            and each.place >= lowest
            and each.acknowledged_s < known_until_s
        }
        missing = expected - set(places)
        return f"lacks {len(missing)} of {len(expected)} posts" if missing else ""

    async def _is_exact(self, reader: Reader) -> bool:
        try:
            state, _ = await self._stack.app.windows.floor(UserId(reader.id_bytes))
            feed = await reader.feed()
        except (Unavailable, grpc.aio.AioRpcError):
            return False
        tried = [self._tried] if reader in self._trying else []
        truth = await self._stack.contents.references(*self._steady, *tried)
        is_hot = state is WindowState.READY and not feed.is_degraded
        return is_hot and feed.post_ids == truth

    async def _post(self, author: Reader) -> None:
        post = await author.publish("hello")
        self._posted.append(Posted(_place(post), author.user_id, time.monotonic()))

    async def _publish(self) -> None:
        for author in itertools.cycle((*self._steady, self._tried)):
            if self._are_over:
                return
            await self._post(author)
            await asyncio.sleep(POST_EVERY_S)

    async def _wander(self, reader: Reader) -> None:
        for verb in itertools.cycle(("Follow", "Unfollow")):
            if self._are_over:
                return
            await reader.act(verb, self._tried)
            self._trying ^= {reader}
            await asyncio.sleep(CHANGE_EVERY_S)

    async def _read(self, reader: Reader, tasks: asyncio.TaskGroup) -> None:
        """At its times, whether the last one was answered or not."""
        while not self._are_over:
            tasks.create_task(self._read_once(reader))
            await asyncio.sleep(READ_EVERY_S)

    async def _read_once(self, reader: Reader) -> None:
        started_s = time.monotonic()
        page, error = None, ""
        try:
            page = await reader.page(PAGE_ITEMS)
        except grpc.aio.AioRpcError as failed:
            error = str(refusal_of(failed))
        took_s = time.monotonic() - started_s
        self.reads.append(Read(reader, started_s, took_s, page, error))


async def patient(
    reader: Reader, size: int = PAGE_ITEMS, token: str = ""
) -> pb.ListHomeFeedResponse:
    """A page as a client gets it that asks again when it is told to."""
    while True:
        try:
            return await reader.page(size, token)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(ASK_AGAIN_S)


def _place(post: content_pb.Post) -> Place:
    return post.create_time.ToMilliseconds(), post.post_id
