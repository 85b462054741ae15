"""A mongod of a test's own, to be killed and started again on the same data and port."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from devstack import mongo
from devstack.servers import free_port, launch, stop
from devstack.store import Place


class OwnMongod:
    """It syncs its journal to the disk, as a real one does."""

    def __init__(self, folder: Path) -> None:
        self._place = Place(folder / "data", free_port(), folder / "log", durable=True)
        self.url = ""

    async def start(self) -> None:
        server = await mongo.STORE.prepare(self._place)
        self.url = server.url
        self._child = await launch(server)

    async def kill(self) -> None:
        os.kill(self._child.pid, signal.SIGKILL)
        await asyncio.to_thread(self._child.wait)

    async def stop(self) -> None:
        await stop(psutil.Process(self._child.pid), signal.SIGKILL)
        self._child.wait()


@asynccontextmanager
async def own_mongod(folder: Path) -> AsyncIterator[OwnMongod]:
    server = OwnMongod(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
