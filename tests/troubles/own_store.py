"""A store of a test's own, to be killed, frozen and started again on the same data and port."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import psutil

from devstack import mongo, valkey
from devstack.servers import free_port, launch, stop
from devstack.store import Store, StoreHome
from devstack.stores import watchdog


class OwnStore:
    """By default durable: it syncs to disk, as a real one does."""

    def __init__(self, store: Store, folder: Path, *, durable: bool = True) -> None:
        self._store = store
        self._home = StoreHome(folder / "data", free_port(), folder / "log", durable=durable)
        self._watchdog = ExitStack()
        self.port = self._home.port
        self.url = ""

    @property
    def pid(self) -> int:
        return self._child.pid

    async def start(self) -> None:
        server = await self._store.prepare(self._home)
        self.url = server.url
        self._child = await launch(server)
        self._watchdog.enter_context(watchdog(self._child.pid, self._home.folder))

    async def kill(self) -> None:
        if self._child.returncode is None:
            await stop(psutil.Process(self._child.pid), signal.SIGKILL)
            await asyncio.to_thread(self._child.wait)
        self._watchdog.close()

    def signal(self, which: signal.Signals) -> None:
        """SIGSTOP freezes it, until SIGCONT."""
        os.kill(self._child.pid, which)

    def lose_disk(self) -> None:
        shutil.rmtree(self._home.folder)


@asynccontextmanager
async def own_store(store: Store, folder: Path, *, durable: bool = True) -> AsyncIterator[OwnStore]:
    server = OwnStore(store, folder, durable=durable)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


own_mongod = partial(own_store, mongo.STORE)
own_valkey = partial(own_store, valkey.STORE)
