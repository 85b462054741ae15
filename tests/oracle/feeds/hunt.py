"""Runs of the oracle for as long as there is time."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.oracle.feeds.machine import STEPS, HomeFeeds
from tests.oracle.feeds.world import World

# Below 10, Hypothesis makes each anew: above, it varies those that it has, and most are alike.
RUNS_AT_ONCE = 9
FIND = (Phase.generate,)
FIND_AND_SHRINK = (Phase.generate, Phase.shrink)


async def hunt(world: World, seconds: float, phases: Sequence[Phase]) -> str:
    """Raises what was found; else tells how many runs there were."""
    began_s = time.monotonic()
    machine = cast("type[HomeFeeds]", partial(HomeFeeds, world, asyncio.get_running_loop()))
    world.ends_at_s = began_s + seconds
    options = settings(
        max_examples=RUNS_AT_ONCE,
        stateful_step_count=STEPS,
        phases=phases,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    def look() -> None:
        while not world.is_over:
            run_state_machine_as_test(machine, settings=options)

    await asyncio.to_thread(look)
    took_s = time.monotonic() - began_s
    return (
        f"{world.runs} runs of {STEPS} steps in {took_s:.0f} s; "
        f"{world.pages} pages, {world.degraded_pages} of them degraded"
    )
