"""The relay against an outbox and a bus in memory, turn by turn, on a clock that the test moves."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from prometheus_client import REGISTRY

from svckit.events.bus import BusRecord, Epoch
from svckit.events.relay import Relay, RelaySettings
from tests.clock import ManualClock
from tests.polling import until
from tests.stacks.memory_outbox import MemoryOutbox

SETTINGS = RelaySettings(batch_records_max=3)


@dataclass
class MemoryBus:
    """A `Publisher` that writes down the numbers of the events it takes."""

    memory: Epoch | None = Epoch("first", None)  # noqa: RUF009 it is frozen
    taken: list[int] = field(default_factory=list)
    broken: bool = False
    calls: int = 0
    frozen: asyncio.Event | None = None
    after_publish: Callable[[], None] = lambda: None

    async def publish(self, records: Sequence[BusRecord]) -> None:
        if self.frozen is not None:
            await self.frozen.wait()
        if self.broken:
            self.taken.append(records[0].event_id.int)  # some were taken, then it broke
            raise ConnectionResetError
        self.taken += [record.event_id.int for record in records]
        self.after_publish()

    async def epoch(self) -> Epoch | None:
        self.calls += 1
        if self.broken:
            raise ConnectionResetError
        return self.memory


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def outbox(clock: ManualClock) -> MemoryOutbox:
    return MemoryOutbox(clock)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def relay(outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock) -> Relay[int]:
    return Relay(outbox, bus, SETTINGS, clock)


async def settle(relay: Relay[int], turns: int = 6) -> None:
    for _ in range(turns):
        await relay.turn()


async def test_publishes_in_order_once_and_then_idles(
    relay: Relay[int], outbox: MemoryOutbox, bus: MemoryBus
) -> None:
    outbox.add(7)

    pauses_s = [await relay.turn() for _ in range(8)]

    assert bus.taken == list(range(7))
    assert pauses_s[:3] == [0.0, 0.0, SETTINGS.poll_min_s]  # no pause while batches are full
    assert pauses_s[3:] == [0.02, 0.04, 0.08, 0.1, 0.1]


async def test_failed_publish_repeats_the_last_minute_before_anything_new(
    relay: Relay[int], outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    outbox.add(2)
    await settle(relay)
    clock.now_s += 50
    outbox.add(2)
    await settle(relay)
    clock.now_s += 50
    outbox.add(2)
    await settle(relay)
    bus.broken = True
    outbox.add(2)
    pauses_s = [await relay.turn() for _ in range(8)]
    assert [row.published_at for row in outbox.rows[-2:]] == [None, None]
    clock.now_s += 3600  # a long outage does not move the minute
    bus.taken.clear()
    bus.broken = False

    await settle(relay)

    assert bus.taken == [2, 3, 4, 5, 6, 7]
    assert all(SETTINGS.backoff_min_s / 2 <= pause_s <= 2.0 for pause_s in pauses_s)
    assert pauses_s[-1] >= SETTINGS.backoff_max_s / 2
    bus.broken = True
    outbox.add(1)
    assert await relay.turn() <= SETTINGS.backoff_min_s


async def test_changed_epoch_repeats_all_that_is_kept_once(
    relay: Relay[int], outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    for _ in range(2):
        outbox.add(2)
        await settle(relay)
        clock.now_s += 3600
    bus.taken.clear()
    bus.memory = Epoch("second", None)
    clock.now_s += SETTINGS.lease_renew_s
    outbox.add(1)

    await settle(relay)
    clock.now_s += SETTINGS.lease_renew_s
    await settle(relay)

    assert bus.taken == [0, 1, 2, 3, 4]
    assert outbox.bus_epoch == "second"


async def test_older_memory_is_given_what_it_lacks_and_the_minute_before(
    relay: Relay[int], outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    for _ in range(4):
        outbox.add(1)
        await settle(relay)
        clock.now_s += 100
    bus.taken.clear()
    bus.memory = Epoch("first, an old copy", 150)
    outbox.add(1)

    await settle(relay)
    clock.now_s += SETTINGS.lease_renew_s
    await settle(relay)

    assert bus.taken == [1, 2, 3, 4]
    assert outbox.bus_epoch == "first, an old copy"


async def test_bus_that_forgets_while_it_is_filled_is_filled_from_the_start(
    relay: Relay[int], outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    def forget() -> None:
        clock.now_s += SETTINGS.lease_renew_s
        if bus.memory == Epoch("second", None) and len(bus.taken) == 2:
            bus.taken.clear()
            bus.memory = Epoch("third", None)

    outbox.add(4)
    await settle(relay)
    bus.taken.clear()
    bus.memory, bus.after_publish = Epoch("second", None), forget
    clock.now_s += SETTINGS.lease_renew_s
    outbox.add(1)
    await settle(relay)

    assert bus.taken == [0, 1, 2, 3, 4]
    assert outbox.bus_epoch == "third"


async def test_repeating_all_starts_over_when_it_was_interrupted(
    relay: Relay[int], outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    outbox.add(2)
    await settle(relay)
    clock.now_s += 3600
    outbox.add(2)
    await settle(relay)
    bus.memory, bus.broken = Epoch("second", None), True
    clock.now_s += SETTINGS.lease_renew_s
    await relay.turn()
    bus.taken.clear()
    bus.broken = False

    await settle(relay)

    assert bus.taken == [0, 1, 2, 3]


async def test_a_bus_that_does_not_forget_is_never_filled_again(
    relay: Relay[int], outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    bus.memory = None
    outbox.add(2)

    for _ in range(3):
        await settle(relay)
        clock.now_s += SETTINGS.lease_renew_s

    assert bus.taken == [0, 1]


async def test_standby_publishes_nothing_until_the_lease_expires_then_repeats_the_last_minute(
    relay: Relay[int], outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    standby = Relay(outbox, bus, SETTINGS, clock)
    outbox.add(2)
    await settle(relay)
    outbox.add(2)

    clock.now_s += SETTINGS.lease_ttl_s - 0.1
    pause_s = await standby.turn()
    assert pause_s <= SETTINGS.lease_renew_s
    assert bus.taken == [0, 1]
    clock.now_s += pause_s
    await settle(standby)

    assert bus.taken == [0, 1, 0, 1, 2, 3]


async def test_relay_that_was_frozen_notices_that_its_lease_is_gone(
    relay: Relay[int], outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    standby = Relay(outbox, bus, SETTINGS, clock)
    await settle(relay)
    outbox.add(2)
    bus.frozen = asyncio.Event()
    turn = asyncio.create_task(relay.turn())
    await asyncio.sleep(0)
    thaw, bus.frozen = bus.frozen, None
    outbox.expires_at = 0.0
    await settle(standby)
    assert bus.taken == [0, 1]

    thaw.set()
    await turn  # publishes what was under way, and is refused when it marks
    outbox.add(1)
    await settle(relay)
    assert bus.taken == [0, 1, 0, 1]

    await settle(standby)
    clock.now_s += SETTINGS.lease_ttl_s
    await settle(relay)
    assert bus.taken == [0, 1, 0, 1, 2, 0, 1, 2]


async def test_bus_that_does_not_answer_holds_nothing_up(
    outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    relay = Relay(outbox, bus, RelaySettings(publish_timeout_s=0.01), clock)
    outbox.add(1)
    bus.frozen = asyncio.Event()
    async with asyncio.timeout(5):
        await relay.turn()
    assert outbox.rows[0].published_at is None


async def test_what_waits_is_told_while_the_bus_is_away(
    relay: Relay[int], outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    await settle(relay)
    bus.broken = True
    outbox.add(3)
    clock.now_s += SETTINGS.lease_renew_s
    await settle(relay)

    assert REGISTRY.get_sample_value("newsfeed_outbox_unpublished_rows") == 3


async def test_failing_maintenance_does_not_stop_delivery(
    relay: Relay[int], outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    outbox.maintenance_fails = True
    outbox.add(1)

    for _ in range(3):
        await settle(relay)
        clock.now_s += SETTINGS.lease_renew_s
    assert bus.taken == [0]
    assert outbox.maintained == 1
    clock.now_s += SETTINGS.maintain_every_s
    await settle(relay)

    assert outbox.maintained == 2


async def test_nudges_do_not_shorten_a_backoff(
    outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    relay = Relay(outbox, bus, RelaySettings(backoff_min_s=3600, backoff_max_s=3600), clock)
    bus.broken = True
    running = asyncio.create_task(relay.run())
    await until(lambda: bus.calls == 1)
    for _ in range(10):
        relay.nudge()
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])

    assert bus.calls == 1


async def test_nudge_wakes_and_cancelling_gives_the_lease_back(
    outbox: MemoryOutbox, bus: MemoryBus, clock: ManualClock
) -> None:
    relay = Relay(outbox, bus, RelaySettings(poll_min_s=3600, poll_max_s=3600), clock)
    running = asyncio.create_task(relay.run())
    await until(lambda: outbox.owner != "")
    outbox.add(1)
    relay.nudge()
    await until(lambda: bus.taken == [0])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert await outbox.hold_lease("another", 3.0) is not None
