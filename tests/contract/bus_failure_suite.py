"""What every engine of the event bus must do when a handler fails, or the bus does.

A subclass in a `test_` file brings the fixture `engine`. Nothing in here knows an engine.
"""

import asyncio
from contextlib import suppress
from functools import partial

import pytest
from prometheus_client import REGISTRY

from svckit.errors import Unavailable
from svckit.events.bus import BusEvent, Fenced, Publisher, Undecodable
from tests.contract.bus_engine import (
    DELIVERY,
    BatchRecorder,
    BusEngine,
    BusTests,
    Recorder,
    lanes_of,
    letters,
    record,
    records,
    running,
)
from tests.polling import until


class Panic(BaseException):
    """As extensions written in Rust raise it: no `Exception`."""


class BusFailureSuite(BusTests):
    async def test_poison_is_set_aside_after_five_tries_and_its_lane_goes_on(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        others_done_meanwhile = -1

        async def choke(event: BusEvent) -> None:
            nonlocal others_done_meanwhile
            if event.event_id == poison.event_id:
                if event.attempt == 5:
                    others_done_meanwhile = sum(each.lane != lane for each in handler.done)
                raise ValueError("no such thing: \ud800")

        def counted() -> list[float]:
            names = ("handled", "retried", "dead")
            return [
                REGISTRY.get_sample_value(f"newsfeed_bus_{name}_total", {"group": "group"}) or 0
                for name in names
            ]

        [lane, *others] = lanes_of(0, 5)
        handler, before = Recorder(choke), counted()
        lane_records = [record(lane, number) for number in range(4)]
        poison = lane_records[1]
        await publisher.publish([*lane_records, *records(others, each=3)])
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: len(handler.done) == 15)
            [letter] = await letters(engine)

        assert [n for event_id, n in handler.tries if event_id == poison.event_id] == [
            1,
            2,
            3,
            4,
            5,
        ]
        assert handler.numbers(lane) == [0, 2, 3]
        assert others_done_meanwhile == 12
        assert [new - old for new, old in zip(counted(), before, strict=True)] == [15, 4, 1]
        assert (letter.group, letter.kind, letter.text) == (
            "group",
            "ValueError",
            "no such thing: ?",
        )
        assert letter.event is not None
        assert letter.event.event_id == poison.event_id
        assert letter.event.payload == poison.payload

    async def test_what_cannot_be_decoded_is_set_aside_at_once(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        async def decode(event: BusEvent) -> None:
            if int(event.payload) == 1:
                raise Undecodable("schema_version 9")

        handler = Recorder(decode)
        [lane] = lanes_of(2, 1)
        await publisher.publish([record(lane, 0), record(lane, 1)])
        await engine.damage(2)
        await publisher.publish([record(lane, 2)])
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: handler.numbers(lane) == [0, 2])

            async def are_there() -> bool:
                return len(await letters(engine)) == 2

            await until(are_there)
        set_aside = {
            letter.event and letter.event.payload: letter for letter in await letters(engine)
        }
        assert [attempt for _, attempt in handler.tries] == [1, 1, 1]
        assert set_aside.keys() == {None, b"1"}
        assert set_aside[b"1"].text == "schema_version 9"
        assert {letter.kind for letter in set_aside.values()} == {"Undecodable"}

    async def test_dead_letters_are_put_back_for_their_group_alone_or_dropped(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        broken = True

        async def fail(event: BusEvent) -> None:
            if broken and int(event.payload) < 3:
                raise ValueError("x" * 10_000)

        mended, other = Recorder(fail), Recorder()
        async with (
            running(engine.consumer("mended", mended, DELIVERY)),
            running(engine.consumer("other", other, DELIVERY)),
        ):
            await publisher.publish([record("lane", number) for number in range(5)])
            await until(lambda: mended.numbers("lane") == [3, 4])
            await until(lambda: len(other.done) == 5)
            found = await letters(engine)
            broken = False
            assert await engine.dead_letters().redrive(found[:2]) == 2
            await until(lambda: mended.numbers("lane") == [3, 4, 0, 1])
            assert await engine.dead_letters().drop(found[2:]) == 1
            await publisher.publish([record("lane", 5)])
            await until(lambda: mended.numbers("lane") == [3, 4, 0, 1, 5])
            await until(lambda: other.numbers("lane") == [0, 1, 2, 3, 4, 5])
        assert [letter.group for letter in found] == ["mended"] * 3
        assert max(len(letter.text) for letter in found) <= 1000
        assert await letters(engine) == []

    async def test_unavailable_dependency_is_waited_for_and_others_go_on(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        failures = 0
        others_done_meanwhile = -1

        async def depend(event: BusEvent) -> None:
            nonlocal failures, others_done_meanwhile
            if event.lane == lane and failures < 12:
                failures += 1
                others_done_meanwhile = sum(each.lane != lane for each in handler.done)
                raise Unavailable

        [lane] = lanes_of(0, 1)
        handler = Recorder(depend)
        await publisher.publish([record(lane, 0), record(lane, 1), *records(lanes_of(1, 5), 4)])
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: handler.numbers(lane) == [0, 1])
        assert others_done_meanwhile == 20
        assert failures == 12
        assert await letters(engine) == []

    async def test_one_bad_event_of_a_batch_is_set_aside_alone(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        def ages() -> float:
            name, labels = "newsfeed_bus_age_seconds_count", {"group": "group"}
            return REGISTRY.get_sample_value(name, labels) or 0

        handler, before = BatchRecorder(poison=b"7"), ages()
        await publisher.publish([record("lane", number) for number in range(20)])
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: len(handler.done()) == 19)
            [letter] = await letters(engine)
        assert [int(e.payload) for e in handler.done()] == [n for n in range(20) if n != 7]
        assert {event.attempt for event in handler.done()} <= {1, 2}  # alone, after the batch
        assert ages() - before == 20
        assert letter.event is not None
        assert letter.event.payload == b"7"

    async def test_consumer_survives_cut_connections_without_loss(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        handler = Recorder()
        async with running(engine.consumer("group", handler, DELIVERY)):
            for count in (20, 40, 60):
                await publisher.publish(records(["a", "b", "c", "d"], each=5))
                await until(partial(handler.has, count))
                await engine.cut()
                with suppress(Unavailable):
                    await publisher.epoch()
                await publisher.epoch()
        assert handler.clashes == []

    async def test_fenced_handler_starts_over_with_a_higher_token(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        far_ahead = 2**52

        async def refuse(event: BusEvent) -> None:
            if handler.fences[event.partition][-1] <= far_ahead:
                raise Fenced(far_ahead)

        handler = Recorder(refuse)
        await publisher.publish([record("lane", number) for number in range(3)])
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: handler.numbers("lane") == [0, 1, 2])
        assert await letters(engine) == []
        assert max(attempt for _, attempt in handler.tries) == 1

    async def test_consumer_that_is_cancelled_while_it_starts_over_ends(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        is_dying, may_die = asyncio.Event(), asyncio.Event()

        async def die_slowly(event: BusEvent) -> None:
            if event.lane == first:
                await until(lambda: handler.under_way.total() == 2)
                raise Fenced
            try:
                await asyncio.Event().wait()
            finally:
                is_dying.set()
                await may_die.wait()

        [first, second] = lanes_of(0, 2)
        handler = Recorder(die_slowly)
        await publisher.publish([record(first), record(second)])
        consuming = asyncio.create_task(engine.consumer("group", handler, DELIVERY).run())
        try:
            await until(is_dying.is_set)
            consuming.cancel()
            await asyncio.sleep(0)
            may_die.set()
            await until(consuming.done)
        finally:
            consuming.cancel()
            await asyncio.wait([consuming])

    @pytest.mark.parametrize("what", [asyncio.CancelledError, Panic])
    async def test_handler_that_cancels_itself_or_panics_has_failed(
        self, engine: BusEngine, publisher: Publisher, what: type[BaseException]
    ) -> None:
        async def fail() -> None:
            raise ValueError

        async def give_up(event: BusEvent) -> None:
            if event.attempt == 1 and event.payload == b"0":
                async with asyncio.TaskGroup() as tasks:  # leaves its task marked as cancelled
                    tasks.create_task(fail())
            if event.attempt == 1:
                raise what

        handler = Recorder(give_up)
        await publisher.publish([record("lane", number) for number in range(3)])
        async with running(engine.consumer("group", handler, DELIVERY)):
            await until(lambda: handler.numbers("lane") == [0, 1, 2])


class BusMemorySuite(BusTests):
    """For an engine whose bus can forget: one that tells an epoch."""

    async def test_bus_that_forgot_is_filled_again_and_read_from_its_start(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        one_by_one, batches = Recorder(), BatchRecorder()
        published = records(lanes_of(1, 3), each=5)
        first_epoch = await publisher.epoch()
        async with (
            running(engine.consumer("group", one_by_one, DELIVERY)),
            running(engine.consumer("batches", batches, DELIVERY)),
        ):
            await publisher.publish(published)
            await until(lambda: len(one_by_one.done) == len(batches.done()) == 15)
            await engine.empty()
            with pytest.raises(Unavailable):
                await publisher.publish([record("lost")])
            assert await publisher.epoch() not in {None, first_epoch}
            await publisher.publish(published)
            await until(lambda: len(one_by_one.done) >= 30 and len(batches.done()) >= 30)
            await until(lambda: len(one_by_one.fences[1]) > 1)
        assert set(one_by_one.ids()[-15:]) == {each.event_id for each in published}
        tokens = one_by_one.fences[1]
        assert tokens == sorted(set(tokens))

    async def test_publisher_tells_of_a_lost_connection_before_it_goes_on(
        self, engine: BusEngine, publisher: Publisher
    ) -> None:
        async with engine.publisher() as fresh:
            with pytest.raises(Unavailable):
                await fresh.publish([record("lane")])
        epoch = await publisher.epoch()
        for _ in range(2):
            await engine.cut()
            with pytest.raises(Unavailable):
                await publisher.publish([record("lane")])
            with pytest.raises(Unavailable):
                await publisher.publish([record("lane")])
            assert await publisher.epoch() == epoch
            await publisher.publish([record("lane")])
            await engine.cut()
            with pytest.raises(Unavailable):
                await publisher.epoch()
            assert await publisher.epoch() == epoch
