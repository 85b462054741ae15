"""A TCP gate before a store: shut it, cut what is connected, freeze it, open it again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Gate:
    """Forwards `port` on the loopback to a store on the loopback, while it is open."""

    def __init__(self, store_port: int) -> None:
        self._store_port = store_port
        self._server: asyncio.Server | None = None
        self._connected: set[asyncio.StreamWriter] = set()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def shut(self) -> None:
        """Refuse new connections and cut the old ones, as a store that was killed."""
        if self._server is not None:
            self._server.close()
        for writer in self._connected:
            writer.transport.abort()

    def freeze(self) -> None:
        """Take everything and answer nothing."""
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self._store_port)
        both = {writer, store_writer}
        self._connected |= both
        try:
            await asyncio.gather(
                self._forward(reader, store_writer), self._forward(store_reader, writer)
            )
        finally:
            self._connected -= both
            for each in both:
                each.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._thawed.wait()
                writer.write(data)
                await writer.drain()
            writer.close()


@asynccontextmanager
async def gate_before(store_port: int) -> AsyncIterator[Gate]:
    """An open gate; everything is cut when the block ends."""
    gate = Gate(store_port)
    await gate.open()
    try:
        yield gate
    finally:
        gate.thaw()
        gate.shut()
