"""From a partition to a handler: lanes side by side, tries, and a position that advances in order.

Shared by the engines of the bus. An event that was read waits in its lane; a lane is worked on by
one task, an event (or a batch) at a time. The partition's position moves over what is done,
strictly in order, so an event that is tried again holds back the position, but not the other
lanes; those go on until the partition has as many events in hand as it may.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from prometheus_client import Counter, Gauge, Histogram

from svckit.backoff import backoff_s
from svckit.errors import Aborted, DeadlineExceeded, ResourceExhausted, Unavailable
from svckit.events.bus import (
    BatchHandler,
    BusEvent,
    BusRecord,
    Fence,
    Fenced,
    Handler,
    Undecodable,
)

logger = logging.getLogger(__name__)

HANDLED = Counter("newsfeed_bus_handled", "Events that were handled", ["group"])
RETRIED = Counter(
    "newsfeed_bus_retried", "Tries that failed and were followed by another", ["group"]
)
DEAD = Counter("newsfeed_bus_dead", "Events that were set aside", ["group"])
AGE = Histogram(
    "newsfeed_bus_age_seconds",
    "Seconds from an event's arrival on the bus to its handling",
    ["group"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600),
)
# Alerts use these names; engines fill them in.
LAG = Gauge("newsfeed_bus_lag_events", "Events that a group has yet to do", ["group", "partition"])
OWNED = Gauge("newsfeed_bus_partitions", "Partitions that this member owns", ["group"])

TRANSIENT = (Unavailable, DeadlineExceeded, ResourceExhausted, Aborted)
"""The errors of a dependency that may be well later: no fault of the event."""

_ONLY_GROUP = "only-group"


def for_one_group(record: BusRecord, group: str) -> BusRecord:
    """The event put back for this group: the others pass over it."""
    return replace(record, headers={**record.headers, _ONLY_GROUP: group})


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    events_max: int = 1_000  # in hand, of all partitions
    handlers_max: int = 64  # at once
    batch_events_max: int = 500  # for a BatchHandler
    attempts_max: int = 5
    backoff_min_s: float = 0.1
    backoff_max_s: float = 5.0


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """Others take over within `lease_ttl_s + lease_renew_s` when a member dies."""

    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    lease_ttl_s: float = 5.0
    lease_renew_s: float = 1.5
    acknowledge_every_s: float = 0.02
    backoff_min_s: float = 0.1
    backoff_max_s: float = 2.0
    block_s: float = 0.25  # a reader, until there is something
    look_again_s: float = 0.01  # at the other partitions, while one has all in hand that it may
    trim_every_s: float = 30.0


@dataclass(slots=True)
class Delivery:
    """An event at a position, or something that cannot be read, or nothing for this group."""

    position: str
    event: BusEvent | Undecodable | None
    is_done: bool = False


@dataclass(slots=True, eq=False)
class Partition:
    """A partition of ours: all up to `position` is done, and the bus knows up to `acknowledged`."""

    fence: Fence
    position: str
    read: str = field(init=False)
    acknowledged: str = field(init=False)
    in_hand: deque[Delivery] = field(default_factory=deque)
    lanes: dict[str, deque[Delivery]] = field(default_factory=dict)
    is_ready: bool = False
    is_leaving: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.start_at(self.position)
        self.idle.set()

    def start_at(self, position: str) -> None:
        self.position = self.read = self.acknowledged = position

    def take(self, delivery: Delivery) -> None:
        self.in_hand.append(delivery)
        self.idle.clear()

    def advance(self) -> None:
        """Move the position over everything that is done without a gap."""
        while self.in_hand and self.in_hand[0].is_done:
            self.position = self.in_hand.popleft().position
        if not self.in_hand:
            self.idle.set()


class Delivering:
    """Hands events over in tasks of `tasks`. One that raises means that the partitions are lost."""

    def __init__(
        self,
        group: str,
        handler: Handler | BatchHandler,
        settings: DeliverySettings,
        tasks: asyncio.TaskGroup,
        *,
        may_act: Callable[[], bool],
        set_aside: Callable[[Partition, str, Exception], Awaitable[None]],
        on_progress: Callable[[Partition], None],
    ) -> None:
        self._group = group
        self._handler = handler
        self._settings = settings
        self._tasks = tasks
        self._may_act = may_act
        self._set_aside = set_aside
        self._on_progress = on_progress
        self._free_handlers = asyncio.Semaphore(settings.handlers_max)
        self._is_batch = isinstance(handler, BatchHandler)
        self._handled = HANDLED.labels(group)
        self._retried = RETRIED.labels(group)
        self._dead = DEAD.labels(group)
        self._age = AGE.labels(group)

    def wants(self, kind: str) -> bool:
        """Are events of this type for the handler? Those that are not need not be decoded."""
        types = self._handler.types
        return types is None or kind in types

    def accept(self, partition: Partition, deliveries: Sequence[Delivery]) -> None:
        """Put them into their lanes, in order; returns at once."""
        for delivery in deliveries:
            partition.take(delivery)
            match delivery.event:
                case BusEvent() as event if self._is_for_us(event):
                    # To a batch handler a partition is one lane.
                    self._line_up(partition, "" if self._is_batch else event.lane, delivery)
                case Undecodable() as error:
                    self._tasks.create_task(self._skip(partition, delivery, error))
                case _:
                    self._finish(partition, [delivery])

    def _is_for_us(self, event: BusEvent) -> bool:
        return event.headers.get(_ONLY_GROUP, self._group) == self._group

    def _line_up(self, partition: Partition, lane: str, delivery: Delivery) -> None:
        waiting = partition.lanes.get(lane)
        if waiting is None:
            waiting = partition.lanes[lane] = deque()
            self._tasks.create_task(self._work_off(partition, lane, waiting))
        waiting.append(delivery)

    async def _work_off(self, partition: Partition, lane: str, waiting: deque[Delivery]) -> None:
        most = self._settings.batch_events_max if self._is_batch else 1
        while waiting:
            deliveries = [waiting.popleft() for _ in range(min(most, len(waiting)))]
            await self._settle(partition, deliveries)
            self._finish(partition, deliveries)
        del partition.lanes[lane]

    async def _skip(self, partition: Partition, delivery: Delivery, error: Undecodable) -> None:
        await self._give_up(partition, delivery, error)
        self._finish(partition, [delivery])

    def _finish(self, partition: Partition, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            delivery.is_done = True
        partition.advance()
        self._on_progress(partition)

    async def _settle(
        self, partition: Partition, deliveries: Sequence[Delivery], first_attempt: int = 1
    ) -> None:
        """Returns once each of them is handled or set aside."""
        settings, failures = self._settings, 0
        pauses_s = backoff_s(settings.backoff_min_s, settings.backoff_max_s)
        for attempt in count(first_attempt):
            error = await self._try(partition, deliveries, attempt)
            if error is None:
                self._handled.inc(len(deliveries))
                return
            if not isinstance(error, TRANSIENT):
                if len(deliveries) > 1:
                    for delivery in deliveries:
                        await self._settle(partition, [delivery], attempt + 1)
                    return
                failures += 1
                if failures == settings.attempts_max or isinstance(error, Undecodable):
                    await self._give_up(partition, deliveries[0], error)
                    return
            self._retried.inc()
            await asyncio.sleep(next(pauses_s))

    async def _try(
        self, partition: Partition, deliveries: Sequence[Delivery], attempt: int
    ) -> Exception | None:
        """Returns the exception of the handler."""
        events = [each.event for each in deliveries if isinstance(each.event, BusEvent)]
        async with self._free_handlers:
            if not self._may_act():
                raise Fenced
            cancelled = _times_cancelled()
            try:
                await self._hand_over(events, partition.fence, attempt)
            except (Fenced, KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except Exception as error:  # noqa: BLE001 whatever it is, it is judged by who asked
                return error
            except BaseException as error:  # an extension's panic; or it cancelled itself
                if _times_cancelled() > cancelled:
                    raise
                return RuntimeError(f"the handler raised {error!r}")
        return None

    async def _hand_over(self, events: list[BusEvent], fence: Fence, attempt: int) -> None:
        if attempt == 1:
            now_s = time.time()
            for event in events:
                self._age.observe(max(0.0, now_s - event.published_at_ms / 1000))
        else:
            events = [replace(event, attempt=attempt) for event in events]
        if isinstance(self._handler, BatchHandler):
            await self._handler.handle_batch(events, fence)
        else:
            await self._handler.handle(events[0], fence)

    async def _give_up(self, partition: Partition, delivery: Delivery, error: Exception) -> None:
        await self._set_aside(partition, delivery.position, error)
        self._dead.inc()
        told: dict[str, object] = {"group": self._group, "partition": partition.fence.partition}
        if isinstance(delivery.event, BusEvent):
            told |= {"event_id": delivery.event.event_id, "type": delivery.event.type}
        logger.error("event_set_aside", extra=told, exc_info=error)


def _times_cancelled() -> int:
    """Only a rise tells: a group of tasks that failed leaves one behind, before Python 3.13."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
