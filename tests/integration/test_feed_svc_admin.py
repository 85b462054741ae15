"""What admins do to hot windows, by rpc and from the terminal."""

import io
import uuid
from collections.abc import Awaitable, Callable

import pytest
from newsfeed.feed.v1 import feed_service_pb2 as pb

from feed_svc.model import PostId, UserId
from feed_svc.prewarm import prewarm
from tests.requests.refusals import refusal
from tests.stacks.feed_stack import FeedStack, Reader

Call = Callable[[Reader, str], Awaitable[pb.FeedInfo]]


async def rebuild(admin: Reader, user_id: str) -> pb.FeedInfo:
    return (await admin.feed_calls.RebuildFeed(pb.RebuildFeedRequest(user_id=user_id))).feed


async def evict(admin: Reader, user_id: str) -> pb.FeedInfo:
    return (await admin.feed_calls.EvictFeed(pb.EvictFeedRequest(user_id=user_id))).feed


async def info(admin: Reader, user_id: str) -> pb.FeedInfo:
    return (await admin.feed_calls.GetFeedInfo(pb.GetFeedInfoRequest(user_id=user_id))).feed


async def test_a_window_from_nothing_to_ready_to_nothing(feed_stack: FeedStack) -> None:
    admin = await feed_stack.admin()
    viewer, author = [await feed_stack.sign_up(name) for name in ("viewer", "author")]
    await viewer.act("Follow", author)
    posts = [await author.publish(str(number)) for number in range(3)]
    await feed_stack.settle()
    missing = pb.FeedInfo(user_id=viewer.user_id, state=pb.FEED_STATE_MISSING)
    assert await info(admin, viewer.user_id) == missing
    built = await rebuild(admin, viewer.user_id)
    assert built == await info(admin, viewer.user_id)
    assert built.state == pb.FEED_STATE_READY
    assert built.entry_count == 3
    assert built.complete
    assert built.newest_time == posts[2].create_time
    assert built.size_bytes > 0
    assert built.expire_time.ToMilliseconds() > posts[2].create_time.ToMilliseconds()
    again = await rebuild(admin, viewer.user_id)
    assert again.entry_count == 3
    assert await evict(admin, viewer.user_id) == missing
    assert await evict(admin, viewer.user_id) == missing
    assert (await viewer.feed()).post_ids == [post.post_id for post in posts[::-1]]


async def test_a_rebuild_mends_a_window(feed_stack: FeedStack) -> None:
    admin, viewer = await feed_stack.admin(), await feed_stack.sign_up("viewer")
    posts = [await viewer.publish(str(number)) for number in range(3)]
    await feed_stack.settle()
    await rebuild(admin, viewer.user_id)
    lost = PostId(uuid.UUID(posts[1].post_id).bytes)
    await feed_stack.app.windows.forget(UserId(viewer.id_bytes), [lost])
    assert len((await viewer.feed()).post_ids) == 2
    await rebuild(admin, viewer.user_id)
    assert len((await viewer.feed()).post_ids) == 3


@pytest.mark.parametrize("call", [rebuild, evict, info])
async def test_nobody_has_no_window(feed_stack: FeedStack, call: Call) -> None:
    admin, gone = await feed_stack.admin(), await feed_stack.sign_up("gone")
    await gone.person.delete()
    for user_id in (str(uuid.uuid4()), gone.user_id):
        refused = await refusal(call(admin, user_id))
        assert refused.says == "NOT_FOUND USER_NOT_FOUND"
        assert refused.metadata == {"user_id": user_id}


async def test_prewarming_tells_what_became_of_each(feed_stack: FeedStack) -> None:
    admin = await feed_stack.admin()
    cold, warm, gone = [await feed_stack.sign_up(name) for name in ("cold", "warm", "gone")]
    await rebuild(admin, warm.user_id)
    await gone.person.delete()
    unknown = str(uuid.uuid4())
    asked = [cold.user_id, warm.user_id, gone.user_id, unknown, cold.user_id]
    done = await admin.feed_calls.PrewarmFeeds(pb.PrewarmFeedsRequest(user_ids=asked))
    assert (done.built_count, done.present_count) == (1, 1)
    assert sorted(done.failed_user_ids) == sorted([gone.user_id, unknown])
    assert (await info(admin, cold.user_id)).state == pb.FEED_STATE_READY


class TestCommand:
    async def test_prewarms_whom_it_is_told(
        self, feed_stack: FeedStack, capsys: pytest.CaptureFixture[str]
    ) -> None:
        people = [await feed_stack.sign_up() for _ in range(3)]
        unknown = str(uuid.uuid4())
        given = "".join(f"{each.user_id}\n" for each in people) + f"{unknown}\n"
        assert await prewarm(feed_stack.settings, io.StringIO(given)) == 1
        written = capsys.readouterr()
        assert written.out == f"{unknown}\n"
        assert written.err == "built 3, present 0, failed 1\n"
        for each in people:
            await feed_stack.has_window(each)

    async def test_refuses_what_is_no_id(
        self, feed_stack: FeedStack, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert await prewarm(feed_stack.settings, ["me\n"]) == 2
        assert "line 1" in capsys.readouterr().err
