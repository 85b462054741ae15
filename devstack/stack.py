"""Up, down and reset: makes the processes of a stack be what the settings ask for.

`up` may be called at any time: what runs as wanted stays, what died is started, what is no longer
wanted (or wanted otherwise: another port, another URL) is stopped first. Stores start together,
programs after them in their order; everything stops in the reverse order.
"""

import asyncio
import hashlib
import json
import shutil
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from devstack.errors import StackError
from devstack.programs import Program, as_server, environment_of, make_keys
from devstack.servers import (
    Server,
    free_port,
    is_free,
    launch,
    port_holder,
    stop,
    wait_until_ready,
)
from devstack.state import ProcessRecord, State
from devstack.store import Store, StoreHome
from devstack.stores import STORES

GIVEN_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One thing that `up` or `down` did; `what` is a word such as "started"."""

    name: str
    what: str
    url: str
    seconds: float


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack whose folder exists and is locked by the caller."""

    state: State
    programs: Sequence[Program]
    given: Mapping[str, str]
    report: Report

    async def up(self) -> None:
        """Returns when everything answers."""
        self.state.save()
        self._refuse_taken_ports()
        await self._stop_unwanted()
        self._folder("logs")
        make_keys(self._folder("keys"), self.programs)
        await _all(
            *(self._check_given(variable, url) for variable, url in self.given.items()),
            *(self._start_store(store) for store in self._own_stores()),
        )
        for program in self.programs:
            server = as_server(program, self.environment(program), self._log(program.name))
            await self._start(server, time.monotonic())

    async def down(self) -> None:
        """Stops what devstack started and nothing else; a stopped stack is left as it is."""
        stores = {store.name for store in STORES}
        in_reverse = reversed(self.state.processes)
        for name in sorted(in_reverse, key=lambda name: name in stores):
            await self._stop(name)

    async def reset(self) -> None:
        """Stops the stack and deletes everything it keeps."""
        await self.down()
        for store in STORES:
            shutil.rmtree(self._store_folder(store).resolve(), ignore_errors=True)
        shutil.rmtree(self.state.data_dir)

    def environment(self, program: Program) -> dict[str, str]:
        """The program's environment: its stores, keys and neighbours."""
        urls = dict(self.given)
        for store in self._own_stores():
            if store.name not in self.state.processes:
                raise StackError(f"{store.name} does not run.", "`make up` starts it.")
            urls[store.variable] = self.state.processes[store.name].url
        urls.setdefault("BUS_REDIS_URL", urls["REDIS_URL"])
        return environment_of(program, self.programs, urls, self.state.data_dir / "keys")

    def _own_stores(self) -> list[Store]:
        return [store for store in STORES if store.variable not in self.given]

    def _folder(self, name: str) -> Path:
        folder = self.state.data_dir / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _store_folder(self, store: Store) -> Path:
        return self.state.data_dir / store.name.lower()

    def _log(self, name: str) -> Path:
        return self.state.data_dir / "logs" / f"{name.lower()}.log"

    def _refuse_taken_ports(self) -> None:
        """Before anything is started; a port that a program of this stack has is not taken."""
        ours = {record.url for record in self.state.processes.values() if record.process()}
        for program in self.programs:
            if program.address not in ours and not is_free(program.port):
                holder = port_holder(program.port)
                raise StackError(
                    f"Port {program.port} of {program.name} is held by {holder}.",
                    f"Stop that, or choose another: make up {program.port_variable}={free_port()}",
                )

    async def _stop_unwanted(self) -> None:
        wanted = {store.name for store in self._own_stores()}
        wanted |= {program.name for program in self.programs}
        for name in [name for name in reversed(self.state.processes) if name not in wanted]:
            await self._stop(name)

    async def _check_given(self, variable: str, url: str) -> None:
        store = next(store for store in STORES if variable.endswith(store.variable))
        begun = time.monotonic()
        try:
            async with asyncio.timeout(GIVEN_TIMEOUT_S):
                await store.ping(url)
        except StackError:
            raise
        except Exception as error:
            raise StackError(
                f"{variable} is given, but no {store.name} answers there: {_short(error)}.",
                f"Start it, or mend {variable}; without it devstack starts its own.",
            ) from error
        self.report(Progress(store.name, "given", url, time.monotonic() - begun))

    async def _start_store(self, store: Store) -> None:
        begun = time.monotonic()
        record = self.state.processes.get(store.name)
        port = self.state.ports.get(store.name)
        if port is None or not ((record and record.process()) or is_free(port)):
            port = free_port()
        self.state.ports[store.name] = port
        self.state.save()
        home = StoreHome(self._store_folder(store), port, self._log(store.name), durable=True)
        await self._start(await store.prepare(home), begun)

    async def _start(self, server: Server, begun: float) -> None:
        """A running server stays, unless it was started with another command or environment."""
        fingerprint = _fingerprint(server)
        record = self.state.processes.get(server.name)
        process = record.process() if record else None
        if record and process and record.fingerprint == fingerprint:
            await wait_until_ready(server, process)
            what = "runs"
        else:
            what = "started"
            if process:
                await self._stop(server.name)

            def remember(process: psutil.Process) -> None:
                self.state.processes[server.name] = ProcessRecord(
                    pid=process.pid,
                    start_time=process.create_time(),
                    fingerprint=fingerprint,
                    url=server.url,
                    log=str(server.log),
                    stop_signal=server.stop_signal,
                )
                self.state.save()

            await launch(server, remember)
        self.report(Progress(server.name, what, server.url, time.monotonic() - begun))

    async def _stop(self, name: str) -> None:
        begun = time.monotonic()
        record = self.state.processes[name]
        if process := record.process():
            await stop(process, signal.Signals(record.stop_signal))
            self.report(Progress(name, "stopped", record.url, time.monotonic() - begun))
        del self.state.processes[name]
        self.state.save()


async def _all(*work: Coroutine[None, None, None]) -> None:
    """Lets each end, so that none is cut off in the middle, then raises the first failure."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _short(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:120].rstrip(".")


def _fingerprint(server: Server) -> str:
    content = json.dumps([server.command, dict(server.environment)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
