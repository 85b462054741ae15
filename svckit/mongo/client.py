"""One MongoDB database behind a pool, for a service's store. The driver (motor) ends in this file.

A store takes collections from a transaction (`run`, which does the whole of it again when others
were in the way) or from the database itself, where each call stands alone. Everything is bounded:
the search for a server, a call, a whole transaction with its repetitions. What comes out of a
failure is an error of `svckit.errors` or a `DuplicateKey`.

The way to the driver is one: `Collection` → `Mongo.do`; in a transaction `Collection` →
`Transaction.do` → `Mongo.do`, since a call there must not be left alone when its caller goes.

Writes are acknowledged by a majority, so what was acknowledged outlives any one server. Opening
does not connect: a service starts without its database, and finds it again after an outage.
UUIDs are stored as 16 bytes, moments come back with their time zone.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
)
from pymongo import ReturnDocument
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from svckit.backoff import backoff_s
from svckit.dependency import Dependency
from svckit.mongo.errors import DuplicateKey, TransactionConflict, driver_errors

__all__ = [
    "Collection",
    "Document",
    "DuplicateKey",
    "Expression",
    "Mongo",
    "MongoSettings",
    "Transaction",
    "TransactionConflict",
    "open_mongo",
]

Document: TypeAlias = dict[str, Any]
Expression: TypeAlias = Mapping[str, Any]  # a query, or a change
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MongoSettings:
    """Where the database is and how long anything may take."""

    url: str = field(repr=False)
    database: str
    application_name: str = "newsfeed"
    pool_size_max: int = 20
    selection_timeout_s: float = 0.3  # without a primary for so long, it is unavailable
    call_timeout_s: float = 2.0
    transaction_timeout_s: float = 5.0  # all attempts together
    conflict_attempts_max: int = 8
    conflict_pause_min_s: float = 0.007
    conflict_pause_max_s: float = 0.5
    connect_timeout_s: float = 1.0
    give_back_timeout_s: float = 0.5  # to roll back; beyond it that goes on without the caller
    sign_of_life_after_s: float = 0.15
    sign_of_life_share: float = 0.4  # of the time that a call has

    @property
    def transaction_over_s(self) -> float:
        """So long after its begin a transaction is committed, or never will be.

        A commit under way is not cut off with its caller, and the driver tries it twice.
        """
        commit_s = self.selection_timeout_s + self.connect_timeout_s + self.call_timeout_s
        return self.transaction_timeout_s + 2 * commit_s


class Collection:
    """A collection as a store may use it, inside a transaction or outside."""

    def __init__(
        self,
        caller: "Mongo | Transaction",
        call_timeout_ms: int,
        collection: "AsyncIOMotorCollection[Document]",
        session: AsyncIOMotorClientSession | None,
    ) -> None:
        self._do = caller.do
        self._call_timeout_ms = call_timeout_ms
        self._collection = collection
        self._session = session

    async def find(
        self,
        query: Expression,
        *,
        fields: Expression | None = None,
        sort: Mapping[str, int] | None = None,
        limit: int = 0,
        skip: int = 0,
    ) -> list[Document]:
        """All of them, or the first `limit`."""
        cursor = self._collection.find(
            query,
            fields,
            skip=skip,
            limit=limit,
            sort=None if sort is None else list(sort.items()),
            max_time_ms=self._call_timeout_ms,
            session=self._session,
        )
        return await self._do(cursor.to_list, None)

    async def find_one(
        self, query: Expression, *, fields: Expression | None = None
    ) -> Document | None:
        found = await self.find(query, fields=fields, limit=1)
        return found[0] if found else None

    async def aggregate(self, pipeline: Sequence[Expression]) -> list[Document]:
        cursor = self._collection.aggregate(
            list(pipeline), session=self._session, maxTimeMS=self._call_timeout_ms
        )
        return await self._do(cursor.to_list, None)

    async def count(self, query: Expression, *, at_most: int) -> int:
        return await self._do(
            self._collection.count_documents,
            query,
            limit=at_most,
            maxTimeMS=self._call_timeout_ms,
            session=self._session,
        )

    async def insert(self, *documents: Document) -> None:
        """In the order given; raises `DuplicateKey`."""
        if len(documents) == 1:
            await self._do(self._collection.insert_one, documents[0], session=self._session)
        elif documents:
            await self._do(self._collection.insert_many, documents, session=self._session)

    async def insert_if_absent(self, document: Document) -> bool:
        """Whether it was inserted: False = something with its `_id` is there."""
        try:
            result = await self._do(
                self._collection.update_one,
                {"_id": document["_id"]},
                {"$setOnInsert": document},
                upsert=True,
                session=self._session,
            )
        except DuplicateKey:
            if self._session is not None:  # the transaction is over
                raise
            return False  # another one came first
        return result.upserted_id is not None

    async def replace(self, query: Expression, document: Document) -> bool:
        """Whether there was one to replace."""
        result = await self._do(
            self._collection.replace_one, query, document, session=self._session
        )
        return result.matched_count > 0

    async def update(self, query: Expression, change: Expression | Sequence[Expression]) -> int:
        """How many matched."""
        result = await self._do(self._collection.update_many, query, change, session=self._session)
        return result.matched_count

    async def find_and_update(
        self, query: Expression, change: Expression | Sequence[Expression]
    ) -> Document | None:
        """One document as it is after the change."""
        return await self._do(
            self._collection.find_one_and_update,
            query,
            change,
            return_document=ReturnDocument.AFTER,
            session=self._session,
        )

    async def find_and_delete(self, query: Expression) -> Document | None:
        """The document that was deleted."""
        return await self._do(self._collection.find_one_and_delete, query, session=self._session)

    async def delete(self, query: Expression) -> int:
        """How many there were."""
        result = await self._do(self._collection.delete_many, query, session=self._session)
        return result.deleted_count


class Transaction:
    """One attempt at a transaction; its calls follow one another, never at once.

    A call runs in a thread that goes on when its caller is cancelled. It is waited for before the
    transaction ends: a session takes no two calls at once.
    """

    def __init__(self, mongo: "Mongo", session: AsyncIOMotorClientSession) -> None:
        self._mongo = mongo
        self._session = session
        self._last: asyncio.Future[Any] | None = None

    def collection(self, name: str) -> Collection:
        return self._mongo.collection(name, self._session, self)

    async def do(self, call: Callable[..., Awaitable[T]], *args: object, **options: object) -> T:
        return await self._mongo.do(self._shielded, call, *args, **options)

    async def end(self) -> None:
        """Rolls back what is not committed."""
        if self._last is not None:
            await asyncio.gather(self._last, return_exceptions=True)
        with suppress(PyMongoError):  # the server rolls it back by itself
            await self._session.end_session()

    def _shielded(
        self, call: Callable[..., Awaitable[T]], *args: object, **options: object
    ) -> asyncio.Future[T]:
        step = asyncio.ensure_future(call(*args, **options))
        self._last = step
        return asyncio.shield(step)


class Mongo:
    """Made by `open_mongo`; safe to share between tasks."""

    def __init__(self, client: "AsyncIOMotorClient[Document]", settings: MongoSettings) -> None:
        self._client = client
        self._database = client[settings.database]
        self._settings = settings
        self._idle: list[AsyncIOMotorClientSession] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._dependency = Dependency("mongodb", self._ask)
        self._ping: asyncio.Future[Document] | None = None
        self._ping_until_s = 0.0

    def collection(
        self,
        name: str,
        session: AsyncIOMotorClientSession | None = None,
        transaction: Transaction | None = None,
    ) -> Collection:
        """Without a session each call stands alone, and sees what is newest on the primary."""
        call_timeout_ms = int(self._settings.call_timeout_s * 1000)
        return Collection(transaction or self, call_timeout_ms, self._database[name], session)

    async def run(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Do `work` in a transaction, again from its start while others are in the way.

        `work` may run several times, its writes count once. When the connection is lost with the
        commit under way it raises `Unavailable`, and nobody knows whether that went through.
        """
        settings = self._settings
        pauses_s = backoff_s(settings.conflict_pause_min_s, settings.conflict_pause_max_s)
        with driver_errors(self._dependency.fall_silent):
            async with asyncio.timeout(settings.transaction_timeout_s):
                for _ in range(1, settings.conflict_attempts_max):
                    with suppress(TransactionConflict):
                        return await self._attempt(work)
                    await asyncio.sleep(next(pauses_s))
                return await self._attempt(work)

    async def _attempt(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        session = self._idle.pop() if self._idle else await self.do(self._client.start_session)
        transaction = Transaction(self, session)
        try:
            session.start_transaction()
            result = await work(transaction)
            # The driver tries once more when nobody knows how it ended; what is committed stays so.
            await transaction.do(session.commit_transaction)
        except BaseException:
            ending = asyncio.create_task(transaction.end())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            longest_s = 0 if self._dependency.is_silent else self._settings.give_back_timeout_s
            await asyncio.wait([ending], timeout=longest_s)
            raise
        self._idle.append(session)  # a new one would cost a seventh of a small transaction
        return result

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[Callable[[str], Collection]]:
        """Collections to read from as they all were at one moment, and will stay.

        Every transaction that committed before that moment is seen, whole, and no other.
        """
        session = await self.do(self._client.start_session, snapshot=True)
        try:
            yield lambda name: self.collection(name, session)
        finally:
            await session.end_session()

    async def command(self, command: Expression) -> Document:
        """For what is done by hand or once: the schema, explanations."""
        return await self.do(self._database.command, dict(command))

    async def ping(self) -> None:
        """Raises `Unavailable` unless there is a primary that answers."""
        await self.command({"ping": 1})

    async def do(self, call: Callable[..., Awaitable[T]], *args: object, **options: object) -> T:
        """The one way to the driver. A call waits for a thread, a connection and the answer.

        A call that has waited for a while asks for a sign of life, and ends if none comes.
        """
        self._dependency.require()
        settings = self._settings
        with driver_errors(self._dependency.fall_silent):
            async with asyncio.timeout(settings.call_timeout_s + settings.selection_timeout_s):
                answer = asyncio.ensure_future(call(*args, **options))
                try:
                    await asyncio.wait([answer], timeout=settings.sign_of_life_after_s)
                    if not answer.done():
                        await self._ask()
                    return await answer
                finally:
                    answer.cancel()

    async def _ask(self) -> None:
        """Raises unless the server answers; one ping serves all callers.

        The ping is done in a thread that calls don't take. A caller that comes when the time for
        the ping is over does not wait.
        """
        loop = asyncio.get_running_loop()
        ping = self._ping
        if ping is None or ping.done():
            ping = loop.run_in_executor(None, self._client.delegate.admin.command, "ping")
            ping.add_done_callback(asyncio.Future.exception)  # seen, if nobody waits
            longest_s = self._settings.call_timeout_s * self._settings.sign_of_life_share
            self._ping = ping
            self._ping_until_s = loop.time() + longest_s
        await asyncio.wait([ping], timeout=self._ping_until_s - loop.time())
        if not ping.done():
            raise ConnectionFailure("no sign of life")
        with suppress(OperationFailure):  # it is an answer
            ping.result()

    async def close(self) -> None:
        """Waits until what was cancelled is rolled back, for a bounded time."""
        await self._dependency.close()
        if self._ending:
            await asyncio.wait(self._ending, timeout=self._settings.give_back_timeout_s)
        await asyncio.to_thread(self._client.close)  # it says good-bye to the server, and waits


@asynccontextmanager
async def open_mongo(
    settings: MongoSettings, mongo_type: type[Mongo] = Mongo
) -> AsyncGenerator[Mongo]:
    """The client, for as long as the block lasts; opening does not connect.

    A client that met a server before its replica set was initiated believes that it has no
    transactions: open one after that (`svckit.mongo.migrations` waits for it).
    """
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
        settings.url,
        appname=settings.application_name,
        maxPoolSize=settings.pool_size_max,
        maxConnecting=settings.pool_size_max,  # else two at a time, and the others wait
        serverSelectionTimeoutMS=int(settings.selection_timeout_s * 1000),
        connectTimeoutMS=int(settings.connect_timeout_s * 1000),
        socketTimeoutMS=int(settings.call_timeout_s * 1000),
        waitQueueTimeoutMS=int(settings.call_timeout_s * 1000),
        w="majority",
        uuidRepresentation="standard",
        tz_aware=True,
    )
    mongo = mongo_type(client, settings)
    try:
        yield mongo
    finally:
        await mongo.close()
