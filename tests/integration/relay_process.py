"""A relay as a process of its own, from PostgreSQL to a Redis stream, to be killed and frozen.

`python -m tests.integration.relay_process POSTGRES_DSN REDIS_URL STREAM`; SIGTERM ends it cleanly.
"""

import asyncio
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from redis.asyncio import Redis

from svckit.events.bus import BusRecord
from svckit.events.relay import Relay, RelaySettings
from svckit.postgres.client import PostgresSettings, open_database
from svckit.postgres.outbox import PostgresOutbox
from svckit.settings import Secret

# Nothing is published again for safety: it would hide what the relay itself loses.
SETTINGS = RelaySettings(lease_ttl_s=0.6, lease_renew_s=0.2, batch_records_max=50, republish_s=0.0)


class StreamPublisher:
    """Adds a batch in pieces with pauses between, so that it is often caught half-way."""

    def __init__(self, redis: Redis, stream: str) -> None:
        self._redis = redis
        self._stream = stream

    async def publish(self, records: Sequence[BusRecord]) -> None:
        for start in range(0, len(records), 10):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for record in records[start : start + 10]:
                    pipeline.xadd(self._stream, {"lane": record.lane, "number": record.payload})
                await pipeline.execute()
            await asyncio.sleep(random.uniform(0, 0.001))

    async def epoch(self) -> None:
        """It does not forget."""


async def main(dsn: str, redis_url: str, stream: str) -> None:
    async with (
        open_database(PostgresSettings(dsn=Secret(dsn))) as database,
        Redis.from_url(redis_url) as redis,
    ):
        relay = Relay(PostgresOutbox(database), StreamPublisher(redis, stream), SETTINGS)
        running = asyncio.create_task(relay.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        with suppress(asyncio.CancelledError):
            await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
