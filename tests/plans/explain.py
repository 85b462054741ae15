"""A report on every statement of user_svc: its plan, and its time with and without its indexes.

    python -m tests.plans.explain > explain.txt

On a throw-away PostgreSQL with 100,000 people and 2,000,000 edges; takes a few minutes.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence

from devstack import postgres
from devstack.dataset import FULL, load, progress_bar
from devstack.rig import durable, rig_folder
from svckit.postgres.client import connect
from tests.plans.plans import BEFORE_TIMEOUT_S, Node, Plan, PlanRecorder
from tests.plans.queries import TABLES, ask_everything, prepare

DETAILS = (
    "Index Cond",
    "Recheck Cond",
    "Filter",
    "Rows Removed by Filter",
    "Hash Cond",
    "Join Filter",
    "Sort Key",
    "Heap Fetches",
)


async def explain_all(dsn: str) -> list[Plan]:
    world = await load(dsn, FULL, progress_bar)
    session = await connect(dsn)
    try:
        await prepare(session, world)
        recorder = PlanRecorder(session, compare=True)
        await recorder.use_planner_settings()
        await ask_everything(recorder, world)
        return recorder.plans
    finally:
        await session.close()


def report(plans: Sequence[Plan]) -> Iterator[str]:
    yield f"{'ms without':>12} {'ms with':>10}  indexes"
    for plan in plans:
        indexes = ", ".join(plan.indexes())
        yield f"{_before(plan):>12} {plan.after_ms:>10.2f}  {plan.method}: {indexes}"
    for plan in plans:
        yield ""
        yield f"== {plan.method}: {_before(plan)} ms without indexes, {plan.after_ms:.2f} ms with"
        yield from (f"   {line}" for line in plan.statement.strip().splitlines())
        yield from _tree(plan.root, 0)
        yield from (f"   PROBLEM: {problem}" for problem in plan.problems(TABLES))


def _before(plan: Plan) -> str:
    if plan.before_ms is None:
        return "-"
    is_cut_off = plan.before_ms >= BEFORE_TIMEOUT_S * 1000
    return f"{'> ' if is_cut_off else ''}{plan.before_ms:.2f}"


def _tree(node: Node, depth: int) -> Iterator[str]:
    indent = "   " + "  " * depth
    on = node.get("Index Name") or node.get("Relation Name") or node.get("CTE Name") or ""
    yield (
        f"{indent}-> {node['Node Type']} {on}"
        f" (rows {node['Actual Rows']:.0f} of {node['Plan Rows']} expected,"
        f" loops {node['Actual Loops']:.0f}, {node['Actual Total Time']:.3f} ms,"
        f" buffers {node['Shared Hit Blocks']} hit {node['Shared Read Blocks']} read)"
    )
    yield from (f"{indent}   {key}: {node[key]}" for key in DETAILS if key in node)
    for below in node.get("Plans", ()):
        yield from _tree(below, depth + 1)


async def main() -> None:
    with rig_folder() as folder:
        async with durable(postgres.STORE, folder) as dsn:
            plans = await explain_all(dsn)
    sys.stdout.writelines(f"{line}\n" for line in report(plans))


if __name__ == "__main__":
    asyncio.run(main())
