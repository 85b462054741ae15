"""The architecture as a test: which file may import what (docs/architecture.md has the table)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.programs import PROGRAMS

ROOT = Path(__file__).resolve().parents[2]
SERVICES = tuple(program.name for program in PROGRAMS)
DRIVERS = ("asyncpg", "redis", "motor", "pymongo", "grpc")
AREAS = tuple(f"newsfeed.{area}" for area in ("user", "content", "feed", "analytics", "events"))
MESSAGES = ("newsfeed", "google")
CORE = ("svckit.errors", "svckit.ids", "svckit.validation")

FILES = [path for name in SERVICES for path in sorted((ROOT / name).rglob("*.py"))]
KIT = sorted((ROOT / "svckit").rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def handled_messages(path: Path, packages: tuple[str, ...]) -> set[str]:
    """Names from `packages` that are used for more than the numbers of a message's fields."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if is_within(getattr(node, "module", None) or alias.name, packages)
    }
    numbers = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.endswith("_FIELD_NUMBER")
        for inner in ast.walk(node)
    }
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in imported and node not in numbers
    }


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 10
    assert len(KIT) > 10


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_services_share_protos_and_svckit_and_nothing_else(path: Path) -> None:
    others = tuple(name for name in SERVICES if name != path.relative_to(ROOT).parts[0])
    forbidden = (*others, "devstack", "tests", "bench")
    assert not [module for module in imports(path) if is_within(module, forbidden)]


@pytest.mark.parametrize("path", KIT, ids=names(KIT))
def test_svckit_knows_no_service(path: Path) -> None:
    """Of the contract it knows errors and access, the events that it carries, and who signs."""
    general: tuple[str, ...] = ("newsfeed.options", "newsfeed.errors", "newsfeed.events")
    if path.stem == "identity":
        general += ("newsfeed.user",)
    for module in imports(path):
        assert not is_within(module, (*SERVICES, "devstack", "tests", "bench"))
        assert not is_within(module, ("newsfeed",)) or is_within(module, general), module


def test_tests_import_nothing_of_bench() -> None:
    tests = sorted((ROOT / "tests").rglob("*.py"))
    assert not names(
        [path for path in tests if any(is_within(m, ("bench",)) for m in imports(path))]
    )


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_drivers_stay_at_the_edges(path: Path) -> None:
    """Only stores and clients talk to a driver; messages end at servicers and events.

    What is kept encoded is put together by the numbers of fields: those any file may know.

    The gateway handles any message by its descriptor, and knows none of them by name.
    """
    found = set(imports(path))
    messages = AREAS if path.relative_to(ROOT).parts[0] == "gateway" else MESSAGES
    if not path.stem.endswith(("store", "clients")):
        assert not [module for module in found if is_within(module, DRIVERS)]
    if not path.stem.endswith(("servicer", "drafts", "consumer", "events", "clients", "app")):
        assert not handled_messages(path, messages)


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_data_flows_in_one_direction(path: Path) -> None:
    service, found = path.relative_to(ROOT).parts[0], set(imports(path))
    own = {module for module in found if is_within(module, (service,)) and module != service}
    if path.stem == "model":
        assert not own
        assert not [m for m in found if is_within(m, ("svckit",)) and not is_within(m, CORE)]
    if path.stem not in {"app", "__main__", "prewarm"} and not path.stem.endswith("servicer"):
        outer = [m for m in own if "servicer" in m or is_within(m, (f"{service}.app",))]
        assert not outer
    if path.stem.endswith("store"):
        inner = ("model", "texts", "keys", "codec", "fences", "store")
        assert not [m for m in own if not m.split(".")[1].endswith(inner)]


@pytest.mark.parametrize("path", FILES + KIT, ids=names(FILES + KIT))
def test_the_environment_is_read_in_one_place(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    is_edge = path.stem in {"__main__", "program", "groups", "redrive"}
    assert is_edge or "os.environ" not in source.replace("`os.environ`", "")
    assert "getenv" not in source


@pytest.mark.parametrize("path", FILES + KIT, ids=names(FILES + KIT))
def test_files_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
