"""The commands have one shape: help, and an exit code that tells how it went."""

import importlib
from collections.abc import Callable, Sequence

import pytest

COMMANDS = ("svckit.keys", "svckit.call", "svckit.redrive", "svckit.groups", "svckit.health")


def main_of(module: str) -> Callable[[Sequence[str]], int]:
    main: Callable[[Sequence[str]], int] = importlib.import_module(module).main
    return main


@pytest.mark.parametrize("module", COMMANDS)
def test_command_explains_itself(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main_of(module)(["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m {module} ")


@pytest.mark.parametrize("module", COMMANDS)
def test_command_that_is_called_wrongly_ends_with_2(
    module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([], ["--no-such-option"]):
        with pytest.raises(SystemExit) as ended:
            main_of(module)(arguments)
        assert ended.value.code == 2
        assert f"python -m {module}: error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("svckit.keys", ["add", "/nowhere/keys.json"]),
        ("svckit.call", ["127.0.0.1:1", "AuthService/GetJwks"]),
        ("svckit.health", ["127.0.0.1:1"]),
        ("svckit.health", ["grpc", "127.0.0.1:1"]),
        ("svckit.health", ["http", "127.0.0.1:1"]),
    ],
)
def test_command_that_cannot_be_done_ends_with_1(
    module: str, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_of(module)(arguments) == 1
    output = capsys.readouterr()
    assert not output.out
    assert output.err


@pytest.mark.parametrize("command", [["svckit.redrive", "list"], ["svckit.groups", "list"]])
def test_command_without_its_settings_ends_with_2(
    command: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, *arguments = command
    monkeypatch.delenv("BUS_REDIS_URL", raising=False)
    assert main_of(module)(arguments) == 2
    assert "BUS_REDIS_URL: required" in capsys.readouterr().err
    monkeypatch.setenv("BUS_REDIS_URL", "redis://127.0.0.1:1/0")
    assert main_of(module)(arguments) == 1
    assert capsys.readouterr().err == f"{module}: the bus does not answer\n"
