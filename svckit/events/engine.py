"""From settings to the event bus that they name: the only module that knows its engines."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

from svckit.events.bus import BatchHandler, Consumer, DeadLetters, Groups, Handler, Publisher
from svckit.events.delivery import ConsumerSettings
from svckit.events.redis.bus import RedisBus
from svckit.events.redis.consumer import RedisConsumer
from svckit.events.redis.dead_letters import RedisDeadLetters
from svckit.events.redis.publisher import RedisPublisher
from svckit.events.settings import BusSettings


def open_publisher(settings: BusSettings) -> AbstractAsyncContextManager[Publisher]:
    """Opening does not connect: the first `epoch` does."""
    return aclosing(RedisPublisher(settings))


def make_consumer(
    settings: BusSettings,
    group: str,
    handler: Handler | BatchHandler,
    consumer_settings: ConsumerSettings | None = None,
) -> Consumer:
    """A member of the group; its `run` connects, and gives everything back in the end."""
    return RedisConsumer(settings, group, handler, consumer_settings)


@asynccontextmanager
async def open_dead_letters(settings: BusSettings) -> AsyncGenerator[DeadLetters]:
    async with aclosing(RedisBus(settings)) as bus:
        yield RedisDeadLetters(bus)


def open_groups(settings: BusSettings) -> AbstractAsyncContextManager[Groups]:
    return aclosing(RedisBus(settings))
