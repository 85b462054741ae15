"""Brings a MongoDB database to what this program needs: numbered JSON files, each applied once.

A file is a list of database commands (`create`, `createIndexes`, `collMod`, `update` ...) that are
sent as they stand; `comment` in a command says what it is for. MongoDB has no transaction around
them, so each must do no harm when it is done twice: making what is there already is taken as done.

Any number of processes may do this at once: by a lease one works, the others wait and find it done.
Should the worker be held up beyond its lease, two may work at the same file, which does no harm
either. A schema that is ahead of the program is left alone, so that a newer release can be rolled
out first.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from pymongo.errors import OperationFailure

from svckit.migration_files import Component, Migration, MigrationError, be_alone, missing, read
from svckit.mongo.client import Document, Mongo, MongoSettings, open_mongo
from svckit.mongo.lease import hold, release

VERSIONS = "schema_migrations"
LEASES = "schema_migrations_lease"
LEASE = "migrate"
LEASE_TTL_S = 60.0
LEASE_TIMEOUT_S = 120.0
COMMAND_TIMEOUT_S = 3600.0  # an index of a large collection takes its time
ALREADY_DONE = {"create": 48, "drop": 26, "dropIndexes": 27}


async def migrate(settings: MongoSettings, components: Sequence[Component]) -> list[Migration]:
    """Apply what is missing, component after component; returns what was applied.

    Raises `Unavailable` when the database is not there, `MigrationError` when it does not fit.
    """
    migrations = [each for component in components for each in read(component, ".json")]
    async with open_mongo(replace(settings, call_timeout_s=COMMAND_TIMEOUT_S)) as mongo:
        await _require_transactions(mongo)
        leases = mongo.collection(LEASES)
        owner = uuid.uuid4().hex
        renew = partial(hold, leases, LEASE, owner, LEASE_TTL_S)
        await be_alone(renew, LEASE_TIMEOUT_S)
        try:
            versions = mongo.collection(VERSIONS)
            todo = missing(migrations, await versions.find({}))
            for migration in todo:
                for command in json.loads(migration.text):
                    await renew()
                    await _apply(mongo, migration, command)
                await versions.insert_if_absent(_row(migration))
            return todo
        finally:
            await release(leases, LEASE, owner)


async def _require_transactions(mongo: Mongo) -> None:
    hello = await mongo.command({"hello": 1})
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise MigrationError("MongoDB must be a replica set or sharded: it has no transactions")


async def _apply(mongo: Mongo, migration: Migration, command: Document) -> None:
    try:
        await mongo.command(command)
    except OperationFailure as error:
        name = next(iter(command))
        if error.code != ALREADY_DONE.get(name):
            raise MigrationError(f"{migration}: {name} {command[name]}: {error}") from error


def _row(migration: Migration) -> Document:
    return {
        "_id": f"{migration.component} {migration.version:04d}",
        "component": migration.component,
        "version": migration.version,
        "name": migration.name,
        "checksum": migration.checksum,
        "applied_at": datetime.now(UTC),
    }
