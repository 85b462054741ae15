"""Around a command for who looks after the bus: its settings, its connection, how it ends."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping

from svckit.errors import Unavailable
from svckit.events.redis.bus import BusMismatch, BusSettings, RedisBus
from svckit.settings import SettingsError, load

Work = Callable[[RedisBus, BusSettings], Awaitable[None]]


class Refused(Exception):
    """Why nothing was done."""


def run_command(name: str, environment: Mapping[str, str], work: Work) -> int:
    """Returns the exit code; what an operator can mend is told in a line, without a traceback."""
    try:
        asyncio.run(_run(load(BusSettings, environment), work))
    except (SettingsError, BusMismatch) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    except Refused as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    except Unavailable:
        sys.stderr.write(f"{name}: the bus does not answer\n")
        return 1
    return 0


async def _run(settings: BusSettings, work: Work) -> None:
    bus = RedisBus(settings)
    try:
        await work(bus, settings)
    finally:
        await bus.close()
