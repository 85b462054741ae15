"""A write that reaches Redis behind what was written since: it must find itself refused."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from feed_svc.clients import Contents
from feed_svc.model import Post
from svckit.errors import Unavailable
from tests.polling import until
from tests.stacks.content_stack import ContentStack
from tests.stacks.feed_events import open_feed_events, post_id
from tests.troubles.gate import Gate, gate_before
from tests.troubles.own_store import own_valkey


class FreezingContents(Contents):
    """Holds up what goes to Redis from the moment when an edited post has been read."""

    def __init__(self, contents: Contents, gate: Gate) -> None:
        self.__dict__ |= contents.__dict__
        self._gate = gate

    async def latest(self, known: Post) -> Post | None:
        found = await super().latest(known)
        self._gate.freeze()
        return found


async def test_a_deleted_post_does_not_come_back_by_an_edit(
    content_stack: ContentStack, tmp_path: Path
) -> None:
    async with (
        own_valkey(tmp_path) as valkey,
        gate_before(valkey.port) as gate,
        open_feed_events(f"redis://{gate.address}/0", content_stack) as feeds,
        Redis.from_url(valkey.url) as redis,
    ):
        await feeds.waiting()
        author = await feeds.sign_up()
        post = await author.publish("hello")
        await feeds.settle()
        await author.edit(post, content="edited")
        told = await feeds.waiting()
        contents = feeds.contents
        feeds.contents = FreezingContents(contents, gate)
        with pytest.raises(Unavailable):
            await feeds.hand_over(told)
        feeds.contents = contents
        held_up = gate.renew()
        await until(lambda: not feeds.redis.is_silent)
        await feeds.hand_over(told)
        await author.delete(post)
        await feeds.settle()
        assert await feeds.caches.posts.known([post_id(post)]) == {post_id(post): b""}
        await redis.config_resetstat()
        held_up.set()

        async def has_arrived() -> bool:
            return "cmdstat_fcall" in await redis.info("commandstats")

        await until(has_arrived)
        assert await feeds.caches.posts.known([post_id(post)]) == {post_id(post): b""}
