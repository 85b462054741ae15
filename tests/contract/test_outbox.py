"""The suite of the outbox on its stores, and on the one in memory that tests of the relay use."""

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from svckit.events.outbox import OutboxRecord
from svckit.mongo import migrations as mongo_migrations
from svckit.mongo import outbox as mongo_outbox
from svckit.mongo.client import Mongo, MongoSettings, open_mongo
from svckit.postgres import migrations as postgres_migrations
from svckit.postgres import outbox as postgres_outbox
from svckit.postgres.client import Database, PostgresSettings, open_database
from svckit.settings import Secret
from tests.contract.outbox_suite import OutboxSuite
from tests.stacks.memory_outbox import MemoryOutbox, StoredRecord


@dataclass
class PostgresEngine:
    database: Database

    @property
    def outbox(self) -> postgres_outbox.PostgresOutbox:
        # Other tests' transactions are in nobody's way.
        settings = postgres_outbox.PostgresOutboxSettings(patience_s=0.0)
        return postgres_outbox.PostgresOutbox(self.database, settings)

    async def append(self, records: Sequence[OutboxRecord]) -> None:
        await self.database.run(lambda connection: postgres_outbox.append(connection, records))

    async def age_marks(self, keys: Sequence[postgres_outbox.RowKey], by_s: float) -> None:
        await self.database.execute(
            "UPDATE outbox SET published_at = published_at - make_interval(secs => $2)"
            " WHERE seq = ANY($1)",
            [key.seq for key in keys],
            by_s,
        )


@dataclass
class MongoEngine:
    mongo: Mongo

    @property
    def outbox(self) -> mongo_outbox.MongoOutbox:
        return mongo_outbox.MongoOutbox(self.mongo)

    async def append(self, records: Sequence[OutboxRecord]) -> None:
        await self.mongo.run(lambda transaction: mongo_outbox.append(transaction, records))

    async def age_marks(self, keys: Sequence[UUID], by_s: float) -> None:
        earlier = {"$subtract": ["$published_at", int(by_s * 1000)]}
        await self.mongo.collection(mongo_outbox.OUTBOX).update(
            {"_id": {"$in": list(keys)}}, [{"$set": {"published_at": earlier}}]
        )


@dataclass
class MemoryEngine:
    outbox: MemoryOutbox

    async def append(self, records: Sequence[OutboxRecord]) -> None:
        self.outbox.rows += [StoredRecord(each, self.outbox.clock()) for each in records]

    async def age_marks(self, keys: Sequence[int], by_s: float) -> None:
        for key in keys:
            published_at = self.outbox.rows[key].published_at
            assert published_at is not None
            self.outbox.rows[key].published_at = published_at - by_s


class TestPostgresOutbox(OutboxSuite):
    @pytest.fixture
    async def engine(self, database_dsn: str) -> AsyncIterator[PostgresEngine]:
        await postgres_migrations.migrate(database_dsn, [postgres_outbox.COMPONENT])
        async with open_database(PostgresSettings(dsn=Secret(database_dsn))) as database:
            yield PostgresEngine(database)


class TestMongoOutbox(OutboxSuite):
    @pytest.fixture
    async def engine(self, mongodb_url: str) -> AsyncIterator[MongoEngine]:
        settings = MongoSettings(
            mongodb_url, f"test_{uuid.uuid4().hex}", call_timeout_s=10.0, transaction_timeout_s=20.0
        )
        await mongo_migrations.migrate(settings, [mongo_outbox.COMPONENT])
        async with open_mongo(settings) as mongo:
            yield MongoEngine(mongo)
            await mongo.command({"dropDatabase": 1})


class TestMemoryOutbox(OutboxSuite):
    @pytest.fixture
    def engine(self) -> Any:
        return MemoryEngine(MemoryOutbox(time.monotonic))
