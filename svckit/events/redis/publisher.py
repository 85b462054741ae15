"""Events into the Redis bus, over one connection that is never made again in silence."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from svckit.errors import Unavailable
from svckit.events.bus import BusRecord, Epoch
from svckit.events.redis.bus import RedisBus, bus_errors, connect
from svckit.events.settings import BusSettings


class RedisPublisher:
    """A `Publisher`. Only `epoch` connects, and only after an error has told of the loss."""

    def __init__(self, settings: BusSettings) -> None:
        redis = connect(settings, max_connections=1, redis_connect_func=self._greet)
        self._bus = RedisBus(settings, redis)
        self._epoch: str | None = None  # None = whatever connection there was is lost

    async def publish(self, records: Sequence[BusRecord]) -> None:
        if self._epoch is None:
            raise Unavailable(dependency="bus")
        with self._noticing_loss():
            await self._bus.publish(self._epoch, records)

    async def epoch(self) -> Epoch:
        if self._epoch is None:
            await self._bus.disconnect()
        with self._noticing_loss():
            epoch = await self._bus.epoch()
            self._epoch = epoch.name
            return epoch

    async def aclose(self) -> None:
        await self._bus.aclose()

    @contextmanager
    def _noticing_loss(self) -> Generator[None]:
        try:
            with bus_errors():
                yield
        except BaseException:
            self._epoch = None
            raise

    async def _greet(self, connection: AbstractConnection) -> None:
        """The driver's wish to connect: it has found the connection dead, and would go on."""
        if self._epoch is not None:
            raise RedisConnectionError("the connection was lost")
        await connection.on_connect()
