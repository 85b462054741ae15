"""A Valkey of a test's own, to be killed, frozen and started again on the same data and port."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from devstack import valkey
from devstack.servers import free_port, launch, stop
from devstack.store import Place


class OwnValkey:
    """It appends to disk, as a real one does."""

    def __init__(self, folder: Path) -> None:
        self._place = Place(folder / "data", free_port(), folder / "log", durable=True)
        self.port = self._place.port
        self.url = ""

    async def start(self) -> None:
        server = await valkey.prepare(self._place)
        self.url = server.url
        self._child = await launch(server)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await asyncio.to_thread(self._child.wait)

    def lose_disk(self) -> None:
        shutil.rmtree(self._place.folder)

    def signal(self, which: signal.Signals) -> None:
        """SIGSTOP freezes it, until SIGCONT."""
        os.kill(self._child.pid, which)

    async def stop(self) -> None:
        await stop(psutil.Process(self._child.pid), signal.SIGKILL)
        self._child.wait()


@asynccontextmanager
async def own_valkey(folder: Path) -> AsyncIterator[OwnValkey]:
    server = OwnValkey(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
