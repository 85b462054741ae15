"""Live streams as a client has them: opened, read all the time, left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.feed.v1 import feed_service_pb2 as pb

from tests.polling import until
from tests.stacks.feed_stack import Reader

WITHIN_S = 10.0  # all that one waits for takes far less


def ids(*posts: content_pb.Post) -> set[str]:
    return {post.post_id for post in posts}


class Watch:
    """A stream, and all that has come of it so far."""

    def __init__(self, reader: Reader, token: str = "") -> None:
        request = pb.WatchHomeFeedRequest(resume_token=token)
        self.call = reader.feed_calls.WatchHomeFeed(request)
        self.messages: list[pb.WatchHomeFeedResponse] = []
        self._reading = asyncio.create_task(self._read())

    @property
    def post_ids(self) -> list[str]:
        return [item.post.post_id for message in self.messages for item in message.items]

    @property
    def token(self) -> str:
        return self.messages[-1].resume_token

    async def has_begun(self) -> None:
        await until(lambda: bool(self.messages), WITHIN_S)

    async def has(self, *posts: content_pb.Post) -> None:
        """These have come, in any order, and nothing else."""
        expected = sorted(post.post_id for post in posts)
        await until(lambda: len(self.post_ids) >= len(expected), WITHIN_S)
        assert sorted(self.post_ids) == expected

    async def status(self) -> grpc.StatusCode:
        """With which it has ended."""
        async with asyncio.timeout(WITHIN_S):
            return await self.call.code()

    async def _read(self) -> None:
        async for message in self.call:
            self.messages.append(message)

    async def leave(self) -> None:
        self.call.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@asynccontextmanager
async def watching(reader: Reader, token: str = "") -> AsyncIterator[Watch]:
    watch = Watch(reader, token)
    try:
        await watch.has_begun()
        yield watch
    finally:
        await watch.leave()
