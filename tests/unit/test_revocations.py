import asyncio
import contextlib
import logging
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from svckit.auth.revocations import Revocation, Revocations, RevocationSettings
from tests.clock import ManualClock


class Source:
    """The list of user_svc: answers with what is due since a time, or fails."""

    def __init__(self, clock):
        self.clock = clock
        self.revocations = []
        self.asked = []
        self.polls: asyncio.Queue[None] = asyncio.Queue()
        self.failure = None
        self.takes_s = 0.0

    def revoke(self, after_s=0.0):
        revoke_time = datetime.fromtimestamp(self.clock() + after_s, UTC)
        self.revocations.append(Revocation(uuid4(), revoke_time))
        return self.revocations[-1].session_id

    async def fetch(self, since):
        self.asked.append(since)
        self.polls.put_nowait(since)
        self.clock.now_s += self.takes_s
        if self.failure:
            raise self.failure
        return [one for one in self.revocations if since is None or one.revoke_time >= since]


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def source(clock):
    return Source(clock)


@pytest.fixture
def revocations(source, clock):
    return Revocations(source.fetch, clock)


async def test_a_revoked_session_is_known_after_the_next_poll(source, revocations):
    session_id = source.revoke()
    assert not revocations.is_revoked(session_id)
    await revocations.poll()
    assert revocations.is_revoked(session_id)
    assert not revocations.is_revoked(uuid4())


async def test_polls_overlap_so_that_a_late_commit_is_not_missed(source, revocations, clock):
    await revocations.poll()
    source.revoke()
    await revocations.poll()
    late = source.revoke(after_s=-9.5)
    clock.now_s += 1
    await revocations.poll()
    assert revocations.is_revoked(late)
    newest = source.revocations[0].revoke_time
    assert source.asked == [None, None, newest - timedelta(seconds=10)]


async def test_a_time_from_a_wrong_future_hides_nothing(source, revocations, clock):
    source.revoke(after_s=3600)
    await revocations.poll()
    clock.now_s += 1
    session_id = source.revoke()
    await revocations.poll()
    assert revocations.is_revoked(session_id)


async def test_an_entry_outlives_every_token_of_its_session_and_then_goes(
    source, revocations, clock
):
    session_id = source.revoke()
    await revocations.poll()
    source.revocations.clear()
    clock.now_s += 15 * 60 + 60
    await revocations.poll()
    assert revocations.is_revoked(session_id)
    clock.now_s += 120
    await revocations.poll()
    assert not revocations.is_revoked(session_id)
    assert len(revocations._forget_at_s) == 0


async def test_revoking_again_prolongs(source, revocations, clock):
    session_id = source.revoke()
    source.revoke()
    await revocations.poll()
    clock.now_s += 900
    revocations.add(session_id)
    source.revocations.clear()
    clock.now_s += 900
    await revocations.poll()
    assert revocations.is_revoked(session_id)
    assert len(revocations._forget_at_s) == 1


def test_what_is_added_here_counts_at_once(revocations):
    session_id = uuid4()
    revocations.add(session_id)
    assert revocations.is_revoked(session_id)


def test_beyond_the_bound_the_oldest_go_and_it_is_logged_once(source, clock, caplog):
    revocations = Revocations(source.fetch, clock, RevocationSettings(entries_max=3))
    sessions = [uuid4() for _ in range(6)]
    for session_id in sessions:
        revocations.add(session_id)
        clock.now_s += 1
    assert [revocations.is_revoked(one) for one in sessions] == [False] * 3 + [True] * 3
    assert [record.message for record in caplog.records] == ["revocations_overflow"]


async def test_age_tells_how_old_the_knowledge_is(source, revocations, clock):
    assert revocations.age_s == float("inf")
    source.takes_s = 2.0
    await revocations.poll()
    assert revocations.age_s == 2  # what was asked for then may miss what came since
    source.takes_s = 0.0
    clock.now_s += 5
    source.failure = ConnectionError()
    with pytest.raises(ConnectionError):
        await revocations.poll()
    assert revocations.age_s == 7


async def test_a_fetch_that_hangs_ends(clock):
    async def hang(_):
        await asyncio.Event().wait()

    revocations = Revocations(hang, clock, RevocationSettings(fetch_timeout_s=0.01))
    with pytest.raises(TimeoutError):
        await revocations.poll()


async def test_the_task_goes_on_after_failures_and_logs_each_turn_once(source, clock, caplog):
    settings = RevocationSettings(poll_every_s=0.001, backoff_min_s=0.002, backoff_max_s=0.004)
    revocations = Revocations(source.fetch, clock, settings)
    caplog.set_level(logging.INFO)

    async def polled(times):
        async with asyncio.timeout(5):
            for _ in range(times):
                await source.polls.get()

    task = asyncio.create_task(revocations.run())
    source.failure = ConnectionError()
    await polled(15)  # an unbounded backoff would not get there in time
    session_id = source.revoke()
    assert not revocations.is_revoked(session_id)
    source.failure = None
    await polled(3)
    assert revocations.is_revoked(session_id)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    events = [record.message for record in caplog.records]
    assert events == ["revocations_fetch_failed", "revocations_fetch_recovered"]
