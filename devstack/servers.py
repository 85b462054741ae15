"""A server as a process: what to run, how to know that it is ready, how to stop it.

Stores and programs are both a `Server`; `launch` starts one and returns when it answers. They are
detached (a session of their own): a Ctrl-C meant for the caller does not reach them.
"""

import asyncio
import os
import random
import resource
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from devstack.errors import StackError

HOST = "127.0.0.1"
READY_TIMEOUT_S = 60.0
PING_TIMEOUT_S = 5.0
POLL_S = 0.02
LAST_WORDS_LINES = 12
LOG_BYTES_MAX = 20 * 1024 * 1024
# Below the range from which the kernel takes the ports of outgoing connections.
FREE_PORTS = range(15_000, 32_000)
# mongod keeps files open by the thousand, the gateway has a connection for each client.
OPEN_FILES = 16_384
OPEN_FILES_LEAST = 4_096


@dataclass(frozen=True, slots=True)
class Server:
    """One process; `ping` raises until it answers, and may do the last step of its set-up."""

    name: str
    url: str
    command: tuple[str, ...]
    log: Path
    ping: Callable[[], Awaitable[None]]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    user: str | None = None


async def launch(
    server: Server, on_spawn: Callable[[psutil.Process], None] = lambda _: None
) -> subprocess.Popen[bytes]:
    """Starts the server and waits until it answers; one that does not is not left behind."""
    child = spawn(server)
    process = psutil.Process(child.pid)
    try:
        on_spawn(process)
        await wait_until_ready(server, process)
    except BaseException:
        child.kill()
        child.wait()
        raise
    return child


def spawn(server: Server) -> subprocess.Popen[bytes]:
    raise_open_files()
    if server.log.exists() and server.log.stat().st_size > LOG_BYTES_MAX:
        server.log.replace(server.log.with_suffix(".old.log"))
    with server.log.open("ab") as log:
        return subprocess.Popen(
            server.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **server.environment},
            start_new_session=True,
            user=server.user,
            extra_groups=[] if server.user else None,
        )


def raise_open_files() -> None:
    """Raises this process's soft limit of open files, which servers inherit, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if wanted < OPEN_FILES_LEAST:
        raise StackError(
            f"This user may open {hard} files at once, and {OPEN_FILES_LEAST} are needed.",
            f"Raise the hard limit: `ulimit -Hn {OPEN_FILES}` as root, a line `nofile` in"
            " /etc/security/limits.conf, or `docker run --ulimit nofile=...`.",
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def wait_until_ready(server: Server, process: psutil.Process) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        if not is_alive(process):
            raise failure(server, "ended at once")
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await server.ping()
        except Exception as error:
            if time.monotonic() > deadline:
                problem = f"does not answer after {READY_TIMEOUT_S:.0f} s ({error})"
                raise failure(server, problem) from error
            await asyncio.sleep(POLL_S)
        else:
            return


def failure(server: Server, problem: str) -> StackError:
    """The problem with the server, and its last words."""
    with server.log.open(errors="replace") as log:
        last_words = "".join(f"  | {line}" for line in deque(log, maxlen=LAST_WORDS_LINES))
    return StackError(f"{server.name} {problem}.", f"The end of {server.log}:\n{last_words}")


async def stop(
    process: psutil.Process, stop_signal: signal.Signals, timeout_s: float = 30.0
) -> None:
    """Ends a process and its children: kills those that have not ended when the time is up.

    Programs take less than the default to drain.
    """
    with suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        process.send_signal(stop_signal)
        for survivor in await _wait_until_gone(family, timeout_s):
            with suppress(psutil.NoSuchProcess):
                survivor.kill()
        await _wait_until_gone(family, timeout_s)


async def _wait_until_gone(
    processes: Iterable[psutil.Process], timeout_s: float
) -> list[psutil.Process]:
    """Returns those still alive at the deadline."""
    deadline = time.monotonic() + timeout_s
    while alive := [process for process in processes if is_alive(process)]:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(POLL_S)
    return alive


def is_alive(process: psutil.Process) -> bool:
    """A zombie is dead, as its parent may never reap it; its threads may yet be ending."""
    try:
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        return process.is_running() and (not is_zombie or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """A port that no other caller is given, in any process, as long as this one runs."""
    while True:
        port = random.choice(FREE_PORTS)
        # Nobody here speaks UDP: to hold its port of the same number says that this one is taken.
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with suppress(OSError):
            claim.bind((HOST, port))
            if is_free(port):
                claim.detach()  # closed when the process ends
                return port
        claim.close()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def port_holder(port: int) -> str:
    """The process that listens on the port, as far as this user may know."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status != psutil.CONN_LISTEN or connection.pid is None:
                continue
            if connection.laddr and connection.laddr.port == port:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another program"
