"""The plan of every statement that a store really sends.

A `PlanRecorder` stands in for a store's database. Each statement is explained first (executed, and
undone), then done; if wanted also explained as it would be without the indexes that it used.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import asyncpg

from svckit.postgres.client import PLANNER_SETTINGS, Connection, Database, Record, Session

Node: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"
BEFORE_TIMEOUT_S = 5
WASTED_ROWS_MAX = 2_000
# The planner passes over an index that is not valid; rolled back, nothing has happened to it.
HIDE_INDEXES = """
UPDATE pg_index SET indisvalid = false
FROM pg_class WHERE pg_class.oid = indexrelid AND relname = ANY($1)
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """One statement of a store's method: how it was run, and how long it took without indexes."""

    method: str
    statement: str
    values: tuple[object, ...]
    root: Node
    after_ms: float
    before_ms: float | None = None  # BEFORE_TIMEOUT_S at most; None when it uses no index

    def nodes(self) -> Iterator[Node]:
        return _walk(self.root)

    def indexes(self) -> list[str]:
        return sorted({node["Index Name"] for node in self.nodes() if "Index Name" in node})

    def problems(self, tables: frozenset[str]) -> list[str]:
        """What would grow with those tables, whatever is asked for."""
        found = [
            f"sequential scan of {node['Relation Name']}"
            for node in self.nodes()
            if node["Node Type"] == "Seq Scan" and _table(node) in tables and not _is_empty(node)
        ]
        for node in self.nodes():
            if _table(node) not in tables:
                continue
            loops = node["Actual Loops"]
            if (wasted := node.get("Rows Removed by Filter", 0) * loops) > WASTED_ROWS_MAX:
                found.append(f"{wasted:.0f} rows of {node['Relation Name']} read for nothing")
        return found


class PlanRecorder(Database):
    """A database of one session; every statement leaves a `Plan`, but none of `session` itself."""

    def __init__(self, session: Session, *, compare: bool) -> None:
        self.session = session
        self._compare = compare
        self._method = ""
        self.plans: list[Plan] = []

    async def ask(self, method: Callable[..., Awaitable[T]], *args: Any, **options: Any) -> T:
        """Calls a store's method; the plans are filed under its name."""
        self.file_under(method)
        return await method(*args, **options)

    async def use_planner_settings(self) -> None:
        """Plans as the pools of the services do."""
        for name, value in PLANNER_SETTINGS.items():
            await self.session.execute(f"SET {name} = '{value}'")

    def file_under(self, method: Callable[..., object]) -> None:
        self._method = method.__qualname__

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self.session.transaction():
            return await work(self)

    async def fetch(self, query: str, *args: object) -> list[Record]:
        await self._record(query, args)
        return await self.session.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> Record | None:
        await self._record(query, args)
        return await self.session.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        await self._record(query, args)
        return await self.session.fetchval(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        await self._record(query, args)
        return await self.session.execute(query, *args)

    async def _record(self, query: str, args: tuple[object, ...]) -> None:
        await self._explain(query, args)  # so that the next one finds warm caches, like all later
        after = await self._explain(query, args)
        plan = Plan(self._method, query, args, after["Plan"], after["Execution Time"])
        if self._compare and (indexes := plan.indexes()):
            plan = replace(plan, before_ms=await self._time_without(indexes, query, args))
        self.plans.append(plan)

    async def _explain(self, query: str, args: tuple[object, ...]) -> Node:
        async with undone(self.session):
            explained: Node = json.loads(await self.session.fetchval(f"{EXPLAIN} {query}", *args))[
                0
            ]
        return explained

    async def _time_without(
        self, indexes: list[str], query: str, args: tuple[object, ...]
    ) -> float:
        async with undone(self.session):
            await self.session.execute(HIDE_INDEXES, indexes)
            await self.session.execute(f"SET LOCAL statement_timeout = '{BEFORE_TIMEOUT_S}s'")
            try:
                return float((await self._explain(query, args))["Execution Time"])
            except asyncpg.QueryCanceledError:
                return BEFORE_TIMEOUT_S * 1000.0


@asynccontextmanager
async def undone(session: Session) -> AsyncGenerator[None]:
    """A transaction, or a part of one, that is rolled back at its end."""
    transaction = session.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for below in node.get("Plans", ()):
        yield from _walk(below)


def _is_empty(scan: Node) -> bool:
    """There was nothing to read, as in partitions that are made ahead: no index is better."""
    rows = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
    return bool(scan["Actual Loops"] and not rows)


def _table(node: Node) -> str:
    """The table that is read; of a partition, the whole."""
    name: str = node.get("Relation Name", "")
    return "outbox" if name.startswith("outbox_") and name != "outbox_lease" else name
