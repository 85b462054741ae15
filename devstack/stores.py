"""The three stores, and throw-away ones for tests."""

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil

from devstack import mongo, postgres, valkey
from devstack.servers import free_port, launch, stop
from devstack.store import Place, Store

STORES = (postgres.STORE, valkey.STORE, mongo.STORE)
# Its input ends when this process does, however that happens.
WATCHDOG = 'cat; kill -KILL "$1"; rm -rf "$2"'


@asynccontextmanager
async def throwaway(store: Store) -> AsyncIterator[str]:
    """The URL of a store on a free port; process and data are gone when the block ends.

    They are gone too when this process is killed inside the block.
    """
    with _throwaway_place() as place:
        server = await store.prepare(place)
        child = await launch(server)
        with _watchdog(child.pid, place.log.parent):
            try:
                yield server.url
            finally:
                await stop(psutil.Process(child.pid), server.stop_signal)
        child.wait()


@contextmanager
def _throwaway_place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="newsfeed-test-") as name:
        base = Path(name)
        base.chmod(0o711)  # a server that runs as another user must get through
        folder = base / "data"
        try:
            yield Place(folder, free_port(), base / "log", durable=False)
        finally:
            shutil.rmtree(folder.resolve(), ignore_errors=True)


@contextmanager
def _watchdog(pid: int, folder: Path) -> Iterator[None]:
    with subprocess.Popen(
        ("/bin/sh", "-c", WATCHDOG, "watchdog", str(pid), str(folder)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield
        finally:
            process.kill()
