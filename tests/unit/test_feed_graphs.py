"""Who is hidden and who is followed, also when user_svc does not say."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from newsfeed.user.v1 import user_service_pb2 as pb

from feed_svc.background import Background
from feed_svc.graphs import OLD_GRAPH, GraphLimits, Graphs, Viewer
from feed_svc.model import WHOLE, Hidden, Lacks
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

    async def viewer(self) -> Viewer:
        return await self.graphs.viewer(VIEWER, self.graphs.ask(VIEWER))

    async def hidden(self) -> tuple[Hidden, Lacks]:
        viewer = await self.viewer()
        return viewer.hidden, viewer.lacks


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with Background(10) as background:
        yield Rig(background)


async def test_it_is_asked_on_every_read(rig: Rig) -> None:
    assert await rig.hidden() == (NOW, WHOLE)
    rig.people.hidden_now = BEFORE
    assert await rig.hidden() == (BEFORE, WHOLE)


async def test_what_was_heard_last_serves_for_an_hour(rig: Rig) -> None:
    await rig.hidden()
    await rig.background.idle()
    rig.caches.graphs.clear()
    rig.people.is_down = True
    rig.now_s += BOUNDS.age_s_max - 1
    assert await rig.hidden() == (NOW, OLD_GRAPH)
    rig.now_s += 2
    with pytest.raises(Unavailable):
        await rig.hidden()


async def test_a_copy_serves_who_was_not_heard_of(rig: Rig) -> None:
    rig.people.is_down = True
    rig.caches.graphs[VIEWER] = COPY
    viewer = await rig.viewer()
    assert viewer.hidden.user_ids == {user(6), user(7), user(8), user(9)}
    assert viewer.lacks == OLD_GRAPH
    viewer, followee_ids = await rig.graphs.with_followees(viewer._replace(lacks=WHOLE))
    assert followee_ids == {user(5)}
    assert viewer.lacks == OLD_GRAPH


async def test_without_anything_it_is_not_there(rig: Rig) -> None:
    viewer = await rig.viewer()
    await rig.background.idle()
    rig.caches.graphs.clear()
    rig.people.is_down = True
    rig.now_s += BOUNDS.age_s_max
    for ask in (rig.viewer(), rig.graphs.with_followees(viewer)):
        with pytest.raises(Unavailable) as caught:
            await ask
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
    viewer = await rig.viewer()
    await rig.background.idle()
    rig.caches.graphs.clear()
    viewer, followee_ids = await rig.graphs.with_followees(viewer)
    assert followee_ids == {user(3)}
    await rig.background.idle()
    assert VIEWER in rig.caches.graphs


async def test_what_a_page_has_asked_once_it_does_not_ask_again(rig: Rig) -> None:
    rig.people.followee_ids = frozenset([user(3)])
    viewer, _ = await rig.graphs.with_followees(await rig.viewer())
    rig.people.followee_ids = frozenset([user(4)])
    assert await rig.graphs.with_followees(viewer) == (viewer, frozenset([user(3)]))


async def test_with_too_many_hidden_the_people_at_hand_are_asked_about(rig: Rig) -> None:
    rig.people.hidden_now = Hidden(frozenset(), truncated=True)
    rig.people.hidden_too = {user(2), user(3)}
    viewer = await rig.viewer()
    assert await rig.graphs.hidden_among(viewer, {user(1), user(2)}) == {user(2)}
    rig.people.is_down = True
    with pytest.raises(Unavailable):
        await rig.graphs.hidden_among(viewer, {user(1)})


async def test_memory_of_hidden_people_is_bounded(rig: Rig) -> None:
    many = Hidden(frozenset(user(number) for number in range(1_000)), truncated=False)
    for number in range(BOUNDS.size_max // 1_000 + 10):
        rig.graphs.heard(user(number), many)
    assert rig.graphs.heard_before(user(9)) is None
    assert rig.graphs.heard_before(user(10)) == many
    await rig.background.idle()
