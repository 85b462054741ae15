"""Programs by themselves: real processes, with keys of their own, on a given database.

For tests and measures. Nobody signs up: tokens are signed with the keys that the programs were
given, which is all that they look at.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import psutil

from devstack import postgres
from devstack.programs import (
    FEED_SVC,
    PROGRAMS,
    USER_SVC,
    Program,
    as_server,
    environment_of,
    make_keys,
)
from devstack.servers import Server, free_port, launch, stop
from devstack.store import Store, StoreHome
from devstack.stores import watchdog
from svckit.auth.keys import SigningKeys
from svckit.auth.tokens import Role, ServiceTokenSource, UserTokenSigner
from svckit.ids import new_id

NO_BUS = "redis://127.0.0.1:1/0"  # events stay in the outbox


@dataclass(frozen=True, slots=True)
class Running:
    """A program that serves: `address` of its port, `log` of what it writes."""

    address: str
    process: psutil.Process
    log: Path

    @property
    def cpu_s(self) -> float:
        """Used since it began."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


class Rig:
    """One folder with the keys and logs of all programs that are run on one database."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self.dsn = dsn
        self._keys = folder / "keys"
        make_keys(self._keys, PROGRAMS)
        self._signer = UserTokenSigner(SigningKeys(self._keys / USER_SVC.key_file))

    def user_token(self, user_id: UUID, role: Role = Role.USER) -> str:
        """Good for 15 minutes."""
        return self._signer.sign(user_id, new_id(), role)[0]

    def service_token(self) -> str:
        """Good for 5 minutes."""
        keys = SigningKeys(self._keys / FEED_SVC.key_file)
        return ServiceTokenSource(keys, FEED_SVC.name).token()

    @asynccontextmanager
    async def run(
        self, program: Program = USER_SVC, module: str = "", /, **environment: str
    ) -> AsyncIterator[Running]:
        """The program on a free port until the block ends, or `module` in its place.

        It is told what devstack tells that program, and `environment`.
        """
        program = replace(program, port=free_port(), arguments=())
        urls = {"POSTGRES_DSN": self.dsn, "BUS_REDIS_URL": NO_BUS}
        told = environment_of(program, [program], urls, self._keys) | environment
        name = module or program.name
        log = self.folder / f"{name}.log"
        async with _running(as_server(replace(program, name=name), told, log)) as process:
            yield Running(program.address, process, log)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call."""
    return (("authorization", f"Bearer {token}"),)


@contextmanager
def rig_folder() -> Iterator[Path]:
    """Gone afterwards, with all that was put into it."""
    with tempfile.TemporaryDirectory(prefix="newsfeed-rig-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # a server that runs as another user must get through
        try:
            yield folder
        finally:
            shutil.rmtree((folder / postgres.NAME).resolve(), ignore_errors=True)


@asynccontextmanager
async def durable(store: Store, folder: Path) -> AsyncIterator[str]:
    """One that syncs to disk as in production, with its data in `folder`; gives its URL."""
    home = StoreHome(folder / store.name, free_port(), folder / f"{store.name}.log", durable=True)
    server = await store.prepare(home)
    async with _running(server):
        yield server.url


@asynccontextmanager
async def _running(server: Server) -> AsyncIterator[psutil.Process]:
    """Until the block ends, or this process does."""
    child = await launch(server)
    process = psutil.Process(child.pid)
    with watchdog(child.pid):
        try:
            yield process
        finally:
            await stop(process, server.stop_signal)
            await asyncio.to_thread(child.wait)
