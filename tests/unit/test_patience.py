"""A service that answers is waited for; one that did not is not, until it does."""

import asyncio
import time

import pytest

from svckit.errors import DeadlineExceeded, NotFound, Unavailable
from svckit.patience import Patience, PatienceSettings

LONG_S, SHORT_S = 0.5, 0.02


@pytest.fixture
def owner() -> Patience:
    return Patience("owner", PatienceSettings(short_s=SHORT_S))


async def waited_s(owner: Patience, longest_s: float = LONG_S) -> float:
    """For a service that never answers."""
    started_s = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        async with owner.limit(longest_s):
            await asyncio.Event().wait()
    assert caught.value.metadata == {"dependency": "owner"}
    return time.monotonic() - started_s


async def test_the_first_waits_long_the_others_do_not(owner: Patience) -> None:
    assert await waited_s(owner) >= LONG_S
    for _ in range(3):
        assert SHORT_S <= await waited_s(owner) < LONG_S


async def test_an_answer_brings_patience_back(owner: Patience) -> None:
    await waited_s(owner)
    async with owner.limit():
        pass
    assert await waited_s(owner) >= LONG_S


@pytest.mark.parametrize("error", [Unavailable(), DeadlineExceeded(), TimeoutError()])
async def test_a_failure_takes_it_away(owner: Patience, error: Exception) -> None:
    with pytest.raises(Unavailable):
        async with owner.limit():
            raise error
    assert await waited_s(owner) < LONG_S


async def test_a_refusal_is_an_answer_and_stays_what_it_is(owner: Patience) -> None:
    with pytest.raises(NotFound):
        async with owner.limit():
            raise NotFound
    assert await waited_s(owner) >= LONG_S


async def test_nobody_waits_longer_than_they_want() -> None:
    owner = Patience("owner", PatienceSettings(short_s=LONG_S))
    assert await waited_s(owner, SHORT_S) < LONG_S
