"""Many look-ups of one thing each, done as few look-ups of many.

A key is looked up at once; those that are asked for meanwhile go together in the next look-up, each
once. A look-up of several keys means that there is more to come: the next one begins when `enough`
keys wait for it, or `interval_s` after it. So a quiet service answers as fast as without, and a
busy one makes one round trip for many calls. No key ever joins a look-up that has begun: what is
returned was read after it was asked for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Batches(Generic[K, V]):
    """Gives what `load` finds for a key, or None, or raises what it raises."""

    def __init__(
        self,
        load: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]],
        *,
        keys_max: int = 500,
        interval_s: float = 0.002,
        enough: int = 16,
    ) -> None:
        self._load = load
        self._keys_max = keys_max
        self._interval_s = interval_s
        self._enough = enough
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._are_enough = asyncio.Event()
        self._next_at_s = 0.0

    async def get(self, key: K) -> V | None:
        return await self.ask(key)

    def ask(self, key: K) -> asyncio.Future[V | None]:
        """The same for who has something else to do before the answer is needed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[V | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(future)
        if len(self._waiting) >= self._enough:
            self._are_enough.set()
        if self._task is None or self._task.done():
            # In no call's context: it works for many, and outlives any of them.
            self._task = loop.create_task(self._load_waiting(loop), context=Context())
        return future

    async def _load_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            if (pause_s := self._next_at_s - loop.time()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._are_enough.wait()
            asked = {key: self._waiting.pop(key) for key in [*self._waiting][: self._keys_max]}
            if len(self._waiting) < self._enough:
                self._are_enough.clear()
            is_busy = len(asked) > 1
            self._next_at_s = loop.time() + self._interval_s if is_busy else 0.0
            try:
                found = await self._load([*asked])
            except Exception as error:  # noqa: BLE001 whatever it is, it is for those who asked
                for future in _unsettled(asked):
                    future.set_exception(error)
                    future.exception()  # whoever asked may have given up since: no matter
            else:
                for key, futures in asked.items():
                    for future in _unsettled({key: futures}):
                        future.set_result(found.get(key))


def _unsettled(
    asked: Mapping[K, Sequence[asyncio.Future[V | None]]],
) -> list[asyncio.Future[V | None]]:
    """Without those whose callers have given up."""
    return [future for futures in asked.values() for future in futures if not future.done()]
