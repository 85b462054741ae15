"""What tests put into the store of feed_svc."""

import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from itertools import count

from feed_svc.model import ID_BYTES, TOP, Place, PostId, Source, UserId, Window, WindowState
from feed_svc.redis_store import FeedRedis
from feed_svc.window_store import WindowStore
from svckit.events.bus import Fence

MS = 1_900_000_000_000
ALL = 10_000
EMPTY = Source((), None)

_partitions = count()


def at(ms: int, number: int | None = None) -> Place:
    """A place `ms` after some beginning; its id is random, or ordered by `number` from 0 to 255."""
    tail = secrets.token_bytes(ID_BYTES - 1)
    head = secrets.token_bytes(1) if number is None else bytes([number])
    return MS + ms, PostId(head + tail)


def newest_first(places: Iterable[Place]) -> list[Place]:
    return sorted(places, reverse=True)


def complete(*places: Place) -> Source:
    return Source(newest_first(places), None)


def down_to_the_last(*places: Place) -> Source:
    return Source(newest_first(places), min(places))


def new_user() -> UserId:
    return UserId(secrets.token_bytes(ID_BYTES))


def new_fence() -> Fence:
    """Of a partition that no other test has."""
    return Fence(next(_partitions), int(time.time() * 1000))


async def new_window(
    windows: WindowStore,
    source: Source = EMPTY,
    pull_author_ids: Collection[UserId] = (),
) -> UserId:
    """The person whose it is."""
    viewer_id = new_user()
    build = await windows.begin(viewer_id)
    assert build is not None
    assert await windows.finish(build, source, pull_author_ids)
    return viewer_id


async def whole(windows: WindowStore, viewer_id: UserId) -> Window:
    return await windows.read(viewer_id, TOP, ALL)


async def source_of(windows: WindowStore, viewer_id: UserId) -> Source:
    window = await whole(windows, viewer_id)
    assert window.state is WindowState.READY
    return window.source


async def reply_to(redis: FeedRedis, *command: str | bytes | int) -> object:
    client = redis._engine._client
    reply: object = await client.execute_command(*command)
    return reply


async def ask_all_nodes(redis: FeedRedis, *command: str) -> None:
    client = redis._engine._client
    options = {"target_nodes": "primaries"} if redis.settings.is_cluster else {}
    await client.execute_command(*command, **options)


def packed(user_ids: Sequence[UserId]) -> bytes:
    return b"".join(user_ids)
