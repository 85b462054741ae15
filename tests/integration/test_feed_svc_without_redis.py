"""With no Redis at all feeds are complete and in order, and say that they are degraded."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from newsfeed.feed.v1 import feed_service_pb2 as pb

from tests.requests.refusals import refusal
from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_stack import FeedStack, open_feed_stack

NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="module")
async def stack(content_stack: ContentStack, keys_folder: Path) -> AsyncIterator[FeedStack]:
    opened = open_feed_stack(NOBODY, NOBODY, content_stack, keys_folder, has_traffic=False)
    async with opened as feed_stack:
        yield feed_stack


async def test_a_feed_is_read_from_the_truth(stack: FeedStack) -> None:
    viewer, author, muted = [await stack.sign_up(name) for name in ("viewer", "author", "muted")]
    for each in (author, muted):
        await viewer.act("Follow", each)
    await viewer.act("Mute", muted)
    posts = [await author.publish(str(number)) for number in range(5)]
    await muted.publish("chatter")
    own = await viewer.publish("own")
    share = await author.share(own)
    for size in (1, 2, 100):
        feed = await viewer.feed(size)
        assert feed.is_degraded
        expected = [share.post_id, own.post_id, *(post.post_id for post in posts[::-1])]
        assert feed.post_ids == expected
    last = await viewer.publish("one more")
    page = await viewer.page(1, after_post_id=last.post_id)
    assert page.items[0].post == last
    assert page.items[0].author.username == viewer.person.user.username


async def test_windows_cannot_be_looked_at(stack: FeedStack) -> None:
    admin = await stack.admin()
    request = pb.GetFeedInfoRequest(user_id=admin.user_id)
    refused = await refusal(admin.feed_calls.GetFeedInfo(request))
    assert refused.says == "UNAVAILABLE DEPENDENCY_UNAVAILABLE"
    assert refused.metadata == {"dependency": "redis"}
