"""What every engine of the event bus must do while all is well: order, groups, shares, bounds.

A subclass in a `test_` file brings the fixture `engine`. Nothing in here knows an engine.
"""

import asyncio
import random
from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4

import pytest

from svckit.events.bus import BusEvent, BusRecord, GroupIsAlive, Publisher, partition_of
from svckit.events.delivery import DeliverySettings
from tests.contract.bus_engine import (
    DELIVERY,
    PARTITIONS,
    BatchRecorder,
    BusEngine,
    BusTests,
    Recorder,
    lanes_of,
    record,
    records,
    running,
)
from tests.polling import until


class BusSuite(BusTests):
    async def test_lanes_keep_their_order_and_run_side_by_side(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        async def dawdle(_: BusEvent) -> None:
            for _turn in range(random.randrange(5)):
                await asyncio.sleep(0)

        lanes = [f"lane-{number}" for number in range(40)]
        published = records(lanes, each=50)
        handler = Recorder(dawdle)
        for start in range(0, len(published), 500):
            await publisher.publish(published[start : start + 500])
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: len(handler.done) >= len(published))

        assert handler.clashes == []
        assert all(handler.numbers(lane) == list(range(50)) for lane in lanes)
        assert len(handler.done) == len(published)
        assert 1 < handler.most_under_way <= DELIVERY.handlers_max
        for partition in range(PARTITIONS):
            come = [event for event in handler.done if event.partition == partition]
            by_position = sorted(come, key=lambda event: event.position)
            here = [each for each in published if partition_of(each.lane, PARTITIONS) == partition]
            assert [event.event_id for event in by_position] == [each.event_id for each in here]

    async def test_event_arrives_as_it_was_published(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        sent = BusRecord(
            event_id=uuid4(),
            lane="lane ü",
            type="PostCreated",
            payload=bytes(range(256)),
            headers={"traceparent": "00-1", "ü": "\n"},
        )
        handler = Recorder()
        async with running(engine.consumer("group", handler, DELIVERY)):
            await publisher.publish([sent])
            await until(lambda: handler.done != [])
        [come] = handler.done
        for name in ("event_id", "lane", "type", "payload", "headers"):
            assert getattr(come, name) == getattr(sent, name)
        assert come.attempt == 1
        assert come.partition == partition_of("lane ü", PARTITIONS)

    async def test_only_wanted_types_are_handed_over_and_the_place_moves_over_the_others(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        class Choosy(Recorder):
            types = frozenset({"Wanted"})

        sent = [
            replace(each, type="Wanted" if number % 3 == 0 else "Other")
            for number, each in enumerate(records(["a", "b"], each=30))
        ]
        wanted = {each.event_id for each in sent if each.type == "Wanted"}
        first, second = Choosy(), Choosy()
        async with running(engine.consumer("group", first, DELIVERY)):
            await publisher.publish(sent)
            await until(lambda: len(first.done) == len(wanted))
        assert {event.event_id for event in first.done} == wanted
        last = replace(record("a", 99), type="Wanted")
        async with running(engine.consumer("group", second, DELIVERY)):
            await publisher.publish([last])
            await until(lambda: second.done != [])
        assert [event.event_id for event in second.done] == [last.event_id]

    async def test_number_of_handlers_at_once_has_a_bound(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        go = asyncio.Event()
        handler = Recorder(lambda _: go.wait())
        await publisher.publish([record(f"lane-{number}") for number in range(100)])
        delivery = DeliverySettings(handlers_max=7)
        async with running(engine.consumer("group", handler, delivery)):
            await until(lambda: handler.under_way.total() == 7)
            go.set()
            await until(lambda: len(handler.done) == 100)
        assert handler.most_under_way == 7

    async def test_slow_handlers_stop_the_reading_and_a_stuck_partition_stops_no_other(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        go = asyncio.Event()

        async def stuck(event: BusEvent) -> None:
            if event.partition == 0:
                await go.wait()

        handler = Recorder(stuck)
        delivery = DeliverySettings(events_max=40, handlers_max=1000)
        lanes = [f"lane-{number}" for number in range(200)]
        await publisher.publish(records(lanes, each=2))
        free = [lane for lane in lanes if partition_of(lane, PARTITIONS) != 0]
        async with running(engine.consumer("group", handler, delivery)):
            await until(lambda: len(handler.done) == 2 * len(free))
            assert 1 <= handler.under_way.total() <= 40 // PARTITIONS
            go.set()
            await until(lambda: len(handler.done) == 400)
        assert handler.most_under_way <= 40

    async def test_every_group_gets_every_event_that_is_kept_also_one_that_comes_late(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        engine.expected_groups = ["keeps them all"]
        early, late = Recorder(), Recorder()
        published = records(["a", "b", "c"], each=10)
        await publisher.publish(published[:20])
        async with running(engine.consumer("early", early, DELIVERY)):
            await until(lambda: len(early.done) == 20)
            async with running(engine.consumer("late", late, DELIVERY)):
                await publisher.publish(published[20:])
                await until(lambda: len(late.done) == 30)
                await until(lambda: len(early.done) == 30)
        assert set(early.ids()) == set(late.ids()) == {each.event_id for each in published}

    async def test_what_was_handled_does_not_come_again_after_a_clean_end(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        handler = Recorder()
        for count in (10, 20):
            await publisher.publish(records(["a", "b", "c", "d", "e"], each=2))
            async with running(engine.consumer("group", handler, DELIVERY)):
                await until(partial(handler.has, count))
        assert len(handler.done) == 20

    async def test_events_are_trimmed_only_when_all_groups_are_past_them(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        async def is_trimmed() -> bool:
            return await engine.kept() < 100

        engine.expected_groups = ["fast", "slow", "not yet there"]
        async with engine.publisher() as told_of_groups:
            await told_of_groups.epoch()
        fast, slow, new = Recorder(), Recorder(), Recorder()
        await publisher.publish(records([f"lane-{number}" for number in range(20)], each=5))
        async with running(engine.consumer("fast", fast, DELIVERY)):
            async with running(engine.consumer("slow", slow, DELIVERY)):
                await until(lambda: len(slow.done) == len(fast.done) == 100)
                with pytest.raises(TimeoutError):  # though it trims ten times and more
                    await until(is_trimmed, timeout_s=0.3)
            async with running(engine.consumer("not yet there", new, DELIVERY)):
                await until(lambda: len(new.done) == 100)

                async def is_trimmed_fully() -> bool:
                    return await engine.kept() <= PARTITIONS

                await until(is_trimmed_fully)

    async def test_groups_tell_how_they_stand_and_nothing_is_kept_for_one_that_was_retired(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        async def stand() -> dict[str, tuple[int, int]]:
            return {
                each.name: (each.members, each.lag) for each in await engine.groups().group_states()
            }

        async def is_all_trimmed() -> bool:
            return await engine.kept() <= PARTITIONS

        engine.expected_groups = ["gone"]
        async with engine.publisher() as told_of_groups:
            await told_of_groups.epoch()
        engine.expected_groups = []
        handler = Recorder()
        await publisher.publish(records(["a", "b", "c"], each=10))
        async with running(engine.consumer("group", handler, DELIVERY)):

            async def are_told() -> bool:
                return await stand() == {"group": (1, 0), "gone": (0, 30)}

            await until(are_told)
            with pytest.raises(GroupIsAlive):
                await engine.groups().retire("group")
            for _ in range(2):
                await engine.groups().retire("gone")
            assert await stand() == {"group": (1, 0)}
            await until(is_all_trimmed)

    async def test_group_that_comes_back_after_it_was_retired_is_a_new_one(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        engine.expected_groups = ["keeps them all"]
        handler = Recorder()
        await publisher.publish(records(["a", "b"], each=5))
        for count in (10, 20):
            async with running(engine.consumer("group", handler, DELIVERY)):
                await until(lambda: len(handler.done) == count)  # noqa: B023
            await engine.groups().retire("group")

    async def test_members_share_the_partitions_and_hand_them_over_under_load_without_doubles(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        async def dawdle(_: BusEvent) -> None:
            await asyncio.sleep(0.005)

        delivery = replace(DELIVERY, events_max=100)
        lanes = [f"lane-{number}" for number in range(20)]
        published = records(lanes, each=100)
        handlers = [Recorder(dawdle) for _ in range(3)]

        def come() -> list[UUID]:
            return [event_id for handler in handlers for event_id in handler.ids()]

        def owned() -> list[int]:
            """How many partitions each had of the last 200 events."""
            new = {each.event_id for each in published[1000:1200]}
            done = [[e for e in handler.done if e.event_id in new] for handler in handlers]
            return sorted(len({event.partition for event in events}) for events in done)

        async with running(engine.consumer("group", handlers[0], delivery)):
            await publisher.publish(published[:1000])
            await until(lambda: len(come()) > 50)
            async with running(engine.consumer("group", handlers[1], delivery)):
                await until(lambda: len(handlers[1].done) > 50)
                async with running(engine.consumer("group", handlers[2], delivery)):
                    await until(lambda: len(come()) == 1000 and handlers[2].fences != {})
                    await publisher.publish(published[1000:1200])
                    await until(lambda: len(come()) == 1200)
                    assert owned() == [1, 1, 2]
            await publisher.publish(published[1200:])
            await until(lambda: len(come()) == 2000)

        everything = [event for handler in handlers for event in handler.done]
        assert len(set(come())) == 2000
        assert not [clash for handler in handlers for clash in handler.clashes]
        for lane in lanes:
            mine = sorted((e for e in everything if e.lane == lane), key=lambda e: e.position)
            assert [int(event.payload) for event in mine] == list(range(100))

    async def test_batches_come_in_order_and_go_on_from_a_place_kept_beside_the_effect(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        engine.expected_groups = ["keeps them all"]  # or what comes again could be trimmed by then
        handler = BatchRecorder(batches_max=1)
        published = records(lanes_of(3, 6), each=20)
        await publisher.publish(published[:30])
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: len(handler.batches) == 1)
            await publisher.publish(published[30:])
        first = handler.done()
        # The place of the effect is what counts, wherever the group's own place is.
        handler.places[3] = first[4].position
        handler.batches.clear()
        handler.batches_max = 1000
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: len(handler.done()) == 120 - 5)
        assert [e.event_id for e in handler.done()] == [each.event_id for each in published[5:]]
        assert max(len(batch) for batch in handler.batches) > 1

    async def test_ping_answers_while_the_bus_is_there(self, engine: BusEngine) -> None:
        consumer = engine.consumer("group", Recorder(), DELIVERY)
        async with running(consumer):
            await consumer.ping()
