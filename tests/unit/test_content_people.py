"""Who is hidden from readers while user_svc does not say: what it said last, within bounds."""

from typing import Any, cast
from uuid import UUID

import pytest
from newsfeed.user.v1 import user_service_pb2 as pb

from content_svc.clients import People, PeopleLimits, Viewer
from content_svc.model import UserId
from svckit.errors import Unavailable
from svckit.ids import pack_ids, unpack_ids
from svckit.last_known import LastKnownSettings

VIEWER, FRIEND, FOE, GONE = (UserId(UUID(int=number)) for number in range(1, 5))


class UserSvc:
    """One of the four blocks or is blocked, one is gone; whoever stubs it gets itself."""

    def __init__(self) -> None:
        self.is_down = False
        self.hidden = [FOE]
        self.truncated = False
        self.calls: list[str] = []

    def stub(self, _: object) -> "UserSvc":
        return self

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.is_down:
            raise Unavailable

    async def BatchGetRelationships(
        self, request: pb.BatchGetRelationshipsRequest
    ) -> pb.BatchGetRelationshipsResponse:
        self._called("relationships")
        asked = unpack_ids(request.user_ids, "user_ids")
        return pb.BatchGetRelationshipsResponse(
            relationships=[
                pb.FullRelationship(is_blocked_by=each in self.hidden, exists=each != GONE)
                for each in asked
            ]
        )

    async def BatchGetHiddenIds(
        self, request: pb.BatchGetHiddenIdsRequest
    ) -> pb.BatchGetHiddenIdsResponse:
        self._called("hidden")
        hidden = pb.HiddenIds(user_ids=pack_ids(self.hidden), truncated=self.truncated)
        count = len(unpack_ids(request.viewer_ids, "viewer_ids"))
        return pb.BatchGetHiddenIdsResponse(hidden=[hidden] * count)


class Rig:
    def __init__(self, limits: PeopleLimits | None = None) -> None:
        self.now_s = 0.0
        self.user_svc = UserSvc()
        self.people = People(
            cast("Any", self.user_svc), lambda: self.now_s, limits or PeopleLimits()
        )

    async def hidden(self, viewer_id: UserId = VIEWER) -> set[UUID]:
        return await Viewer(self.people, viewer_id).hidden([VIEWER, FRIEND, FOE, GONE])


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_it_is_asked_for_each_page(rig: Rig) -> None:
    assert await rig.hidden() == {FOE, GONE}
    rig.user_svc.hidden = [FRIEND]
    assert await rig.hidden() == {FRIEND, GONE}


async def test_what_was_said_last_serves_for_an_hour(rig: Rig) -> None:
    await rig.hidden()
    rig.user_svc.hidden = [FRIEND]
    await rig.hidden()
    rig.user_svc.is_down = True
    rig.now_s += LastKnownSettings().age_s_max - 1
    assert await rig.hidden() == {FRIEND}
    rig.now_s += 1
    with pytest.raises(Unavailable):
        await rig.hidden()


async def test_of_others_than_the_viewer_nothing_is_known(rig: Rig) -> None:
    await rig.hidden()
    rig.user_svc.is_down = True
    with pytest.raises(Unavailable):
        await rig.hidden(FRIEND)


async def test_writes_need_an_answer(rig: Rig) -> None:
    await rig.hidden()
    rig.user_svc.is_down = True
    with pytest.raises(Unavailable):
        await rig.people.relations(VIEWER, [FRIEND])


async def test_a_page_asks_in_vain_once(rig: Rig) -> None:
    await rig.hidden()
    rig.user_svc.is_down = True
    rig.user_svc.calls.clear()
    viewer = Viewer(rig.people, VIEWER)
    for _ in range(3):
        assert await viewer.hidden([FRIEND, FOE]) == {FOE}
    assert sorted(rig.user_svc.calls) == ["hidden", "relationships"]


async def test_a_page_of_oneself_asks_nobody(rig: Rig) -> None:
    rig.user_svc.is_down = True
    assert await Viewer(rig.people, VIEWER).hidden([VIEWER]) == set()
    assert rig.user_svc.calls == []


async def test_too_many_to_be_told_are_not_known(rig: Rig) -> None:
    await rig.hidden()
    rig.user_svc.truncated, rig.user_svc.hidden = True, []
    await rig.hidden()
    rig.user_svc.is_down = True
    with pytest.raises(Unavailable):
        await rig.hidden()


@pytest.mark.parametrize(
    "bounds", [LastKnownSettings(entries_max=3), LastKnownSettings(size_max=3)]
)
async def test_memory_is_bounded_and_forgets_who_was_not_seen_longest(
    bounds: LastKnownSettings,
) -> None:
    rig = Rig(PeopleLimits(last_known=bounds))
    readers = [UserId(UUID(int=number)) for number in range(10, 15)]
    for reader in (*readers[:3], readers[0], *readers[3:]):
        await rig.hidden(reader)
    known = [rig.people.known_hidden(reader) is not None for reader in readers]
    assert known == [True, False, False, True, True]
