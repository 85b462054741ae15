"""Every change of a service meets a conflict once, as if another had been in its way."""

import ast
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from svckit.mongo import changes as mongo
from svckit.mongo.errors import TransactionConflict as MongoConflict
from svckit.postgres import changes as postgres
from svckit.postgres.errors import TransactionConflict as PostgresConflict

C = TypeVar("C")
T = TypeVar("T")


def outrun_in_postgres(tries: Counter[str]) -> type[postgres.Changes]:
    """The unit of work to hand in; it counts how often each use case's work was done."""

    class Outrun(postgres.Changes):
        async def run(self, work: Callable[[postgres.Change], Awaitable[T]]) -> T:
            return await super().run(_outrun_once(work, tries, PostgresConflict()))

    return Outrun


def outrun_in_mongo(tries: Counter[str]) -> type[mongo.Changes]:
    """As `outrun_in_postgres`."""

    class Outrun(mongo.Changes):
        async def run(self, work: Callable[[mongo.Change], Awaitable[T]]) -> T:
            return await super().run(_outrun_once(work, tries, MongoConflict()))

    return Outrun


def use_cases_that_write(package: Path) -> set[str]:
    """The functions of a service that run a change, named as Python does."""
    found = set()
    for path in package.glob("*.py"):
        for scope in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(scope, ast.ClassDef):
                functions = [each for each in scope.body if isinstance(each, ast.AsyncFunctionDef)]
                found |= {f"{scope.name}.{each.name}" for each in functions if _runs_a_change(each)}
    return found


def _outrun_once(
    work: Callable[[C], Awaitable[T]], tries: Counter[str], conflict: Exception
) -> Callable[[C], Awaitable[T]]:
    """The first try fails with all its work done, and nothing of it committed."""
    use_case = work.__qualname__.partition(".<locals>")[0]
    is_first = True

    async def outrun(change: C) -> T:
        nonlocal is_first
        result = await work(change)
        tries[use_case] += 1
        if is_first:
            is_first = False
            raise conflict
        return result

    return outrun


def _runs_a_change(function: ast.AsyncFunctionDef) -> bool:
    calls = [ast.unparse(each.func) for each in ast.walk(function) if isinstance(each, ast.Call)]
    return "self._changes.run" in calls
