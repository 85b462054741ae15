"""Fan-out workers that are killed, frozen and thawed, with connections and a memory of their own.

A frozen worker is one whose process stands still: nothing it sends to Redis or the bus gets out,
and its clock stops, so it does not notice that its leases end. When it is thawed, what it was about
to write is written before anything else.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

from feed_svc.app import App, Limits, open_app
from feed_svc.consumer import GROUP
from feed_svc.engine_store import Command
from feed_svc.model import UserId
from feed_svc.redis_store import FeedRedis, StoreLimits, StoreSettings
from feed_svc.settings import Settings
from svckit.events.delivery import ConsumerSettings, DeliverySettings
from svckit.events.redis.consumer import RedisConsumer
from svckit.events.settings import BusSettings
from svckit.rpc.client import ServiceChannel
from tests.oracle.shared.processes import Process, SteppedBus

WORKERS_MAX = 3
SLOW_SHARE = 0.25
SLOW_S_MAX = 0.3
# Leases end soon, and what fails is tried again soon: a run has little time.
HASTY = ConsumerSettings(
    delivery=DeliverySettings(backoff_min_s=0.01, backoff_max_s=0.1),
    lease_ttl_s=0.5,
    lease_renew_s=0.1,
    acknowledge_every_s=0.005,
    backoff_min_s=0.01,
    backoff_max_s=0.1,
    block_s=0.1,
)


@dataclass
class Slowness:
    """Some calls of one function in Redis take long, so that all others overtake them."""

    function: str = ""  # empty = of none
    _random: random.Random = field(default_factory=lambda: random.Random(1))
    _held_up: str = ""
    _passes: bytes = b""
    _go_on: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def hold_up(self, function: str, passes: UserId | None = None) -> Iterator[None]:
        """Its calls wait until the block ends, but for those about one person."""
        self._held_up, self._passes = function, passes or b"nobody"
        self._go_on.clear()
        try:
            yield
        finally:
            self._held_up = ""
            self._go_on.set()

    async def wait(self, commands: Sequence[Command]) -> None:
        if _calls(self._held_up, commands):
            keys = [part for command in commands for part in command if isinstance(part, bytes)]
            if not any(key.endswith(self._passes) for key in keys):
                await self._go_on.wait()
        if _calls(self.function, commands) and self._random.random() < SLOW_SHARE:
            await asyncio.sleep(self._random.uniform(0, SLOW_S_MAX))


def _calls(function: str, commands: Sequence[Command]) -> bool:
    """No function is never called."""
    return any(str(command[1]).startswith(f"{function}_") for command in commands)


@dataclass
class Gate:
    """Stops at the call before which `calls_left` have passed: of one function, if it has one."""

    calls_left: int | None = None  # None = any number
    function: str = ""
    stopped_at_s: float | None = None
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def close_after(self, calls: int, function: str = "") -> None:
        self.calls_left, self.function = calls, function
        self._open.clear()

    def open(self) -> None:
        self.calls_left = self.stopped_at_s = None
        self._open.set()

    def clock(self) -> float:
        return time.monotonic() if self.stopped_at_s is None else self.stopped_at_s

    async def pass_commands(self, commands: Sequence[Command]) -> None:
        await self._pass(counts=not self.function or _calls(self.function, commands))

    async def pass_other(self) -> None:
        await self._pass(counts=not self.function)

    async def _pass(self, *, counts: bool) -> None:
        if counts and self.calls_left:
            self.calls_left -= 1
        elif counts and self.calls_left == 0 and self.stopped_at_s is None:
            self.stopped_at_s = time.monotonic()
        if self.stopped_at_s is not None:
            await self._open.wait()


class SteppedRedis(FeedRedis):
    """Before each of its calls go some steps; the time that they take is not the call's."""

    def __init__(
        self,
        settings: StoreSettings,
        limits: StoreLimits,
        steps: Sequence[Callable[[Sequence[Command]], Awaitable[None]]],
    ) -> None:
        super().__init__(settings, limits)
        self._steps = steps

    async def run(
        self, commands: Sequence[Command], timeout_s: float | None = None
    ) -> list[object]:
        for step in self._steps:
            await step(commands)
        return await super().run(commands, timeout_s)


class Worker(Process):
    """One process of the role `fanout`."""

    def __init__(self, app: App, bus: BusSettings, gate: Gate) -> None:
        super().__init__()
        self._gate = gate
        make_bus = partial(SteppedBus, step=self.step)
        consumer = RedisConsumer(bus, GROUP, app.events, HASTY, gate.clock, make_bus)
        self.begin(consumer.run())

    async def step(self, call: str) -> None:
        await super().step(call)
        if call != "leave":
            await self._gate.pass_other()

    @property
    def is_frozen(self) -> bool:
        return self._gate.calls_left is not None

    def freeze(self, after_calls: int, function: str) -> None:
        """In the middle of whatever it does then."""
        self._gate.close_after(after_calls, function)

    def thaw(self) -> None:
        self._gate.open()


class Workers:
    """Those that run. In a run there is always one that is neither frozen nor dead."""

    def __init__(
        self,
        settings: Settings,
        user_svc: ServiceChannel,
        content_svc: ServiceChannel,
        limits: Limits,
        slowness: Slowness,
    ) -> None:
        self._slowness = slowness
        self._open_app = partial(open_app, settings, user_svc, content_svc, limits)
        self._bus = settings.bus
        self._running: list[tuple[Worker, AsyncExitStack]] = []

    async def begin(self) -> None:
        await self.stop()
        await self.add()

    async def add(self) -> None:
        if len(self._running) < WORKERS_MAX:
            stack, gate = AsyncExitStack(), Gate()
            steps = [gate.pass_commands, self._slowness.wait]
            make_redis = partial(SteppedRedis, steps=steps)
            app = await stack.enter_async_context(self._open_app(make_redis=make_redis))
            self._running.append((Worker(app, self._bus, gate), stack))

    async def kill_oldest(self) -> None:
        worker, stack = self._running.pop(0)
        await worker.kill()
        await stack.aclose()
        await self._leave_one_at_work()

    async def freeze_oldest(self, after_calls: int, function: str = "") -> None:
        """After as many more calls to a store, or of one function in it."""
        self._running[0][0].freeze(after_calls, function)
        await self._leave_one_at_work()

    def thaw(self) -> None:
        for worker, _ in self._running:
            worker.thaw()

    async def stop(self) -> None:
        """All of them."""
        while self._running:
            worker, stack = self._running.pop()
            worker.thaw()
            await worker.stop()
            await stack.aclose()

    async def _leave_one_at_work(self) -> None:
        if all(worker.is_frozen for worker, _ in self._running):
            await self.add()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
