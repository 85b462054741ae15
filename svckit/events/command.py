"""Around a command for those who look after the bus: its settings, and how it ends."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping

from svckit.errors import Unavailable
from svckit.events.bus import BusMismatch
from svckit.events.settings import BusSettings
from svckit.settings import SettingsError, load

Work = Callable[[BusSettings], Coroutine[None, None, None]]


class Refused(Exception):
    """Why nothing was done."""


def run_command(name: str, environment: Mapping[str, str], work: Work) -> int:
    """Returns the exit code; what an operator can mend is told in a line, without a traceback."""
    try:
        asyncio.run(work(load(BusSettings, environment)))
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
