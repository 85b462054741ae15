"""Parts of devstack that need no server."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from devstack.errors import StackError
from devstack.postgres import _remove_stale_pid_file
from devstack.servers import HOST, free_port, is_alive, is_free
from devstack.settings import StackSettings
from devstack.state import State
from svckit.settings import SettingsError, load

ROOT = Path(__file__).parents[2]


def test_nothing_is_given_by_default() -> None:
    assert load(StackSettings, {}).given.urls() == {}


def test_stores_can_be_given_in_parts() -> None:
    environment = {
        "POSTGRES_HOST": "db",
        "POSTGRES_PORT": "5433",
        "POSTGRES_USER": "me@work",
        "POSTGRES_PASSWORD": "a:b/c",
        "REDIS_HOST": "cache",
    }
    assert load(StackSettings, environment).given.urls() == {
        "POSTGRES_DSN": "postgresql://me%40work:a%3Ab%2Fc@db:5433/newsfeed",
        "REDIS_URL": "redis://cache:6379/0",
    }


def test_a_whole_url_wins_over_the_parts() -> None:
    environment = {"POSTGRES_DSN": "postgresql://here/x", "POSTGRES_HOST": "there"}
    assert load(StackSettings, environment).given.urls() == {"POSTGRES_DSN": "postgresql://here/x"}


def test_a_bad_port_is_named() -> None:
    with pytest.raises(SettingsError, match="USER_SVC_PORT"):
        load(StackSettings, {"USER_SVC_PORT": "70000"})


def test_a_listening_port_is_not_free() -> None:
    port = free_port()
    assert is_free(port)
    with socket.create_server((HOST, port)):
        assert not is_free(port)


def test_a_port_is_given_once() -> None:
    """By chance alone some of so many would be the same. In a process of its own: it keeps them."""
    program = (
        "from devstack.servers import free_port; print(len({free_port() for _ in range(500)}))"
    )
    command = (sys.executable, "-c", program)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "500\n"


@pytest.mark.parametrize(
    ("limits", "told"),
    [("-Sn 256", "16384\n"), ("-n 5000", "5000\n"), ("-n 256", "may open 256 files at once")],
)
def test_servers_may_open_as_many_files_as_they_need(limits: str, told: str) -> None:
    """Where the hard limit does not let them, it is named."""
    program = (
        "import resource; from devstack.servers import raise_open_files\n"
        "raise_open_files(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    command = ("/bin/sh", "-c", f'ulimit {limits}; exec "$0" -c "$1"', sys.executable, program)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told in done.stdout + done.stderr


def test_a_zombie_counts_as_dead() -> None:
    with subprocess.Popen(["/bin/true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
        assert not is_alive(psutil.Process(child.pid))


@pytest.mark.parametrize("content", ["", f"{os.getpid()}\n/elsewhere\n", "4194305\n"])
def test_a_pid_file_of_nobody_is_removed(tmp_path: Path, content: str) -> None:
    (tmp_path / "postmaster.pid").write_text(content)
    _remove_stale_pid_file(tmp_path)
    assert not (tmp_path / "postmaster.pid").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ports": {}}'])
def test_a_damaged_state_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "stack.json").write_text(content)
    with pytest.raises(StackError, match="damaged"):
        State.load(tmp_path)
