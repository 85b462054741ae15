"""devstack by its commands, as people use it: real stores, the real program, its own folder."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil
import pytest
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from devstack import programs
from devstack.servers import HOST, free_port, is_alive, is_free, stop
from devstack.state import ProcessRecord, State
from tests.polling import until

ROOT = Path(__file__).parents[2]
PROGRAMS = {program.name for program in programs.PROGRAMS}
EVERYTHING = {"PostgreSQL", "Valkey", "MongoDB", *PROGRAMS}
# Its input ends when this process does.
RESET = 'cat; exec "$1" -m devstack reset --yes'
STORE_VARIABLES = ("POSTGRES_", "REDIS_", "MONGODB_", "BUS_")


@dataclass(frozen=True)
class Answer:
    code: int
    output: str
    errors: str


class Cli:
    """`python -m devstack` with a DATA_DIR and a port of its own."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(STORE_VARIABLES)}
        ports = {program.port_variable: str(free_port()) for program in programs.PROGRAMS}
        own = {**ports, "DATA_DIR": str(data_dir), "DRAIN_DELAY_S": "0"}
        self.environment = {**inherited, **own, **settings}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """What was started is detached: it is reset if this process is killed inside the block."""
        with subprocess.Popen(
            ("/bin/sh", "-c", RESET, "watchdog", sys.executable),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
            env=self.environment,
            start_new_session=True,
        ) as process:
            try:
                yield
            finally:
                process.kill()

    async def run(self, arguments: Sequence[str], settings: Mapping[str, str]) -> Answer:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "devstack",
            *arguments,
            cwd=ROOT,
            env={**self.environment, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, errors = await process.communicate(b"correct horse battery\n")
        assert process.returncode is not None
        return Answer(process.returncode, output.decode(), errors.decode())

    async def succeed(self, *arguments: str, **settings: str) -> str:
        answer = await self.run(arguments, settings)
        assert answer.code == 0, answer
        return answer.output

    async def fail(self, *arguments: str, **settings: str) -> str:
        answer = await self.run(arguments, settings)
        assert answer.code == 1, answer
        assert "Traceback" not in answer.errors
        return answer.errors

    def records(self) -> Mapping[str, ProcessRecord]:
        state = State.load(self.data_dir)
        assert state is not None
        return state.processes

    async def crash(self, name: str) -> None:
        process = psutil.Process(self.records()[name].pid)
        process.kill()
        await until(lambda: not is_alive(process))

    def pids(self) -> dict[str, int]:
        return {name: record.pid for name, record in self.records().items()}


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cli]:
    """A stack that is up; each test leaves it up. Afterwards nothing of it is left."""
    cli = Cli(tmp_path_factory.mktemp("stack") / "data")
    with cli.watched():
        await cli.succeed("up")
        processes = [psutil.Process(pid) for pid in cli.pids().values()]
        cluster = (cli.data_dir / "postgresql").resolve()
        yield cli
        await cli.succeed("reset", "--yes")
    assert not [process for process in processes if is_alive(process)]
    assert not cli.data_dir.exists()
    assert not cluster.exists()


async def test_stores_for_tests_can_do_what_the_services_need(
    database_dsn: str, redis_url: str, mongodb_url: str
) -> None:
    connection = await asyncpg.connect(database_dsn)
    await connection.execute("CREATE EXTENSION pg_trgm")
    assert await connection.fetchval("SELECT lower('ÄRGER')") == "ärger"
    await connection.close()
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        await redis.zadd("window", {f"{i:016}": i for i in range(257)})
        assert await redis.object("ENCODING", "window") == "listpack"
        assert await redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    async with (
        AsyncMongoClient[dict[str, int]](mongodb_url) as client,
        client.start_session() as session,
        await session.start_transaction(),
    ):
        await client.newsfeed.posts.insert_one({"number": 1}, session=session)


async def test_up_again_changes_nothing(stack: Cli) -> None:
    before = stack.pids()
    assert set(before) == EVERYTHING
    output = await stack.succeed("up")
    assert stack.pids() == before
    assert "started" not in output
    assert (await stack.succeed("status")).count(" runs  ") == len(before)


async def test_a_command_of_a_program_runs_with_the_settings_of_the_stack(stack: Cli) -> None:
    command = ("run", "user_svc", "create-admin", "--username", "ada", "--email", "ada@example.com")
    await stack.succeed(*command)
    connection = await asyncpg.connect(stack.records()["PostgreSQL"].url)
    assert await connection.fetchval("SELECT count(*) FROM users WHERE username = 'ada'") == 1
    await connection.close()


async def test_no_secret_is_shown_or_readable_by_others(stack: Cli) -> None:
    url = stack.records()["PostgreSQL"].url
    password = url.split(":")[2].split("@")[0]
    assert len(password) >= 20
    assert password not in await stack.succeed("status")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url.replace(password, "newsfeed"))
    secrets = (
        "stack.json",
        "keys/user_tokens.json",
        "keys/content_svc.json",
        "keys/page_token_key",
    )
    modes = {name: (stack.data_dir / name).stat().st_mode & 0o077 for name in secrets}
    assert modes == dict.fromkeys(secrets, 0)
    assert '"d"' not in (stack.data_dir / "keys/services.public.json").read_text()


async def test_everything_listens_on_this_machine_alone(stack: Cli) -> None:
    for name, pid in stack.pids().items():
        sockets = psutil.Process(pid).net_connections(kind="tcp")
        listening = {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
        assert {address.removeprefix("::ffff:") for address in listening} == {HOST}, name


async def test_up_after_a_crash_starts_what_died_with_its_data(stack: Cli) -> None:
    before, records = stack.pids(), stack.records()
    connection = await asyncpg.connect(records["PostgreSQL"].url)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS number")
    await connection.close()
    async with AsyncMongoClient[dict[str, int]](records["MongoDB"].url, w="majority") as client:
        await client.newsfeed.kept.insert_one({"number": 42})
    for name in ("PostgreSQL", "MongoDB", "user_svc"):
        await stack.crash(name)

    output = await stack.succeed("up")

    assert output.count(" started  ") == 3
    after = stack.pids()
    assert after["Valkey"] == before["Valkey"]
    assert after["MongoDB"] != before["MongoDB"]
    assert stack.records()["PostgreSQL"].url == records["PostgreSQL"].url
    connection = await asyncpg.connect(records["PostgreSQL"].url)
    assert await connection.fetchval("SELECT number FROM kept") == 42
    await connection.close()
    async with AsyncMongoClient[dict[str, int]](records["MongoDB"].url) as client:
        assert await client.newsfeed.kept.count_documents({"number": 42}) == 1


async def test_a_taken_port_is_named_with_its_holder_and_a_remedy(stack: Cli) -> None:
    before = stack.pids()
    with socket.create_server((HOST, 0)) as holder:
        port = holder.getsockname()[1]
        errors = await stack.fail("up", USER_SVC_PORT=str(port))
    assert f"Port {port} of user_svc is held by" in errors
    assert f"(pid {os.getpid()})" in errors
    assert "make up USER_SVC_PORT=" in errors
    assert stack.pids() == before


async def test_another_port_moves_the_program_and_tells_all_others(stack: Cli) -> None:
    before, port = stack.pids(), free_port()
    address = stack.records()["content_svc"].url
    stack.environment["CONTENT_SVC_PORT"] = str(port)
    await stack.succeed("up")
    after = stack.pids()
    moved = {name for name in after if after[name] != before[name]}
    assert moved == PROGRAMS
    assert not is_free(port)
    assert is_free(int(address.rpartition(":")[2]))


async def test_a_store_whose_port_was_taken_meanwhile_moves(stack: Cli) -> None:
    await stack.crash("MongoDB")
    url = stack.records()["MongoDB"].url
    port = int(url.split(":")[2].split("/")[0])
    async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, port):
        await stack.succeed("up")
    moved = stack.records()["MongoDB"].url
    assert moved != url
    async with AsyncMongoClient[dict[str, int]](moved) as client:
        await client.newsfeed.kept.insert_one({"number": 43})


@pytest.fixture
def given(database_dsn: str, redis_url: str, mongodb_url: str) -> dict[str, str]:
    return {"POSTGRES_DSN": database_dsn, "REDIS_URL": redis_url, "MONGODB_URL": mongodb_url}


async def test_stacks_run_side_by_side_also_on_given_stores_which_are_left_alone(
    stack: Cli, tmp_path: Path, given: dict[str, str]
) -> None:
    other, lodger = Cli(tmp_path / "other"), Cli(tmp_path / "lodger", **given)
    before, watches = stack.pids(), ExitStack()
    for cli in (other, lodger):
        watches.enter_context(cli.watched())
    try:
        # Two commands at once on one stack: one works, the other waits and finds it done.
        *outputs, lodged = await asyncio.gather(
            other.succeed("up"), other.succeed("up"), lodger.succeed("up")
        )
        assert sum(output.count(" started  ") for output in outputs) == len(EVERYTHING)
        assert sum(output.count(" runs  ") for output in outputs) == len(EVERYTHING)
        assert lodged.count(" given  ") == 3
        assert set(lodger.pids()) == PROGRAMS
        urls = {record.url for cli in (stack, other, lodger) for record in cli.records().values()}
        assert len(urls) == 2 * len(EVERYTHING) + len(PROGRAMS)
        stopped = await other.succeed("down")
        assert stopped.index("user_svc") < stopped.index("PostgreSQL")
        assert other.pids() == {}
        assert "Nothing runs" in await other.succeed("down")
        assert stack.pids() == before
        assert (await stack.succeed("status")).count(" runs  ") == len(EVERYTHING)
    finally:
        await asyncio.gather(other.succeed("reset", "--yes"), lodger.succeed("reset", "--yes"))
        watches.close()
    async with Redis.from_url(given["REDIS_URL"]) as redis:
        assert await redis.ping()


async def test_a_given_store_that_does_not_answer_is_named_without_its_password(
    tmp_path: Path, given: dict[str, str]
) -> None:
    cli = Cli(tmp_path, **given)
    errors = await cli.fail("up", POSTGRES_DSN=f"postgresql://me:geheim@{HOST}:{free_port()}/x")
    assert "POSTGRES_DSN is given, but no PostgreSQL answers there" in errors
    assert "geheim" not in errors


async def test_a_program_that_cannot_start_shows_its_last_words(
    tmp_path: Path, given: dict[str, str]
) -> None:
    errors = await Cli(tmp_path, **given).fail("up", PASSWORD_THREADS="none")
    assert "user_svc ended at once" in errors
    assert "PASSWORD_THREADS: must be a whole number" in errors


async def test_the_store_of_a_killed_test_run_ends_with_it() -> None:
    program = (
        "import asyncio; from devstack import stores, valkey\n"
        "async def main():\n"
        "    async with stores.throwaway(valkey.STORE) as url:\n"
        "        print(url, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=ROOT, stdout=subprocess.PIPE
    )
    assert run.stdout is not None
    url = (await run.stdout.readline()).decode().strip()
    server = next(p for p in psutil.Process(run.pid).children() if p.name() == "valkey-server")
    folder = Path(server.cwd())
    assert not is_free(int(url.split(":")[2].split("/")[0]))
    run.kill()
    await run.communicate()
    await until(lambda: not is_alive(server))
    await until(lambda: not folder.exists())


async def test_a_server_that_ignores_the_request_to_stop_is_killed() -> None:
    stubborn = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        "trap '' TERM; echo ready; while :; do sleep 0.01; done",
        stdout=subprocess.PIPE,
    )
    assert stubborn.stdout is not None
    await stubborn.stdout.readline()
    await stop(psutil.Process(stubborn.pid), signal.SIGTERM, timeout_s=0.3)
    assert await stubborn.wait() == -signal.SIGKILL


async def test_reset_asks_first_and_deletes_only_its_own(tmp_path: Path) -> None:
    foreign = Cli(tmp_path)
    (tmp_path / "thesis.txt").write_text("years of work")
    own = Cli(tmp_path / "data")
    own.data_dir.mkdir()
    State(own.data_dir, {}, {}).save()
    refused = await asyncio.gather(
        foreign.fail("up"), foreign.fail("reset", "--yes"), own.fail("reset")
    )
    assert "devstack did not make it" in refused[0]
    assert "There is no stack" in refused[1]
    assert "make reset YES=1" in refused[2]
    assert own.data_dir.exists()
    await own.succeed("reset", "--yes")
    assert not own.data_dir.exists()
    assert (tmp_path / "thesis.txt").exists()


async def test_a_later_process_with_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    foreigner = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        started = psutil.Process(foreigner.pid).create_time()
        record = ProcessRecord(foreigner.pid, started - 60, "", "", "", signal.SIGKILL)
        State(tmp_path, {}, {"user_svc": record}).save()
        await cli.succeed("down")
        assert foreigner.returncode is None
        assert is_alive(psutil.Process(foreigner.pid))
    finally:
        foreigner.kill()
        await foreigner.wait()
