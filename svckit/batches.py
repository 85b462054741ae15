"""Many small things done as few large ones: reads by a `Coalescer`, commands by a `Gatherer`.

The first is done at once; those that come meanwhile go together in the next round. A round of
several means that there is more to come: the next one begins when `enough` wait for it, or
`interval_s` after it. So a quiet service answers as fast as without, and a busy one makes one round
trip for many calls. Nothing ever joins a round that has begun: what is returned was read, or done,
after it was asked for.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
C = TypeVar("C")
R = TypeVar("R")
W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class RoundSettings:
    """`most` questions, or commands, go into a round."""

    most: int = 500
    interval_s: float = 0.002
    enough: int = 16


class _Rounds(ABC, Generic[W]):
    """One round after another, by one task, while anything waits."""

    def __init__(self, settings: RoundSettings | None) -> None:
        self._settings = settings or RoundSettings()
        self._waiting: dict[Any, W] = {}
        self._task: asyncio.Task[None] | None = None
        self._are_enough = asyncio.Event()
        self._next_at_s = 0.0

    @abstractmethod
    async def _settle(self, taken: Mapping[Any, W]) -> None:
        """Does a round; every future of it that is still waited for has a result afterwards."""

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Something new waits."""
        if len(self._waiting) >= self._settings.enough:
            self._are_enough.set()
        if self._task is None or self._task.done():
            # In no call's context: it works for many, and outlives any of them.
            self._task = loop.create_task(self._run(loop), context=Context())

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        settings = self._settings
        while self._waiting:
            if (pause_s := self._next_at_s - loop.time()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._are_enough.wait()
            first = [*islice(self._waiting, settings.most)]
            taken = {key: self._waiting.pop(key) for key in first}
            if len(self._waiting) < settings.enough:
                self._are_enough.clear()
            self._next_at_s = loop.time() + settings.interval_s if len(taken) > 1 else 0.0
            await self._settle(taken)


class Coalescer(_Rounds["list[tuple[asyncio.Future[Any], bool]]"], Generic[K, V]):
    """Gives what `load` finds for keys, or raises what it raises. Equal questions are one."""

    def __init__(
        self,
        load: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]],
        settings: RoundSettings | None = None,
    ) -> None:
        super().__init__(settings)
        self._load = load

    async def get(self, key: K) -> V | None:
        return await self.ask(key)

    def ask(self, key: K) -> asyncio.Future[V | None]:
        """The same for a caller with something else to do before the answer is needed."""
        return self._ask((key,), is_one=True)

    async def get_all(self, keys: tuple[K, ...]) -> Mapping[K, V]:
        """The values of these keys, and perhaps of others that were asked for beside them."""
        found: Mapping[K, V] = await self._ask(keys, is_one=False)
        return found

    def _ask(self, keys: tuple[K, ...], *, is_one: bool) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.setdefault(keys, []).append((future, is_one))
        self._wake(loop)
        return future

    async def _settle(
        self, taken: Mapping[tuple[K, ...], "list[tuple[asyncio.Future[Any], bool]]"]
    ) -> None:
        try:
            found = await self._load([*dict.fromkeys(chain.from_iterable(taken))])
        except Exception as error:  # noqa: BLE001 whatever it is, it is for those who asked
            for future, _ in chain.from_iterable(taken.values()):
                _fail(future, error)
            return
        for keys, askers in taken.items():
            for future, is_one in askers:
                if not future.done():  # the caller may have given up
                    future.set_result(found.get(keys[0]) if is_one else found)


class Gatherer(_Rounds["tuple[C, asyncio.Future[R]]"], Generic[C, R]):
    """Does commands, each for itself: equal ones are two, and each has its own outcome.

    `work` returns an outcome for each command, in their order; an exception among them is raised to
    the caller of that command. What `work` raises is raised to all.
    """

    def __init__(
        self,
        work: Callable[[Sequence[C]], Awaitable[Sequence[R | BaseException]]],
        settings: RoundSettings | None = None,
    ) -> None:
        super().__init__(settings)
        self._work = work
        self._numbers = count()

    async def do(self, command: C) -> R:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting[next(self._numbers)] = command, future
        self._wake(loop)
        return await future

    async def _settle(self, taken: Mapping[int, "tuple[C, asyncio.Future[R]]"]) -> None:
        commands = [command for command, _ in taken.values()]
        outcomes: Sequence[R | BaseException]
        try:
            outcomes = await self._work(commands)
        except Exception as error:  # noqa: BLE001 whatever it is, it is for those who asked
            outcomes = [error] * len(commands)
        for (_, future), outcome in zip(taken.values(), outcomes, strict=True):
            if isinstance(outcome, BaseException):
                _fail(future, outcome)
            elif not future.done():
                future.set_result(outcome)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """Harmless when the caller has given up, before or since."""
    if not future.done():
        future.set_exception(error)
        future.exception()
