"""Pages: what is left out of them, how they are filled up, and where they end."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import pytest
from newsfeed.feed.v1.feed_service_pb2 import FeedItem

from feed_svc.background import Background
from feed_svc.candidates import Candidates
from feed_svc.graphs import Graphs
from feed_svc.home import Home, HomeLimits, HomePage
from feed_svc.model import TOP, WHOLE, Hidden, Lack, Place, PostId, Source, UserId, WindowState
from feed_svc.wire import field, renumbered
from svckit.patience import Patience
from tests.stacks import feed_fakes as fakes
from tests.stacks.feed_fakes import post_id, user

VIEWER, HIDDEN = user(0), user(66)


class Done:
    """Whose `of` is an `Engagement` that knows of all posts, or of some."""

    def __init__(self) -> None:
        self.unknown: set[PostId] = set()

    async def of(self, _: UserId, post_ids: Sequence[PostId]) -> Mapping[PostId, bytes]:
        return {each: b"!" for each in post_ids if each not in self.unknown}


class Rig:
    """A feed of posts 1 to `count`, all in the window."""

    def __init__(
        self, background: Background, count: int = 100, limits: HomeLimits | None = None
    ) -> None:
        self.background = background
        self.windows = fakes.Windows(
            Source([(number, post_id(number)) for number in range(count, 0, -1)], None)
        )
        self.people, self.hydrator, self.done = fakes.People(), fakes.Hydrator(), Done()
        self.contents, self.rebuilds = fakes.Contents(), fakes.Rebuilds()
        self.caches = fakes.Caches()
        graphs = Graphs(
            cast("Any", self.people), cast("Any", self.caches), Patience("user_svc"), background
        )
        candidates = Candidates(
            graphs,
            cast("Any", self.windows),
            cast("Any", fakes.Authors()),
            cast("Any", self.contents),
            cast("Any", self.rebuilds),
            Patience("content_svc"),
            background,
        )
        hydrator = cast("Any", self.hydrator)
        self.home = Home(graphs, candidates, hydrator, self.done.of, background, limits)

    def hide(self, *numbers: int) -> None:
        self.people.hidden_now = Hidden(frozenset([HIDDEN]), truncated=False)
        self.hydrator.authors = {post_id(number): HIDDEN for number in numbers}

    async def page(self, size: int, before: Place = TOP, own: int | None = None) -> HomePage:
        return await self.home.page(VIEWER, before, size, None if own is None else post_id(own))

    async def feed(self, size: int) -> list[int]:
        shown = []
        place: Place | None = TOP
        while place is not None:
            page = await self.page(size, place)
            shown += numbers(page)
            place = page.next_place
        return shown


def numbers(page: HomePage) -> list[int]:
    return [int.from_bytes(item[:16]) for item in page.items]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with Background(10) as background:
        yield Rig(background)


async def test_an_item_is_the_post_and_what_was_done_with_it(rig: Rig) -> None:
    page = await rig.page(2)
    assert page.items == [post_id(100) + b"!", post_id(99) + b"!"]
    assert page.next_place == (99, post_id(99))
    assert page.lacks == WHOLE


@pytest.mark.parametrize("size", [1, 3, 99, 100])
async def test_hidden_authors_leave_no_hole(rig: Rig, size: int) -> None:
    hidden = [100, 99, 50, 49, 48, 1]
    rig.hide(*hidden)
    expected = [number for number in range(100, 0, -1) if number not in hidden]
    assert await rig.feed(size) == expected
    assert len((await rig.page(size)).items) == min(size, len(expected))


async def test_the_end_is_told_with_the_last_item(rig: Rig) -> None:
    assert (await rig.page(100)).next_place is None
    assert (await rig.page(99)).next_place is not None
    rig.hide(1, 2, 3)
    assert (await rig.page(98)).next_place is None


async def test_shares_of_hidden_authors_are_hidden(rig: Rig) -> None:
    rig.hide()
    rig.hydrator.shared_authors = {post_id(100): HIDDEN, post_id(98): user(2)}
    assert numbers(await rig.page(2)) == [99, 98]


async def test_too_many_hidden_authors_are_asked_about(rig: Rig) -> None:
    rig.hide(100)
    rig.people.hidden_now = Hidden(frozenset(), truncated=True)
    rig.people.hidden_too = {HIDDEN}
    assert numbers(await rig.page(2)) == [99, 98]


async def test_looking_for_something_to_show_has_an_end_and_goes_on_there() -> None:
    async with Background(10) as background:
        rig = Rig(background, count=1_000)
        rig.hide(*range(2, 1_001))
        page = await rig.page(1)
        assert page.items == []
        looked_at = 1 + 2 + 4 + 8 + 16 + 32
        assert page.next_place == (1_000 - looked_at + 1, post_id(1_000 - looked_at + 1))
        assert await rig.feed(1) == [1]


async def test_a_page_of_large_posts_is_shorter() -> None:
    async with Background(10) as background:
        rig = Rig(background, limits=HomeLimits(page_bytes_max=7 * len(post_id(1))))
        rig.hide(98, 50)
        page = await rig.page(20)
        assert numbers(page) == [100, 99, 97, 96, 95, 94, 93]
        assert page.places[-1] == page.next_place
        shown = [number for number in range(100, 0, -1) if number not in {98, 50}]
        assert await rig.feed(20) == shown


async def test_what_is_gone_is_made_up_for_and_forgotten(rig: Rig) -> None:
    rig.hydrator.gone = {post_id(100), post_id(98)}
    assert numbers(await rig.page(2)) == [99, 97]
    await rig.background.idle()
    assert rig.windows.forgotten == [post_id(100), post_id(98)]


async def test_nothing_is_forgotten_without_a_window(rig: Rig) -> None:
    rig.windows.state = WindowState.BUILDING
    rig.contents.places = {VIEWER: [(2, post_id(2)), (1, post_id(1))]}
    rig.hydrator.gone = {post_id(2)}
    assert numbers(await rig.page(5)) == [1]
    await rig.background.idle()
    assert rig.windows.forgotten == []


@pytest.mark.parametrize("lack", [Lack.WINDOWS, Lack.PRESENT_GRAPH, Lack.CARDS, Lack.ENGAGEMENT])
async def test_a_page_says_which_part_is_missing(rig: Rig, lack: Lack) -> None:
    assert (await rig.page(3)).lacks == WHOLE
    rig.windows.is_down = lack is Lack.WINDOWS
    rig.people.is_down = lack is Lack.PRESENT_GRAPH
    rig.hydrator.lacks_cards = lack is Lack.CARDS
    rig.done.unknown = {post_id(99)} if lack is Lack.ENGAGEMENT else set()
    page = await rig.page(3)
    assert page.lacks == {lack}
    if lack is not Lack.WINDOWS:
        assert numbers(page) == [100, 99, 98]
    if lack is Lack.ENGAGEMENT:
        assert page.items[1] == post_id(99)


async def test_all_that_is_missing_is_told_together(rig: Rig) -> None:
    rig.people.is_down = True
    await rig.background.idle()
    rig.caches.graphs[VIEWER] = b""
    rig.windows.is_down = rig.hydrator.lacks_cards = True
    rig.contents.places = {VIEWER: [(2, post_id(2)), (1, post_id(1))]}
    rig.hydrator.gone = {post_id(3)}
    rig.done.unknown = {post_id(1)}
    page = await rig.page(3, own=3)
    assert numbers(page) == [2, 1]
    assert page.lacks == {*Lack}


class TestOwnPost:
    async def test_it_is_in_its_place(self, rig: Rig) -> None:
        rig.windows.source = Source([(9, post_id(9)), (7, post_id(7))], None)
        assert numbers(await rig.page(5, own=8)) == [9, 8, 7]
        assert numbers(await rig.page(5, own=10)) == [10, 9, 7]
        assert numbers(await rig.page(5, own=1)) == [9, 7, 1]
        assert numbers(await rig.page(5, own=7)) == [9, 7]

    async def test_what_it_pushes_out_is_on_the_next_page(self, rig: Rig) -> None:
        rig.windows.source = Source([(9, post_id(9)), (7, post_id(7))], None)
        page = await rig.page(2, own=8)
        assert numbers(page) == [9, 8]
        assert page.next_place == (8, post_id(8))
        page = await rig.page(2, own=1)
        assert numbers(page) == [9, 7]
        assert page.next_place == (7, post_id(7))

    async def test_the_page_comes_without_it_if_nobody_can_tell(self, rig: Rig) -> None:
        rig.hydrator.gone = {post_id(101)}
        page = await rig.page(2, own=101)
        assert numbers(page) == [100, 99]
        assert page.lacks == {Lack.OWN_WRITE}


@pytest.mark.parametrize("length", [0, 1, 127, 128, 300, 16_383, 16_384, 3_000_000])
def test_fields_are_as_protobuf_writes_them(length: int) -> None:
    data = bytes(length)
    card = FeedItem.FromString(field(2, field(1, b"x" * length))).author
    assert card.user_id == "x" * length
    assert renumbered(4, field(2, data)) == field(4, data)
