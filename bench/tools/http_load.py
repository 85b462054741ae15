"""The load generator for HTTP: gets one path, over and over, on connections that stay open.

    python -m bench.tools.http_load PORT PATH CONNECTIONS PER_S:SECONDS ...

On standard input, a line each: access tokens, which are used in turn. In each phase so many
requests a second begin at an even pace, whatever the server does; at a pace of 0 every connection
begins its next one as soon as it has an answer. The end of a phase is told by an empty line, and in
the end what became of each request.

It shares the cores with what it measures, so a request is written as it was prepared, and of an
answer little more than its length is looked at. To keep its pace it asks the kernel to run it at
once whenever it has something to do, as on a machine of its own; `nice` is not enough for that.
"""

import asyncio
import gc
import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple, cast

import uvloop

from devstack.servers import HOST

LOOK_AGAIN_S = 0.01
LAST_ANSWERS_S = 10.0
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
RETRY_AFTER = re.compile(rb"(?i)\r\nretry-after: *\d")
DEGRADED = b'"degraded":true}'  # the last field of a page
OK = 200
REFUSALS = frozenset({429, 503})
NOT_ANSWERED = 0


class Phase(NamedTuple):
    per_s: float
    seconds: float


class Answer(NamedTuple):
    """What became of a request; `is_whole`: a page is not degraded, a refusal says when to retry.

    `sent_s` is after the start of its phase, and `late_ms` later than its pace wanted.
    """

    status: int
    sent_s: float
    late_ms: float
    took_ms: float
    is_whole: bool

    @property
    def end_s(self) -> float:
        return self.sent_s + self.took_ms / 1000

    @property
    def is_good(self) -> bool:
        return self.status == OK and self.is_whole

    @property
    def is_refused(self) -> bool:
        return self.status in REFUSALS


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a phase: the answers to all that was sent in it, and what generating it took."""

    phase: Phase
    answers: Sequence[Answer]
    cpu_s: float

    @property
    def good_per_s(self) -> float:
        """Those that came in time."""
        seconds = self.phase.seconds
        return sum(each.is_good and each.end_s <= seconds for each in self.answers) / seconds


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._received = bytearray()
        self._missing_bytes = 0
        self.waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not say so
        self._load.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 there is no other reason to close than a fault
        self._load.lost(self)

    def send(self, request: bytes, answers: list[Answer], start_s: float, late_s: float) -> None:
        self._answers, self._start_s, self._late_s = answers, start_s, late_s
        self._sent_s = time.perf_counter()
        self.waits = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._missing_bytes:
            self._missing_bytes -= len(data)
        else:
            self._received += data
            if not self._read_head():
                return
        if not self._missing_bytes:
            is_whole = self._is_told if self._status in REFUSALS else not data.endswith(DEGRADED)
            self.end(self._status, is_whole=is_whole)
            self._load.answered(self)

    def end(self, status: int, *, is_whole: bool) -> None:
        self.waits = False
        sent_s, took_s = self._sent_s - self._start_s, time.perf_counter() - self._sent_s
        answer = Answer(status, sent_s, 1000 * self._late_s, 1000 * took_s, is_whole)
        self._answers.append(answer)

    def _read_head(self) -> bool:
        """Whether it is there."""
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return False
        length = LENGTH.search(head)
        assert length is not None
        self._status = int(head[9:12])
        self._is_told = RETRY_AFTER.search(head) is not None
        self._missing_bytes = int(length[1]) - len(body)
        self._received.clear()
        return True


class Load:
    """`free` are the connections without a request, the one that rested longest first."""

    def __init__(self, requests: Sequence[bytes]) -> None:
        self._requests = cycle(requests)
        self._is_greedy = False
        self._answers: list[Answer] = []
        self._start_s = 0.0
        self.free: deque[Connection] = deque()
        self.open = 0

    def connection(self) -> Connection:
        self.open += 1
        return Connection(self)

    async def run(self, phase: Phase) -> Outcome:
        """Its answers may still be coming when it returns."""
        self._answers, cpu_s = [], time.process_time()
        self._start_s = time.perf_counter()
        if phase.per_s:
            await self._keep_pace(phase)
        else:
            self._is_greedy = True
            while self.free:
                self._send(self.free.popleft())
            await asyncio.sleep(phase.seconds)
            self._is_greedy = False
        return Outcome(phase, self._answers, time.process_time() - cpu_s)

    async def end(self) -> None:
        async with asyncio.timeout(LAST_ANSWERS_S):
            while len(self.free) < self.open:  # noqa: ASYNC110 it is not worth an event
                await asyncio.sleep(LOOK_AGAIN_S)

    def answered(self, connection: Connection) -> None:
        if self._is_greedy:
            self._send(connection)
        else:
            self.free.append(connection)

    def lost(self, connection: Connection) -> None:
        """With the answer that it was waiting for."""
        self.open -= 1
        if connection.waits:
            connection.end(NOT_ANSWERED, is_whole=False)
        else:
            self.free.remove(connection)

    async def _keep_pace(self, phase: Phase) -> None:
        for number in range(round(phase.per_s * phase.seconds)):
            due_s = self._start_s + number / phase.per_s
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            late_s = max(0.0, time.perf_counter() - due_s)
            if self.free:
                self._send(self.free.popleft(), late_s)
            else:  # as somebody who can't even connect
                sent_s = due_s - self._start_s
                answer = Answer(NOT_ANSWERED, sent_s, 1000 * late_s, took_ms=0.0, is_whole=False)
                self._answers.append(answer)

    def _send(self, connection: Connection, late_s: float = 0.0) -> None:
        connection.send(next(self._requests), self._answers, self._start_s, late_s)


def request(path: str, token: str) -> bytes:
    lines = (f"GET {path} HTTP/1.1", f"host: {HOST}", f"authorization: Bearer {token}", "", "")
    return "\r\n".join(lines).encode()


async def run(port: int, path: str, connections: int, phases: Sequence[Phase]) -> Sequence[Outcome]:
    load = Load([request(path, line.strip()) for line in sys.stdin])
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(load.connection, HOST, port)
    outcomes = []
    for phase in phases:
        outcomes.append(await load.run(phase))
        print(flush=True)
    await load.end()
    return outcomes


async def generate(
    address: str,
    path: str,
    tokens: Sequence[str],
    phases: Sequence[Phase],
    *,
    connections: int,
    at_end: Callable[[], object] = lambda: None,
) -> Sequence[Outcome]:
    """The same in a process of its own; `at_end` is called at the end of each phase."""
    port = address.rpartition(":")[2]
    paces = (f"{per_s}:{seconds}" for per_s, seconds in phases)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.tools.http_load",
        port,
        path,
        str(connections),
        *paces,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n".join(tokens).encode())
    child.stdin.close()
    for _ in phases:
        await child.stdout.readline()
        at_end()
    output = await child.stdout.read()
    assert await child.wait() == 0
    return [
        Outcome(Phase(*phase), [Answer(*answer) for answer in answers], cpu_s)
        for phase, answers, cpu_s in json.loads(output)
    ]


if __name__ == "__main__":
    asked_port, asked_path, asked_connections, *asked_phases = sys.argv[1:]
    wanted = [Phase(*map(float, each.split(":"))) for each in asked_phases]
    if any(each.per_s for each in wanted):
        with suppress(PermissionError):  # then how late requests are will show it
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    gc.disable()  # nothing here makes cycles, and a pause would be taken for the server's
    taken = uvloop.run(run(int(asked_port), asked_path, int(asked_connections), wanted))
    # Not by print: where PYTHONUNBUFFERED is set, that may write a part of it and be content.
    with os.fdopen(sys.stdout.fileno(), "w", encoding="ascii") as output:
        output.write(json.dumps([(each.phase, each.answers, each.cpu_s) for each in taken]))
