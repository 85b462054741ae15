"""A run of the tests ends by itself when a store dies or a test hangs, and says why."""

import asyncio
import subprocess
import sys
from pathlib import Path

import psutil

from devstack.servers import is_alive
from tests.polling import until

ROOT = Path(__file__).parents[2]
KILLS_THE_STORE = """
import asyncio, psutil

async def test_it(redis_url, request):
    [server] = [each for each in psutil.Process().children() if each.name() == "valkey-server"]
    server.kill()
    while not request.session.shouldfail:
        await asyncio.sleep(0.01)

async def test_the_next():
    print("was begun")
"""
HANGS = """
import asyncio, pathlib, psutil, pytest

@pytest.mark.deadline(3)
async def test_it(redis_url):
    [server] = [each for each in psutil.Process().children() if each.name() == "valkey-server"]
    pathlib.Path(__file__).with_suffix(".pid").write_text(str(server.pid))
    await forever()

async def forever():
    await asyncio.Event().wait()
"""


async def run(file: Path, tests: str) -> tuple[int | None, str]:
    """The exit code and all that was written by a run of these tests alone."""
    await asyncio.to_thread(file.write_text, tests)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "--rootdir",
        str(ROOT),
        "--config-file",
        str(ROOT / "pyproject.toml"),
        str(file),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_store_that_dies_ends_the_run_with_its_name_and_log(tmp_path: Path) -> None:
    code, output = await run(tmp_path / "test_killed.py", KILLS_THE_STORE)
    assert code == 1
    assert "Valkey ended by itself (exit code -9)." in output
    assert "Ready to accept connections" in output  # the end of its log
    assert "was begun" not in output


async def test_a_test_that_hangs_ends_the_run_and_leaves_no_store(tmp_path: Path) -> None:
    file = tmp_path / "test_hangs.py"
    code, output = await run(file, HANGS)
    assert code == 1
    assert "test_it did not end within 3 s." in output
    assert f"{file}:11" in output  # where it waits
    pid = int(file.with_suffix(".pid").read_text())
    await until(lambda: not psutil.pid_exists(pid) or not is_alive(psutil.Process(pid)))
