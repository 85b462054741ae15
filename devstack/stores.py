"""The three stores, and throw-away ones for tests."""

import shutil
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil

from devstack import mongo, postgres, valkey
from devstack.servers import Server, failure, free_port, launch, stop
from devstack.store import Store, StoreHome

STORES = (postgres.STORE, valkey.STORE, mongo.STORE)
# Its input ends when this process does, however that happens.
WATCHDOG = 'cat; kill -KILL "$1"; shift; rm -rf "$@"'

OnDeath = Callable[[str], None]


@asynccontextmanager
async def throwaway(store: Store, on_death: OnDeath = lambda _: None) -> AsyncIterator[str]:
    """The URL of a store on a free port; process and data are gone when the block ends.

    They are gone too when this process is killed inside the block. A store that ends before the
    block is told of to `on_death`, in a thread of its own, with the end of its log.
    """
    with _throwaway_home() as home:
        server = await store.prepare(home)
        child = await launch(server)
        process = psutil.Process(child.pid)
        with watchdog(child.pid, home.log.parent), _watched(child, server, on_death) as is_over:
            try:
                yield server.url
            finally:
                is_over.set()
                await stop(process, server.stop_signal)


@contextmanager
def watchdog(pid: int, *folders: Path) -> Iterator[None]:
    """Kills the process and removes the folders when this process is killed inside the block."""
    with subprocess.Popen(
        ("/bin/sh", "-c", WATCHDOG, "watchdog", str(pid), *map(str, folders)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def _throwaway_home() -> Iterator[StoreHome]:
    with tempfile.TemporaryDirectory(prefix="newsfeed-test-") as name:
        base = Path(name)
        base.chmod(0o711)  # a server that runs as another user must get through
        folder = base / "data"
        try:
            yield StoreHome(folder, free_port(), base / "log", durable=False)
        finally:
            shutil.rmtree(folder.resolve(), ignore_errors=True)


@contextmanager
def _watched(
    child: subprocess.Popen[bytes], server: Server, on_death: OnDeath
) -> Iterator[threading.Event]:
    """Once the event is set, the end of `child` is no death. Ends with `child`."""
    is_over = threading.Event()

    def watch() -> None:
        code = child.wait()
        if not is_over.is_set():
            on_death(str(failure(server, f"ended by itself (exit code {code})")))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield is_over
    finally:
        thread.join()
