"""The load generator: calls one rpc, over and over, as fast as the server answers.

    python -m bench.tools.load PORT PATH CONCURRENCY SECONDS

On standard input, in hex: how many access tokens there are, the tokens, and one or more requests.
Both are used in turn.

A gRPC client library costs about as much per call as the server, so on two cores the client would
be what is measured. This one speaks just enough HTTP/2 on one connection: requests are prepared up
to their stream id, and of an answer only its frames are looked at.
"""

import asyncio
import json
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle

from devstack.servers import HOST

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_BYTES = 9
STREAM_MASK = 2**31 - 1
INITIAL_WINDOW_SIZE = 4
WINDOW = 2**30
CREDIT_STEP = 2**20


@dataclass(slots=True)
class Outcome:
    """`calls` were answered with a message; `errors` with anything else."""

    calls: int = 0
    errors: int = 0
    seconds: float = 0.0

    @property
    def per_s(self) -> float:
        return self.calls / self.seconds


class Load(asyncio.Protocol):
    """Keeps so many calls in flight until the time is over; then `done` has the outcome."""

    def __init__(
        self,
        headers: Sequence[bytes],
        requests: Sequence[bytes],
        concurrency: int,
        seconds: float,
    ) -> None:
        self._headers = cycle(headers)
        self._messages = cycle([struct.pack(">BI", 0, len(each)) + each for each in requests])
        self._concurrency = concurrency
        self._seconds = seconds
        self._outcome = Outcome()
        self._answered: set[int] = set()
        self._next_stream = 1
        self._received = bytearray()
        self._unacknowledged_bytes = 0
        self.done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, WINDOW)
        opening = PREFACE + frame(SETTINGS, 0, 0, settings) + _window_update(WINDOW)
        self._started_s = time.perf_counter()
        transport.write(opening + b"".join(self._request() for _ in range(self._concurrency)))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        at = 0
        answers = []
        while len(received) >= (start := at + FRAME_HEADER_BYTES):
            end = start + int.from_bytes(received[at : at + 3])
            if len(received) < end:
                break
            kind, flags = received[at + 3], received[at + 4]
            stream = int.from_bytes(received[at + 5 : start]) & STREAM_MASK
            answers.append(self._on_frame(kind, flags, stream, received[start:end]))
            at = end
        del received[:at]
        self._transport.write(b"".join(answers))

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytearray) -> bytes:
        """Returns what to send for it."""
        if kind == DATA:
            self._answered.add(stream)
            return self._credit(len(payload))
        if (kind == HEADERS and flags & END_STREAM) or kind == RST_STREAM:
            return self._on_end(stream)
        if kind == SETTINGS and not flags & ACK:
            return frame(SETTINGS, ACK, 0, b"")
        if kind == PING and not flags & ACK:
            return frame(PING, ACK, 0, bytes(payload))
        if kind == GOAWAY:
            self._transport.close()
        return b""

    def _on_end(self, stream: int) -> bytes:
        if stream in self._answered:
            self._answered.remove(stream)
            self._outcome.calls += 1
        else:
            self._outcome.errors += 1
        self._outcome.seconds = time.perf_counter() - self._started_s
        if self._outcome.seconds < self._seconds:
            return self._request()
        if not self.done.done():
            self.done.set_result(self._outcome)
            self._transport.close()
        return b""

    def _credit(self, received_bytes: int) -> bytes:
        self._unacknowledged_bytes += received_bytes
        if self._unacknowledged_bytes < CREDIT_STEP:
            return b""
        credit, self._unacknowledged_bytes = self._unacknowledged_bytes, 0
        return _window_update(credit)

    def _request(self) -> bytes:
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        return frame(HEADERS, END_HEADERS, stream, next(self._headers)) + frame(
            DATA, END_STREAM, stream, next(self._messages)
        )


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def request_headers(path: str, token: str) -> bytes:
    """In HPACK, each as a literal that neither side remembers."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": HOST,
        "content-type": "application/grpc",
        "te": "trailers",
        "authorization": f"Bearer {token}",
    }
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())


def _text(text: str) -> bytes:
    """A string after its length: seven bits, or more bytes of seven bits each from 127 on."""
    data, left = text.encode(), len(text) - 127
    if left < 0:
        return bytes([len(data)]) + data
    length = [127]
    while left >= 128:
        length.append(left % 128 + 128)
        left //= 128
    return bytes([*length, left]) + data


def _window_update(credit: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", credit))


async def run(port: int, path: str, concurrency: int, seconds: float) -> Outcome:
    count, *lines = (bytes.fromhex(line) for line in sys.stdin)
    tokens, requests = lines[: int(count)], lines[int(count) :]
    headers = [request_headers(path, token.decode()) for token in tokens]
    loop = asyncio.get_running_loop()
    _, load = await loop.create_connection(
        lambda: Load(headers, requests, concurrency, seconds), HOST, port
    )
    return await load.done


async def generate(
    address: str,
    path: str,
    tokens: Sequence[str],
    requests: Sequence[bytes],
    *,
    concurrency: int,
    seconds: float,
) -> Outcome:
    """The same in a process of its own."""
    port = address.rpartition(":")[2]
    arguments = ("-m", "bench.tools.load", port, path, str(concurrency), str(seconds))
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    given = (str(len(tokens)).encode(), *(token.encode() for token in tokens), *requests)
    lines = "\n".join(each.hex() for each in given)
    output, _ = await child.communicate(lines.encode())
    return Outcome(**json.loads(output))


if __name__ == "__main__":
    asked_port, asked_path, asked_concurrency, asked_seconds = sys.argv[1:]
    outcome = asyncio.run(
        run(int(asked_port), asked_path, int(asked_concurrency), float(asked_seconds))
    )
    print(json.dumps(asdict(outcome)))
