"""The rules of the house about files: each takes a file and tells what is wrong in it."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import PurePosixPath

from devstack.programs import PROGRAMS

SERVICES = tuple(program.name for program in PROGRAMS)
PROGRAM = ("svckit", *SERVICES)
AREAS = tuple(f"newsfeed.{area}" for area in ("user", "content", "feed", "analytics", "events"))
MESSAGES = ("newsfeed", "google")
CORE = ("svckit.errors", "svckit.ids", "svckit.validation")
LINES_MAX = 400

DRIVERS = {
    "redis": ("svckit/events/redis/*", "feed_svc/*store.py", "gateway/limit_store.py"),
    "motor": ("svckit/mongo/*",),
    "pymongo": ("svckit/mongo/*",),
    "bson": ("svckit/mongo/*",),
    "asyncpg": ("svckit/postgres/*",),
    "grpc": ("svckit/rpc/*", "svckit/call.py", "svckit/health.py", "*/clients.py"),
}
"""Where in the program a driver may be imported."""

ENGINES = {
    "svckit.events.redis": (
        "svckit/events/redis/*",
        "svckit/events/engine.py",
        "tests/contract/*",
        "tests/faults/test_bus_*.py",
        "tests/oracle/*",
    ),
}
"""Where an engine of the bus may be imported: where one is chosen, tried or damaged."""

ROOMS = {
    "auth": (),
    "rpc": ("auth",),
    "events": (),
    "postgres": ("events",),
    "mongo": ("events",),
}
"""Which rooms of svckit a room knows besides itself and the ground floor."""

GROUND = {
    "context": ("auth",),
    "program": ("auth",),
    "keys": ("auth",),
    "call": ("rpc",),
    "groups": ("events",),
    "redrive": ("events",),
}
"""The files on the ground floor that know a room: for the caller's type, and the commands."""


@dataclass(frozen=True)
class File:
    """A Python file by its path from the root of the repository."""

    name: str
    source: str

    @property
    def path(self) -> PurePosixPath:
        return PurePosixPath(self.name)

    @property
    def package(self) -> str:
        return self.path.parts[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def imports(self) -> set[str]:
        """Modules, and what is taken from them as if it were one."""
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        return found

    def imports_of(self, *packages: str) -> list[str]:
        return sorted(module for module in self.imports if is_within(module, packages))

    def is_one_of(self, patterns: tuple[str, ...]) -> bool:
        return any(fnmatch(self.name, pattern) for pattern in patterns)


Rule = Callable[[File], Iterator[str]]


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def imports_are_absolute(file: File) -> Iterator[str]:
    yield from (module for module in file.imports if module.startswith("."))


def services_share_protos_and_svckit_alone(file: File) -> Iterator[str]:
    if file.package in SERVICES:
        others = (name for name in SERVICES if name != file.package)
        yield from file.imports_of(*others, "devstack", "tests", "bench")


def svckit_knows_no_service(file: File) -> Iterator[str]:
    """Of the contract it knows errors and access, the events that it carries, and who signs."""
    if file.package == "svckit":
        yield from file.imports_of(*SERVICES, "devstack", "tests", "bench")
        known: tuple[str, ...] = ("newsfeed.options", "newsfeed.errors", "newsfeed.events")
        if file.path.stem == "identity":
            known += ("newsfeed.user",)
        yield from (
            each
            for each in file.imports_of("newsfeed")
            if each != "newsfeed" and not is_within(each, known)
        )


def tests_need_no_bench(file: File) -> Iterator[str]:
    if file.package == "tests":
        yield from file.imports_of("bench")


def drivers_stay_in_their_rooms(file: File) -> Iterator[str]:
    if file.package in PROGRAM:
        for driver, patterns in DRIVERS.items():
            if not file.is_one_of(patterns):
                yield from file.imports_of(driver)


def engines_are_known_where_one_is_chosen(file: File) -> Iterator[str]:
    for engine, patterns in ENGINES.items():
        if not file.is_one_of(patterns):
            yield from file.imports_of(engine)


def rooms_know_few_others(file: File) -> Iterator[str]:
    if file.package == "svckit":
        room, is_ground = file.path.parts[1], len(file.path.parts) == 2
        known = GROUND.get(file.path.stem, ()) if is_ground else (room, *ROOMS[room])
        unknown = (f"svckit.{name}" for name in ROOMS if name not in known)
        yield from file.imports_of(*unknown)


def messages_end_at_the_edges(file: File) -> Iterator[str]:
    """What is kept encoded is put together by the numbers of fields: those any file may know.

    The gateway handles any message by its descriptor, and knows none of them by name.
    """
    edges = ("servicer", "drafts", "consumer", "events", "clients", "app")
    if file.package in SERVICES and not file.path.stem.endswith(edges):
        yield from handled_messages(file, AREAS if file.package == "gateway" else MESSAGES)


def handled_messages(file: File, packages: tuple[str, ...]) -> set[str]:
    """Names from `packages` that are used for more than the numbers of a message's fields."""
    imported = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if is_within(getattr(node, "module", None) or alias.name, packages)
    }
    numbers = {
        inner
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Attribute) and node.attr.endswith("_FIELD_NUMBER")
        for inner in ast.walk(node)
    }
    return {
        node.id
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Name) and node.id in imported and node not in numbers
    }


def data_flows_in_one_direction(file: File) -> Iterator[str]:
    if file.package not in SERVICES:
        return
    service, stem = file.package, file.path.stem
    own = [module for module in file.imports_of(service) if module != service]
    if stem == "model":
        yield from own
        yield from (each for each in file.imports_of("svckit") if not is_within(each, CORE))
    if stem not in {"app", "__main__", "prewarm"} and not stem.endswith("servicer"):
        yield from (
            each for each in own if "servicer" in each or is_within(each, (f"{service}.app",))
        )
    if stem.endswith("store"):
        inner = ("model", "texts", "keys", "codec", "fences", "store")
        yield from (each for each in own if not each.split(".")[1].endswith(inner))


def the_environment_is_read_in_one_place(file: File) -> Iterator[str]:
    if file.package in PROGRAM:
        is_edge = file.path.stem in {"__main__", "program", "groups", "redrive"}
        if not is_edge and "os.environ" in file.source.replace("`os.environ`", ""):
            yield "os.environ"
        if "getenv" in file.source:
            yield "getenv"


def files_can_be_read_in_one_sitting(file: File) -> Iterator[str]:
    lines = len(file.source.splitlines())
    if file.package in PROGRAM and lines > LINES_MAX:
        yield f"{lines} lines"


def tests_hand_values_in(file: File) -> Iterator[str]:
    """No test sets an attribute of a module, a class or a function of the program, nor mocks one.

    The seeded mistakes are made in copies of the program's files. Environment variables may be set.
    """
    if file.package != "tests":
        return
    yield from file.imports_of("unittest.mock", "mock", "pytest_mock")
    program = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if is_within(getattr(node, "module", None) or alias.name, (*PROGRAM, "devstack"))
    }

    def is_programs(node: ast.AST) -> bool:
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        return isinstance(node, ast.Name) and node.id in program

    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call):
            function = node.func
            is_patch = isinstance(function, ast.Attribute) and function.attr in {
                "setattr",
                "delattr",
                "setitem",
                "delitem",
            }
            is_set = isinstance(function, ast.Name) and function.id in {"setattr", "delattr"}
            if is_patch or (is_set and is_programs(node.args[0])):
                yield ast.unparse(node)
        elif (
            isinstance(node, ast.Attribute | ast.Subscript)
            and not isinstance(node.ctx, ast.Load)
            and is_programs(node)
        ):
            yield ast.unparse(node)


RULES: tuple[Rule, ...] = (
    imports_are_absolute,
    services_share_protos_and_svckit_alone,
    svckit_knows_no_service,
    tests_need_no_bench,
    drivers_stay_in_their_rooms,
    engines_are_known_where_one_is_chosen,
    rooms_know_few_others,
    messages_end_at_the_edges,
    data_flows_in_one_direction,
    the_environment_is_read_in_one_place,
    files_can_be_read_in_one_sitting,
    tests_hand_values_in,
)


def broken_rules(file: File) -> list[str]:
    """What is wrong in the file, each with the name of its rule."""
    return [f"{rule.__name__}: {what}" for rule in RULES for what in rule(file)]
