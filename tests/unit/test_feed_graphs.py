"""Who is hidden and who is followed, also when user_svc does not say."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from newsfeed.user.v1 import user_service_pb2 as pb

from feed_svc.background import Background
from feed_svc.graphs import GraphLimits, Graphs
from feed_svc.model import Hidden
from svckit.errors import Unavailable
from svckit.last_known import LastKnownSettings
from svckit.patience import Patience
from tests.stacks import feed_fakes as fakes
from tests.stacks.feed_fakes import user

BOUNDS = LastKnownSettings(size_max=50_000)
VIEWER = user(0)
NOW, BEFORE = Hidden(frozenset([user(1)]), truncated=False), Hidden(frozenset(), truncated=False)
COPY = pb.GetViewerGraphResponse(
    exists=True,
    followee_ids=user(5),
    blocked_ids=user(6),
    blocked_by_ids=user(7) + user(8),
    muted_ids=user(9),
).SerializeToString()


class Rig:
    def __init__(self, background: Background) -> None:
        self.now_s = 0.0
        self.background = background
        self.people, self.caches = fakes.People(), fakes.Caches()
        self.people.hidden_now = NOW
        self.graphs = Graphs(
            cast("Any", self.people),
            cast("Any", self.caches),
            Patience("user_svc"),
            background,
            lambda: self.now_s,
            GraphLimits(last_known=BOUNDS),
        )

    async def hidden(self) -> tuple[Hidden, bool]:
        viewer = self.graphs.of(VIEWER)
        return await viewer.hidden(), viewer.is_old


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with Background(10) as background:
        yield Rig(background)


async def test_it_is_asked_on_every_read(rig: Rig) -> None:
    assert await rig.hidden() == (NOW, False)
    rig.people.hidden_now = BEFORE
    assert await rig.hidden() == (BEFORE, False)


async def test_what_was_heard_last_serves_for_an_hour(rig: Rig) -> None:
    await rig.hidden()
    await rig.background.idle()
    rig.caches.graphs.clear()
    rig.people.is_down = True
    rig.now_s += BOUNDS.age_s_max - 1
    assert await rig.hidden() == (NOW, True)
    rig.now_s += 2
    with pytest.raises(Unavailable):
        await rig.hidden()


async def test_a_copy_serves_who_was_not_heard_of(rig: Rig) -> None:
    rig.people.is_down = True
    rig.caches.graphs[VIEWER] = COPY
    hidden, is_old = await rig.hidden()
    assert hidden.user_ids == {user(6), user(7), user(8), user(9)}
    assert is_old
    viewer = rig.graphs.of(VIEWER)
    assert (await viewer.graph()).followee_ids == {user(5)}
    assert viewer.is_old


async def test_without_anything_it_is_not_there(rig: Rig) -> None:
    rig.people.is_down = True
    viewer = rig.graphs.of(VIEWER)
    for ask in (viewer.hidden, viewer.graph):
        with pytest.raises(Unavailable) as caught:
            await ask()
        assert caught.value.metadata == {"dependency": "user_svc"}


async def test_a_copy_is_kept_of_who_reads_and_made_again_now_and_then(rig: Rig) -> None:
    await rig.hidden()
    await rig.background.idle()
    assert VIEWER in rig.caches.graphs
    for later_s, is_made in ((599.0, False), (2.0, True)):
        rig.caches.graphs.clear()
        rig.now_s += later_s
        await rig.hidden()
        await rig.background.idle()
        assert (VIEWER in rig.caches.graphs) is is_made


async def test_a_graph_that_was_read_is_kept_too(rig: Rig) -> None:
    rig.people.followee_ids = frozenset([user(3)])
    viewer = rig.graphs.of(VIEWER)
    assert (await viewer.graph()).followee_ids == {user(3)}
    await rig.background.idle()
    assert VIEWER in rig.caches.graphs


async def test_with_too_many_hidden_the_people_at_hand_are_asked_about(rig: Rig) -> None:
    rig.people.hidden_now = Hidden(frozenset(), truncated=True)
    rig.people.hidden_too = {user(2), user(3)}
    assert await rig.graphs.of(VIEWER).hidden_among({user(1), user(2)}) == {user(2)}
    viewer = rig.graphs.of(VIEWER)
    await viewer.hidden()
    rig.people.is_down = True
    with pytest.raises(Unavailable):
        await viewer.hidden_among({user(1)})


async def test_memory_of_hidden_people_is_bounded(rig: Rig) -> None:
    many = Hidden(frozenset(user(number) for number in range(1_000)), truncated=False)
    for number in range(BOUNDS.size_max // 1_000 + 10):
        rig.graphs.heard(user(number), many)
    assert rig.graphs.heard_before(user(9)) is None
    assert rig.graphs.heard_before(user(10)) == many
    await rig.background.idle()
