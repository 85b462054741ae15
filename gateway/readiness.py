"""Should requests be sent here? Asked by load balancers, answered from memory.

Ready from when every service that this installation has answered well for the first time. Later the
gateway stays ready while any of them serves: one service that is gone takes its own calls with it,
not all others'. Not ready as soon as the gateway stops.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

logger = logging.getLogger(__name__)


class Readiness:
    def __init__(
        self,
        targets: Mapping[str, str],
        require_serving: Callable[[str], Awaitable[None]],
        every_s: float,
    ) -> None:
        self._targets = targets
        self._require_serving = require_serving
        self._every_s = every_s
        self._serving = dict.fromkeys(targets, False)
        self._has_begun = False
        self._is_draining = False

    @property
    def is_ready(self) -> bool:
        return self._has_begun and not self._is_draining and any(self._serving.values())

    def report(self) -> Mapping[str, object]:
        services = {name: "serving" if up else "away" for name, up in self._serving.items()}
        return {"ready": self.is_ready, "services": services}

    def drain(self) -> None:
        self._is_draining = True

    async def run(self) -> None:
        """Asks all of them for ever, side by side; each change is logged."""
        async with asyncio.TaskGroup() as group:
            for name in self._targets:
                group.create_task(self._watch(name))

    async def _watch(self, name: str) -> None:
        while True:
            await self._check(name)
            self._has_begun = self._has_begun or all(self._serving.values())
            await asyncio.sleep(self._every_s)

    async def _check(self, name: str) -> None:
        reason = ""
        try:
            await self._require_serving(self._targets[name])
        except Exception as error:  # noqa: BLE001 whatever it is: not serving, and the log says why
            reason = repr(error)
        if self._serving[name] == bool(reason):
            self._serving[name] = not reason
            logger.info("service_changed", extra={"to": name, "serving": not reason, "why": reason})
