"""The servers that speak Redis, for tests that must pass on each.

TEST_REDIS_SERVER names the program of another one (Debian's redis-server 7.0, say).
"""

import os
import shutil
from dataclasses import replace

import pytest

from devstack import valkey
from devstack.servers import Server
from devstack.store import Store, StoreHome

OTHER_SERVER = os.environ.get("TEST_REDIS_SERVER")
SERVERS = ["valkey", *([OTHER_SERVER] if OTHER_SERVER else [])]


def server_named(name: str) -> Store:
    """Like Valkey in every setting; only the program is another. Fails if it is not there."""
    if name == "valkey":
        return valkey.STORE
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"TEST_REDIS_SERVER={name} is not there (apt-get install redis-server)")

    async def prepare(home: StoreHome) -> Server:
        server = await valkey.prepare(home)
        return replace(server, name=name, command=(path, *server.command[1:]))

    return Store(name, "", prepare, valkey.ping)
