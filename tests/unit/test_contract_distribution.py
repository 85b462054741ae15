"""`newsfeed-contract` needs what messages and stubs need, and nothing of the servers."""

import ast
import sys
import tomllib
from pathlib import Path

import newsfeed

ROOT = Path(__file__).parents[2]
NEEDED = {"grpcio", "protobuf", "googleapis-common-protos"}
PACKAGES = {"grpc", "google", "newsfeed"}


def project(file: str) -> dict[str, list[str]]:
    loaded: dict[str, list[str]] = tomllib.loads((ROOT / file).read_text("utf-8"))["project"]
    return loaded


def test_it_depends_on_three_packages() -> None:
    dependencies = project("protos/pyproject.toml")["dependencies"]
    assert {each.partition(">")[0] for each in dependencies} == NEEDED


def test_the_servers_depend_on_it() -> None:
    assert "newsfeed-contract" in project("pyproject.toml")["dependencies"]


def test_its_code_imports_nothing_else() -> None:
    [folder] = newsfeed.__path__
    modules = list(Path(folder).rglob("*.py"))
    assert len(modules) > 10
    imported = {
        name.partition(".")[0]
        for module in modules
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names <= PACKAGES
