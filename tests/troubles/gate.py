"""A TCP gate before a server: shut it, cut what is connected, freeze it, slow it, open it again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress


class Gate:
    """Forwards `port` on the loopback to a server on the loopback, while it is open."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._server: asyncio.Server | None = None
        self._connected: set[asyncio.StreamWriter] = set()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.port = 0
        self.delay_s = 0.0  # of answers
        self._bytes_until_cut: int | None = None
        self._was_cut = asyncio.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def shut(self) -> None:
        """Refuse new connections and cut the old ones, as a server that was killed."""
        if self._server is not None:
            self._server.close()
        self._cut()

    def freeze(self) -> None:
        """Take everything and answer nothing."""
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    def renew(self) -> asyncio.Event:
        """New connections pass; what is frozen stays so until the event is set that this returns.

        Then it arrives, however long ago its sender has given up.
        """
        frozen, self._thawed = self._thawed, asyncio.Event()
        self._thawed.set()
        return frozen

    def cut_after(self, answer_bytes: int) -> asyncio.Event:
        """Cut all connections once after so many more bytes of answers; the event tells when."""
        self._bytes_until_cut = answer_bytes
        self._was_cut.clear()
        return self._was_cut

    def _cut(self) -> None:
        for writer in self._connected:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        thawed = self._thawed

        async def let_pass(_: int) -> None:
            await thawed.wait()

        async def let_answer_pass(size_bytes: int) -> None:
            await thawed.wait()
            await asyncio.sleep(self.delay_s)
            if self._bytes_until_cut is not None:
                self._bytes_until_cut -= size_bytes
                if self._bytes_until_cut < 0:
                    self._bytes_until_cut = None
                    self._cut()
                    self._was_cut.set()

        both = {writer}
        try:
            there = await asyncio.open_connection("127.0.0.1", self._server_port)
            both.add(there[1])
            self._connected |= both
            await asyncio.gather(
                _forward(reader, there[1], let_pass), _forward(there[0], writer, let_answer_pass)
            )
        except OSError:  # the server is not there
            writer.transport.abort()
        finally:
            self._connected -= both
            for each in both:
                each.close()


async def _forward(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    let_pass: Callable[[int], Awaitable[None]],
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            await let_pass(len(data))
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def gate_before(server_port: int) -> AsyncIterator[Gate]:
    """An open gate; everything is cut when the block ends."""
    gate = Gate(server_port)
    await gate.open()
    try:
        yield gate
    finally:
        gate.thaw()
        gate.shut()


@asynccontextmanager
async def gone(gate: Gate) -> AsyncIterator[None]:
    gate.shut()
    try:
        yield
    finally:
        await gate.open()


@asynccontextmanager
async def frozen(gate: Gate) -> AsyncIterator[None]:
    gate.freeze()
    try:
        yield
    finally:
        gate.thaw()
