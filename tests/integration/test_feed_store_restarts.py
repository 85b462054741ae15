"""A Redis that starts again with what it had on disk: it may lack the last it acknowledged."""

from contextlib import aclosing
from pathlib import Path

from feed_svc.author_store import AuthorStore
from feed_svc.model import WindowState
from feed_svc.redis_store import FeedRedis, StoreSettings
from feed_svc.window_store import WindowStore
from svckit.settings import Secret
from tests.polling import until
from tests.stacks.feed_redis import at, complete, new_fence, new_user, new_window, reply_to, whole
from tests.troubles.own_store import own_valkey


async def test_nothing_from_before_a_restart_counts(tmp_path: Path) -> None:
    async with (
        own_valkey(tmp_path) as server,
        aclosing(FeedRedis(StoreSettings(url=Secret(server.url)))) as redis,
    ):
        windows, authors, fence = WindowStore(redis), AuthorStore(redis), new_fence()
        viewer_id = await new_window(windows, complete(at(1)))
        other_id = new_user()
        build = await windows.begin(other_id)
        assert build is not None
        author_id = new_user()
        await authors.put(fence, author_id, complete(at(1)))

        await server.kill()
        await server.start()
        await _answers(redis)

        assert await reply_to(redis, "EXISTS", redis.keys.window(viewer_id)) == 1
        assert (await whole(windows, viewer_id)).state is WindowState.MISSING
        assert (await windows.info(viewer_id)).state is WindowState.MISSING
        assert not await windows.finish(build, complete(at(2)), ())
        assert await authors.recents([author_id]) == {}
        assert not await authors.add(fence, author_id, at(2))

        build = await windows.begin(viewer_id)
        assert build is not None
        assert await windows.finish(build, complete(at(1), at(2)), ())
        await authors.put(fence, author_id, complete(at(1), at(2)))
        assert (await whole(windows, viewer_id)).state is WindowState.READY
        assert [*await authors.recents([author_id])] == [author_id]


async def _answers(redis: FeedRedis) -> None:
    """The first call may find connections of the former incarnation."""

    async def is_there() -> bool:
        try:
            await redis.run([("PING",)])
        except Exception:  # noqa: BLE001 it says so as long as it is away
            return False
        return True

    await until(is_there)
