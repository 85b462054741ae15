"""Plain stand-ins for what home feeds are read from: a small world that a test fills by hand."""

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from feed_svc.hydrate import Hydrated, Item
from feed_svc.model import (
    TOP,
    WHOLE,
    Hidden,
    Lack,
    Place,
    Post,
    PostId,
    Source,
    UserId,
    ViewerGraph,
    Window,
    WindowState,
)
from svckit.errors import Unavailable

NO_SOURCE = Source((), None)


def an_id(number: int) -> bytes:
    return number.to_bytes(16)


def user(number: int) -> UserId:
    return UserId(an_id(number))


def post_id(number: int) -> PostId:
    return PostId(an_id(number))


def source_of(places: Iterable[Place], entries_max: int) -> Source:
    """The newest so many, as a store keeps them."""
    ordered = sorted(places, reverse=True)
    kept = ordered[:entries_max]
    return Source(kept, kept[-1] if len(ordered) > entries_max else None)


@dataclass
class Windows:
    """One window. Like the store's, a read tells how far down it is exact."""

    source: Source = NO_SOURCE
    pull_author_ids: frozenset[UserId] = frozenset()
    state: WindowState = WindowState.READY
    is_down: bool = False
    forgotten: list[PostId] = field(default_factory=list)

    def read(self, _: UserId, before: Place, limit: int) -> Awaitable[Window]:
        return asyncio.ensure_future(self._read(before, limit))

    async def _read(self, before: Place, limit: int) -> Window:
        if self.is_down:
            raise Unavailable
        if self.state is not WindowState.READY:
            return Window(self.state, NO_SOURCE, frozenset())
        places = [place for place in self.source.places if place < before]
        floor = self.source.floor
        if len(places) > limit:
            places = places[:limit]
            floor = places[-1]
        return Window(self.state, Source(places, floor), self.pull_author_ids)

    async def forget(self, _: UserId, post_ids: Sequence[PostId]) -> None:
        self.forgotten += post_ids


@dataclass
class Authors:
    """The recents that the store has."""

    kept: Mapping[UserId, Source] = field(default_factory=dict)
    recents_max: int = 200

    async def recents(self, author_ids: Collection[UserId]) -> dict[UserId, Source]:
        return {each: self.kept[each] for each in author_ids if each in self.kept}


@dataclass
class Contents:
    """The truth: every author's places."""

    places: Mapping[UserId, Collection[Place]] = field(default_factory=dict)
    is_down: bool = False
    asked: int = 0

    async def by_authors(
        self, author_ids: Iterable[UserId], before: Place, limit: int
    ) -> list[Place]:
        self.asked += 1
        if self.is_down:
            raise Unavailable
        found = [
            place for each in author_ids for place in self.places.get(each, ()) if place < before
        ]
        return sorted(found, reverse=True)[:limit]

    async def newest(self, author_ids: Iterable[UserId], limit: int) -> Source:
        places = await self.by_authors(author_ids, TOP, limit)
        return Source(places, None if len(places) < limit else places[-1])

    async def posts(self, _: Iterable[PostId]) -> dict[PostId, Post]:
        raise Unavailable


@dataclass
class People:
    """One viewer's graph, and who is hidden from them."""

    followee_ids: frozenset[UserId] = frozenset()
    hidden_now: Hidden = field(default_factory=lambda: Hidden(frozenset(), truncated=False))
    hidden_too: set[UserId] = field(default_factory=set)
    """On top, if there are more than can be told."""
    is_down: bool = False

    async def hidden(self, viewer_ids: Sequence[UserId]) -> dict[UserId, Hidden]:
        self._answer()
        return dict.fromkeys(viewer_ids, self.hidden_now)

    async def hidden_among(self, _: UserId, user_ids: Iterable[UserId]) -> set[UserId]:
        self._answer()
        return self.hidden_too & {*user_ids}

    async def graph(self, _: UserId) -> tuple[ViewerGraph, bytes]:
        self._answer()
        return ViewerGraph(exists=True, followee_ids=self.followee_ids), b""

    async def cards(self, _: Iterable[UserId]) -> dict[UserId, bytes]:
        raise Unavailable

    def _answer(self) -> None:
        if self.is_down:
            raise Unavailable


@dataclass
class Caches:
    """Copies of graphs."""

    graphs: dict[UserId, bytes] = field(default_factory=dict)

    async def graph(self, viewer_id: UserId) -> bytes | None:
        return self.graphs.get(viewer_id)

    async def put_graph(self, viewer_id: UserId, data: bytes) -> None:
        self.graphs[viewer_id] = data


class Rebuilds:
    def __init__(self) -> None:
        self.kicked: list[UserId] = []

    def kick(self, viewer_id: UserId) -> None:
        self.kicked.append(viewer_id)


@dataclass
class Hydrator:
    """Shows each post as its id; its time in ms is its number."""

    authors: Mapping[PostId, UserId] = field(default_factory=dict)
    shared_authors: Mapping[PostId, UserId] = field(default_factory=dict)
    gone: set[PostId] = field(default_factory=set)
    lacks_cards: bool = False

    async def items(self, post_ids: Collection[PostId]) -> Hydrated:
        shown = [
            Item(
                (int.from_bytes(each), each),
                self.authors.get(each, user(1)),
                self.shared_authors.get(each),
                each,
            )
            for each in post_ids
            if each not in self.gone
        ]
        gone = [each for each in post_ids if each in self.gone]
        lacks = frozenset({Lack.CARDS}) if self.lacks_cards else WHOLE
        return Hydrated(shown, gone, lacks)

    async def place_of_own(self, _: UserId, own_id: PostId) -> Place | None:
        if own_id in self.gone:
            raise Unavailable
        return int.from_bytes(own_id), own_id
