"""The programs under measurement: real processes, with keys of their own, on a given database.

Nobody signs up: tokens are signed with the keys that the programs were given, which is all that
they look at.
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
from devstack.programs import Program, as_server, environment_of, make_keys
from devstack.servers import free_port, launch, stop
from devstack.store import Store, StoreHome
from svckit.auth.keys import SigningKeys
from svckit.auth.tokens import Role, ServiceTokenSource, UserTokenSigner
from svckit.ids import new_id

USER_SVC = "user_svc"
CONTENT_SVC = "content_svc"
FEED_SVC = "feed_svc"
GATEWAY = "gateway"
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


class Bench:
    """One folder with the keys and logs of all programs that are run on one database."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self.dsn = dsn
        programs = (
            Program(USER_SVC, "USER_SVC_PORT", 0, signs_user_tokens=True),
            Program(CONTENT_SVC, "CONTENT_SVC_PORT", 0),
            Program(FEED_SVC, "FEED_SVC_PORT", 0),
            Program(GATEWAY, "GATEWAY_PORT", 0, serves_http=True),
        )
        self._programs = {program.name: program for program in programs}
        make_keys(self._keys, programs)
        self._signer = UserTokenSigner(SigningKeys(self._keys / "user_tokens.json"))

    @property
    def _keys(self) -> Path:
        return self.folder / "keys"

    def user_token(self, user_id: UUID, role: Role = Role.USER) -> str:
        """Good for 15 minutes."""
        return self._signer.sign(user_id, new_id(), role)[0]

    def service_token(self) -> str:
        """Good for 5 minutes."""
        keys = SigningKeys(self._keys / f"{FEED_SVC}.json")
        return ServiceTokenSource(keys, FEED_SVC).token()

    @asynccontextmanager
    async def run(self, name: str = USER_SVC, **environment: str) -> AsyncIterator[Running]:
        """`python -m name` on a free port until the block ends.

        It is told what devstack tells (what is no service: as to user_svc), and `environment`.
        """
        told = self._programs.get(name, self._programs[USER_SVC])
        program = replace(told, port=free_port(), arguments=())
        log = self.folder / f"{name}.log"
        server = as_server(
            replace(program, name=name), self._environment(program) | environment, log
        )
        child = await launch(server)
        process = psutil.Process(child.pid)
        try:
            yield Running(program.address, process, log)
        finally:
            await stop(process, server.stop_signal)
            await asyncio.to_thread(child.wait)

    def _environment(self, program: Program) -> dict[str, str]:
        urls = {"POSTGRES_DSN": self.dsn, "BUS_REDIS_URL": NO_BUS}
        return environment_of(program, [program], urls, self._keys)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call."""
    return (("authorization", f"Bearer {token}"),)


@contextmanager
def bench_folder() -> Iterator[Path]:
    """Gone afterwards, with all that was put into it."""
    with tempfile.TemporaryDirectory(prefix="newsfeed-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # a server that runs as another user must get through
        try:
            yield folder
        finally:
            shutil.rmtree((folder / postgres.NAME).resolve(), ignore_errors=True)


@asynccontextmanager
async def durable(store: Store, folder: Path) -> AsyncIterator[str]:
    """One that syncs to disk as in production, with its data in `folder`; gives its URL."""
    place = StoreHome(folder / store.name, free_port(), folder / f"{store.name}.log", durable=True)
    server = await store.prepare(place)
    child = await launch(server)
    try:
        yield server.url
    finally:
        await stop(psutil.Process(child.pid), server.stop_signal)
        await asyncio.to_thread(child.wait)
