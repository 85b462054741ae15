"""user_svc with a probe of its event loop: what late wake-ups cost every other call.

    python -m bench.tools.lag    (settings of user_svc, and LAG_FILE: where samples go in the end)

A sample is a moment (monotonic clock, the same in all processes) and how late the loop was then.
"""

import asyncio
import json
import os
import time
from pathlib import Path

import uvloop

from svckit.logs import configure_logs
from svckit.settings import load
from user_svc.app import run
from user_svc.settings import Settings

FILE_VARIABLE = "LAG_FILE"
PROBE_S = 0.001


async def main() -> list[tuple[float, float]]:
    samples: list[tuple[float, float]] = []
    probing = asyncio.create_task(_probe(samples))
    await run(load(Settings, os.environ), "api")
    probing.cancel()
    return samples


async def _probe(samples: list[tuple[float, float]]) -> None:
    while True:
        asked_s = time.monotonic()
        await asyncio.sleep(PROBE_S)
        now_s = time.monotonic()
        samples.append((now_s, now_s - asked_s - PROBE_S))


if __name__ == "__main__":
    configure_logs("user_svc", "info")
    collected = uvloop.run(main())
    Path(os.environ[FILE_VARIABLE]).write_text(json.dumps(collected), encoding="ascii")
