"""Followers in batches: all of them, few at once, and an end when something fails."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, cast

import pytest
from newsfeed.user.v1 import user_service_pb2 as pb

from feed_svc.clients import ClientLimits, People
from feed_svc.followers import BatchLimits, write_to_followers
from feed_svc.model import ID_BYTES, UserId
from svckit.errors import Unavailable
from svckit.events.bus import Fenced
from tests.polling import until

if TYPE_CHECKING:
    from svckit.rpc.client import ServiceChannel

AUTHOR = UserId(bytes(ID_BYTES))
AT_ONCE_MAX = BatchLimits().batches_at_once_max


def packed(count: int, first: int = 1) -> bytes:
    return b"".join(number.to_bytes(ID_BYTES, "big") for number in range(first, first + count))


class Followed:
    """As much of `People` as is used; ends with an error, if there is one."""

    def __init__(self, chunks: Sequence[bytes], error: Exception | None = None) -> None:
        self.chunks = chunks
        self.error = error
        self.read_count = 0
        self.is_closed = False

    async def follower_ids(self, user_id: UserId) -> AsyncGenerator[bytes]:
        assert user_id == AUTHOR
        try:
            for chunk in self.chunks:
                self.read_count += 1
                yield chunk
            if self.error is not None:
                raise self.error
        finally:
            self.is_closed = True


def people(followed: Followed) -> People:
    return cast("People", followed)


async def test_every_follower_is_written_once() -> None:
    written: list[bytes] = []

    async def write(viewer_ids: bytes) -> None:
        assert len(viewer_ids) <= 4 * ID_BYTES
        written.append(viewer_ids)

    followed = Followed([packed(9), packed(4, 10), packed(1, 14)])
    await write_to_followers(people(followed), AUTHOR, BatchLimits(4), write)
    assert b"".join(written) == packed(14)
    assert followed.is_closed


async def test_few_writes_at_once_and_no_reading_ahead_of_them() -> None:
    under_way, most = 0, 0
    go_on = asyncio.Event()

    async def write(_: bytes) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await go_on.wait()
        under_way -= 1

    followed = Followed([packed(2)] * 50)
    work = asyncio.create_task(write_to_followers(people(followed), AUTHOR, BatchLimits(1), write))
    await until(lambda: under_way == AT_ONCE_MAX)
    for _ in range(100):
        await asyncio.sleep(0)
    assert most == AT_ONCE_MAX
    assert followed.read_count == 2
    go_on.set()
    await work
    assert most == AT_ONCE_MAX
    assert followed.read_count == 50


@pytest.mark.parametrize("error", [Unavailable(), Fenced(7), ValueError("a bug")])
async def test_a_write_that_fails_ends_it_as_itself(error: Exception) -> None:
    written = 0

    async def write(_: bytes) -> None:
        nonlocal written
        written += 1
        if written == 2:
            raise error

    followed = Followed([packed(3)] * 1000)
    with pytest.raises(type(error)) as raised:
        await write_to_followers(people(followed), AUTHOR, BatchLimits(1), write)
    assert raised.value is error
    assert followed.is_closed
    assert followed.read_count < 10


async def test_a_stream_that_fails_ends_it_as_itself() -> None:
    async def write(_: bytes) -> None:
        pass

    error = Unavailable()
    with pytest.raises(Unavailable) as raised:
        await write_to_followers(
            people(Followed([packed(3)], error)), AUTHOR, BatchLimits(2), write
        )
    assert raised.value is error


class Graph:
    """As much of a stub of user_svc as is used: each stream ends as the list says."""

    def __init__(self, followers: bytes, ends: Sequence[int | None]) -> None:
        self.followers = followers
        self.ends = [*ends]

    async def StreamFollowerIds(
        self, request: pb.StreamFollowerIdsRequest
    ) -> AsyncGenerator[pb.StreamFollowerIdsResponse]:
        start = self.followers.index(request.after) + ID_BYTES if request.after else 0
        chunks_left = self.ends.pop(0)
        for at in range(start, len(self.followers), 2 * ID_BYTES):
            if chunks_left == 0:
                raise Unavailable
            chunks_left = chunks_left and chunks_left - 1
            chunk = self.followers[at : at + 2 * ID_BYTES]
            yield pb.StreamFollowerIdsResponse(follower_ids=chunk, position=chunk[-ID_BYTES:])


class Stubs:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def stub(self, _: type) -> Graph:
        return self.graph


async def followers_of(graph: Graph) -> bytes:
    asked = People(cast("ServiceChannel", Stubs(graph)))
    return b"".join([chunk async for chunk in asked.follower_ids(AUTHOR)])


async def test_a_stream_that_breaks_is_gone_on_with() -> None:
    """As often as it must be, if each brings something."""
    graph = Graph(packed(15), [2, 0, 0, 1, 1, 0, None])
    assert await followers_of(graph) == packed(15)
    assert graph.ends == []


async def test_a_stream_that_brings_nothing_is_given_up() -> None:
    graph = Graph(packed(9), [1, *[0] * 20])
    with pytest.raises(Unavailable):
        await followers_of(graph)
    assert len(graph.ends) == 20 - ClientLimits().resumes_max
