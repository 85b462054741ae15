"""A member of a group on the Redis bus: holds leases, reads, acknowledges, trims.

It lives in sessions. In a session it holds leases on its fair share of the partitions and renews
them all at once, reads them all with one blocking call, hands what it read to
`svckit.events.delivery`, and acknowledges the positions that have advanced. Whatever goes wrong
(the connection, a lease that moved on, another memory, a process that was frozen) ends the session,
and with it every handler; the next one starts from the acknowledged positions, with new tokens.

A member with more than its share (others came) stops reading the surplus, waits until what it has
in hand is done and acknowledged, and only then gives the lease back.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from redis.exceptions import RedisError

from svckit.backoff import backoff_s
from svckit.events.bus import BatchHandler, BusEvent, Fenced, Handler, Position, Undecodable
from svckit.events.delivery import (
    LAG,
    OWNED,
    TRANSIENT,
    ConsumerSettings,
    Delivering,
    Delivery,
    Partition,
)
from svckit.events.redis.bus import (
    START,
    BusEmptied,
    DeadLettersFull,
    Entry,
    Lease,
    RedisBus,
    decode,
    position_of,
)
from svckit.events.settings import BusSettings

logger = logging.getLogger(__name__)

FORESEEN = (RedisError, OSError, TimeoutError, Fenced, BusEmptied, DeadLettersFull)


class RedisConsumer:
    """A `Consumer`: the part of a member that outlives a session."""

    def __init__(
        self,
        bus: BusSettings,
        group: str,
        handler: Handler | BatchHandler,
        settings: ConsumerSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        make_bus: Callable[[BusSettings], RedisBus] = RedisBus,
    ) -> None:
        self.bus = make_bus(bus)
        self.reader = make_bus(bus)  # a client of its own: its calls block
        self.group = group
        self.handler = handler
        self.settings = settings or ConsumerSettings()
        self.clock = clock
        self.name = uuid.uuid4().hex
        self.newest_token = 0

    async def run(self) -> None:
        """Work until cancelled; gives the leases back on the way out."""
        session, pauses_s = _Session(self), self.pauses_s()
        try:
            while True:
                started_at_s = self.clock()
                await self._run_to_its_end(session)
                if self.clock() - started_at_s > self.settings.lease_ttl_s:
                    pauses_s = self.pauses_s()
                await asyncio.sleep(next(pauses_s))
                session = _Session(self)
        finally:
            with suppress(Exception):  # the leases end by themselves
                await session.leave()
            await self.reader.aclose()
            await self.bus.aclose()

    async def ping(self) -> None:
        await self.bus.ping()

    def pauses_s(self) -> Iterator[float]:
        return backoff_s(self.settings.backoff_min_s, self.settings.backoff_max_s)

    async def _run_to_its_end(self, session: "_Session") -> None:
        """In a task of its own: one that is failing would swallow that we are cancelled."""
        running = asyncio.create_task(session.run())
        try:
            await asyncio.wait([running])
        finally:
            running.cancel()
            await asyncio.wait([running])
            session.forget_metrics()
            if not running.cancelled() and (error := running.exception()):
                self._take_note(error)

    def _take_note(self, error: BaseException) -> None:
        reasons = list(_leaves(error))
        tokens = [each.newest_token for each in reasons if isinstance(each, Fenced)]
        self.newest_token = max(self.newest_token, *tokens, 0)
        is_foreseen = all(isinstance(reason, FORESEEN) for reason in reasons)
        logger.log(
            logging.WARNING if is_foreseen else logging.ERROR,
            "bus_session_ended",
            extra={"group": self.group, "reasons": [repr(each) for each in reasons]},
            exc_info=None if is_foreseen else error,
        )


class _Session:
    """From opening the bus to the first thing that goes wrong."""

    def __init__(self, member: RedisConsumer) -> None:
        self._member = member
        self._bus = member.bus
        self._group = member.group
        self._settings = member.settings
        self._epoch = ""
        self._partitions: dict[int, Partition] = {}
        self._lease_until_s = 0.0
        self._leases_lock = asyncio.Lock()  # or a lease given back would look like one renewed
        self._readable = asyncio.Event()
        self._progress = asyncio.Event()

    async def run(self) -> None:
        for bus in (self._bus, self._member.reader):
            await bus.disconnect()
        self._epoch = (await self._bus.epoch()).name
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._delivering = Delivering(
                self._group,
                self._member.handler,
                self._settings.delivery,
                tasks,
                may_act=lambda: self._member.clock() < self._lease_until_s,
                set_aside=self._set_aside,
                on_progress=self._on_progress,
            )
            for work in (
                self._keep_leases,
                self._read,
                self._keep_acknowledging,
                self._keep_trimming,
            ):
                tasks.create_task(work())

    async def _keep_leases(self) -> None:
        while True:
            async with self._leases_lock:
                await self._renew()
            await asyncio.sleep(self._settings.lease_renew_s)

    async def _renew(self) -> None:
        member, asked_at_s = self._member, self._member.clock()
        held = {partition.fence for partition in self._partitions.values()}
        share, leases = await self._bus.hold(
            self._epoch,
            self._group,
            member.name,
            self._settings.lease_ttl_s,
            member.newest_token,
            held,
        )
        if held - {lease.fence for lease in leases}:
            raise Fenced
        self._lease_until_s = asked_at_s + self._settings.lease_ttl_s
        for lease in leases:
            LAG.labels(self._group, lease.fence.partition).set(lease.lag)
            if lease.fence.partition not in self._partitions:
                self._take(lease)
        self._give_back_surplus(share)
        OWNED.labels(self._group).set(len(self._partitions))

    def _take(self, lease: Lease) -> None:
        partition = Partition(lease.fence, lease.position)
        self._member.newest_token = max(self._member.newest_token, lease.fence.token)
        self._partitions[lease.fence.partition] = partition
        self._tasks.create_task(self._assign(partition))

    async def _assign(self, partition: Partition) -> None:
        pauses_s = self._member.pauses_s()
        while True:
            try:
                start = await self._member.handler.assigned(partition.fence)
                break
            except TRANSIENT:
                await asyncio.sleep(next(pauses_s))
        if start is not None:
            epoch, _, position = start.partition("/")
            partition.start_at(position if epoch == self._epoch else START)
        partition.is_ready = True
        self._readable.set()

    def _give_back_surplus(self, share: int) -> None:
        staying = [each for each in self._partitions.values() if not each.is_leaving]
        for partition in staying[share:]:
            partition.is_leaving = True
            self._tasks.create_task(self._give_back(partition))

    async def _give_back(self, partition: Partition) -> None:
        await partition.idle.wait()
        await self._acknowledge()
        async with self._leases_lock:
            await self._bus.release(self._group, [partition.fence])
            number = partition.fence.partition
            del self._partitions[number]
            LAG.remove(self._group, number)

    async def _read(self) -> None:
        """Reads the partitions that have room, and waits for entries while all have."""
        while True:
            self._readable.clear()
            ours = [each for each in self._partitions.values() if each.is_ready]
            free = [each for each in ours if self._has_room(each)]
            if free and len(free) == len(ours):
                await self._read_from(free, self._settings.block_s)
            elif not free or not await self._read_from(free, block_s=0):
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.look_again_s if free else None):
                        await self._readable.wait()

    def _events_max(self) -> int:
        """An even part of what may be in hand, so that one that is stuck leaves room for others."""
        return max(1, self._settings.delivery.events_max // max(1, len(self._partitions)))

    def _has_room(self, partition: Partition) -> bool:
        return not partition.is_leaving and len(partition.in_hand) <= self._events_max() // 2

    async def _read_from(self, partitions: Sequence[Partition], block_s: float) -> bool:
        asked = {each.fence.partition: each for each in partitions}
        positions = {number: each.read for number, each in asked.items()}
        count = self._events_max() - max(len(each.in_hand) for each in partitions)
        found = await self._member.reader.read(positions, count, block_s)
        for number, entries in found:
            partition = asked[number]
            if not partition.is_leaving:
                deliveries = [self._delivery(number, entry) for entry in entries]
                partition.read = deliveries[-1].position
                self._delivering.accept(partition, deliveries)
        return bool(found)

    def _delivery(self, number: int, entry: Entry) -> Delivery:
        entry_id, fields = entry
        position = position_of(entry_id)
        if not self._delivering.wants(fields.get(b"type", b"").decode(errors="replace")):
            return Delivery(position, None)
        try:
            record = decode(fields)
        except Undecodable as error:
            return Delivery(position, error)
        event = BusEvent(
            record.event_id,
            record.lane,
            record.type,
            record.payload,
            record.headers,
            partition=number,
            position=Position(f"{self._epoch}/{position}"),
            published_at_ms=int(entry_id.partition(b"-")[0]),
        )
        return Delivery(position, event)

    def _on_progress(self, partition: Partition) -> None:
        self._progress.set()
        if self._has_room(partition):
            self._readable.set()

    async def _set_aside(self, partition: Partition, position: str, error: Exception) -> None:
        if not await self._bus.set_aside(self._group, partition.fence, position, error):
            raise Fenced

    async def _keep_acknowledging(self) -> None:
        while True:
            await self._progress.wait()
            self._progress.clear()
            await self._acknowledge()
            await asyncio.sleep(self._settings.acknowledge_every_s)

    async def _acknowledge(self) -> None:
        advanced = [
            (partition, partition.position)
            for partition in self._partitions.values()
            if partition.position != partition.acknowledged
        ]
        if not advanced:
            return
        positions = [(partition.fence, position) for partition, position in advanced]
        if not await self._bus.acknowledge(self._epoch, self._group, positions):
            raise Fenced
        for partition, position in advanced:
            partition.acknowledged = position

    async def _keep_trimming(self) -> None:
        """Not at once: in a memory that is new, all groups shall have come back first."""
        while True:
            await asyncio.sleep(self._settings.trim_every_s)
            await self._bus.trim(self._epoch, list(self._partitions))

    async def leave(self) -> None:
        """Acknowledge what is done and let others have the partitions."""
        await self._acknowledge()
        fences = [partition.fence for partition in self._partitions.values()]
        await self._bus.release(self._group, fences)
        await self._bus.leave(self._group, self._member.name)

    def forget_metrics(self) -> None:
        OWNED.labels(self._group).set(0)
        for number in self._partitions:
            LAG.remove(self._group, number)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
