"""Whatever names the programs names those of devstack/programs.py: a new one is one entry there.

A test that fails says which file lacks the program.
"""

import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from devstack.programs import BUS_GROUPS, PROGRAMS, Program, environment_of, make_keys
from devstack.settings import StackSettings
from svckit.settings import describe

ROOT = Path(__file__).parents[2]
SERVING_GRPC = [program for program in PROGRAMS if not program.serves_http]
EVERY_PROGRAM = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)


def text(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def settings_of(program: Program) -> type[Any]:
    settings: type[Any] = importlib.import_module(f"{program.name}.settings").Settings
    return settings


def has_setting(settings: type[Any], name: str, default: object = "") -> bool:
    lines = [line.split() for line in describe(settings).splitlines()]
    return any(line[0] == name and line[-1].endswith(f"{default})") for line in lines)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text("docker-compose.yml"))["services"]
    return loaded


@EVERY_PROGRAM
def test_the_wheel_and_the_image_have_it(program: Program) -> None:
    wheel = tomllib.loads(text("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert program.name in wheel["packages"]
    assert f"COPY {program.name} {program.name}\n" in text("Dockerfile")
    assert f"!{program.name}\n" in text(".dockerignore")


def test_the_image_exposes_the_ports_of_all() -> None:
    [line] = [line for line in text("Dockerfile").splitlines() if line.startswith("EXPOSE ")]
    assert sorted(map(int, line.split()[1:])) == sorted(program.port for program in PROGRAMS)


@EVERY_PROGRAM
def test_its_port_is_the_default_everywhere(program: Program) -> None:
    assert has_setting(settings_of(program), program.port_variable, program.port)
    assert has_setting(StackSettings, program.port_variable, program.port)
    assert f"| `python -m {program.name}` | {program.port}" in text("README.md")
    assert f"| `{program.name}/` |" in text("docs/architecture.md")


@EVERY_PROGRAM
def test_it_reads_the_bus_under_its_name_or_not_at_all(program: Program) -> None:
    has_consumer = (ROOT / program.name / "consumer.py").exists()
    assert has_consumer == program.reads_bus
    if has_consumer:
        assert program.name == importlib.import_module(f"{program.name}.consumer").GROUP


@EVERY_PROGRAM
def test_compose_runs_it_and_tells_it_of_all_others(
    program: Program, compose: dict[str, Any]
) -> None:
    service = compose[program.name]
    assert service["command"] == ["python", "-m", program.name, *program.arguments]
    assert service["ports"] == [f"127.0.0.1:{program.port}:{program.port}"]
    assert service["healthcheck"]["test"][-1] == f"localhost:{program.port}"
    told = service["environment"]
    assert told["BUS_GROUPS"] == BUS_GROUPS
    for other in SERVING_GRPC:
        assert told[other.target_variable] == f"dns:///{other.name}:{other.port}"
    variable = "USER_TOKEN_KEYS_FILE" if program.signs_user_tokens else "SERVICE_KEY_FILE"
    assert told[variable] == f"/keys/{program.key_file}"


def test_compose_makes_the_keys_of_all(compose: dict[str, Any]) -> None:
    script = compose["keys"]["command"][-1]
    callers = [program for program in PROGRAMS if not program.signs_user_tokens]
    assert f"for service in {' '.join(each.name for each in callers)}; do" in script
    assert f"public {' '.join(each.key_file for each in callers)} >" in script


def test_the_gateway_serves_what_all_others_offer() -> None:
    gateway = importlib.import_module("gateway.settings")
    for program in SERVING_GRPC:
        assert program.name in gateway.TargetSettings.__dataclass_fields__
        assert program.target_variable in describe(gateway.Settings)


@EVERY_PROGRAM
def test_devstack_tells_it_of_all_others(program: Program, tmp_path: Path) -> None:
    make_keys(tmp_path, PROGRAMS)
    told = environment_of(program, PROGRAMS, {}, tmp_path)
    targets = {name: value for name, value in told.items() if name.endswith("_TARGET")}
    others = [other for other in SERVING_GRPC if other is not program]
    assert targets == {other.target_variable: other.address for other in others}
