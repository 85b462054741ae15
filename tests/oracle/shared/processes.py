"""What runs as a process of its own would, and may be killed: then it says good-bye to nobody."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from svckit.events.redis.bus import RedisBus
from svckit.events.settings import BusSettings
from svckit.mongo.client import Mongo
from svckit.mongo.outbox import MongoOutbox

ASK_AGAIN_S = 0.2
FAREWELLS = frozenset({"acknowledge", "release", "leave", "release_lease"})

Step: TypeAlias = Callable[[str], Awaitable[None]]
"""Is done before each call, whose name it gets."""


class Process:
    """Some work, whose calls to the bus and the outbox go through `step`."""

    def __init__(self) -> None:
        self._is_killed = False

    async def step(self, call: str) -> None:
        if self._is_killed and call in FAREWELLS:
            raise ConnectionError("killed")

    def begin(self, work: Coroutine[None, None, None]) -> None:
        self._task = asyncio.create_task(work)

    async def kill(self) -> None:
        """At once: nothing is acknowledged, and its leases stay until they end."""
        self._is_killed = True
        await self.stop()

    async def stop(self) -> None:
        """In good order. What fails at this very moment can swallow the first wish."""
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=ASK_AGAIN_S)


class SteppedBus(RedisBus):
    """The bus of one member of a group."""

    def __init__(self, settings: BusSettings, step: Step) -> None:
        super().__init__(settings)
        self._step = step

    async def hold(self, *asked: Any) -> Any:
        await self._step("hold")
        return await super().hold(*asked)

    async def acknowledge(self, *asked: Any) -> Any:
        await self._step("acknowledge")
        return await super().acknowledge(*asked)

    async def release(self, *asked: Any) -> None:
        await self._step("release")
        await super().release(*asked)

    async def leave(self, *asked: Any) -> None:
        await self._step("leave")
        await super().leave(*asked)

    async def set_aside(self, *asked: Any) -> bool:
        await self._step("set_aside")
        return await super().set_aside(*asked)


class SteppedOutbox(MongoOutbox):
    """The outbox of one relay."""

    def __init__(self, mongo: Mongo, step: Step) -> None:
        super().__init__(mongo)
        self._step = step

    async def release_lease(self, owner: str) -> None:
        await self._step("release_lease")
        await super().release_lease(owner)
