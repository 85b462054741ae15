"""From ids to what is shown: posts, whose they are, what they share; each with its encoded form.

Memory, then Redis, then one batch call to content_svc and one to user_svc for what is missing.
Nothing in here is one viewer's view. Posts and cards are kept as the fields of a FeedItem that they
become, so that to show them is to join bytes.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from newsfeed.feed.v1.feed_service_pb2 import FeedItem, UserCard

from feed_svc.background import Background
from feed_svc.cache_store import CacheStore
from feed_svc.clients import Contents, People, decode_post
from feed_svc.model import WHOLE, Lack, Lacks, Place, Post, PostId, UserId
from feed_svc.read_through import ReadThrough
from feed_svc.wire import field, renumbered
from svckit.patience import Patience

Card = bytes
"""The field `author`."""


class Item(NamedTuple):
    """A post as it is shown to every viewer who may see it, and the author of what it shares."""

    place: Place
    author_id: UserId
    shared_author_id: UserId | None
    encoded: bytes  # fields of a FeedItem: all but what the viewer and others did with it


class _Part:
    """A post by itself, and as the field `post`. It keeps the item that it was part of last."""

    __slots__ = ("_card", "_item", "author_id", "encoded", "place", "shared_post_id")

    def __init__(self, post: Post) -> None:
        self.place: Place = (post.create_time_ms, post.post_id)
        self.author_id = post.author_id
        self.shared_post_id = post.shared_post_id
        self.encoded = field(FeedItem.POST_FIELD_NUMBER, post.encoded)
        self._card: Card | None = None
        self._item: Item

    def beside(self, card: Card) -> Item:
        """Without what it shares."""
        if self._card is not card:
            self._item = Item(self.place, self.author_id, None, self.encoded + card)
            self._card = card
        return self._item


class Hydrated(NamedTuple):
    """The posts that can be shown, in the order asked for, and those that are gone for good."""

    items: Sequence[Item]
    gone_ids: Sequence[PostId]
    lacks: Lacks


class Hydrator:
    """Gives items; raises Unavailable if it is not known of each post whether it is there."""

    def __init__(
        self,
        contents: Contents,
        people: People,
        caches: CacheStore,
        with_contents: Patience,
        with_people: Patience,
        background: Background,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._contents = contents
        self._people = people
        self._caches = caches
        self._background = background
        self._posts: ReadThrough[PostId, _Part] = ReadThrough(
            with_contents, self._stored_posts, self._asked_posts, _bytes_of, background, clock_s
        )
        self._cards: ReadThrough[UserId, Card] = ReadThrough(
            with_people, self._stored_cards, self._asked_cards, len, background, clock_s
        )

    async def items(self, post_ids: Collection[PostId]) -> Hydrated:
        posts = await self._posts.get(post_ids)
        author_ids = {post.author_id for post in posts.values()}
        shared_ids = {post.shared_post_id for post in posts.values() if post.shared_post_id}
        shared_posts: Mapping[PostId, _Part] = {}
        if shared_ids:
            shared_posts = await self._posts.get(shared_ids)
            author_ids |= {post.author_id for post in shared_posts.values()}
        cards, unknown = await self._cards.get_known(author_ids)
        for each in unknown:
            cards[each] = _card_without_name(each)
        items: list[Item] = []
        gone_ids: list[PostId] = []
        for post_id in post_ids:
            post = posts.get(post_id)
            item = _item(post, shared_posts, cards) if post is not None else None
            if item is None:
                gone_ids.append(post_id)
            else:
                items.append(item)
        return Hydrated(items, gone_ids, frozenset({Lack.CARDS}) if unknown else WHOLE)

    async def place_of_own(self, viewer_id: UserId, post_id: PostId) -> Place | None:
        """Where the viewer's own post stands, as of now: it is read from its owner."""
        post = await self._posts.fresh(post_id)
        return post.place if post is not None and post.author_id == viewer_id else None

    async def _stored_posts(self, ids: Sequence[PostId]) -> Mapping[PostId, _Part | None]:
        found = await self._caches.posts.known(ids)
        return {each: self._decoded(each, data) for each, data in found.items()}

    def _decoded(self, post_id: PostId, data: bytes) -> _Part | None:
        """A post that is still as it was is not decoded again."""
        if not data:
            return None
        known = self._posts.remembered(post_id)
        if known is not None and known.encoded == field(FeedItem.POST_FIELD_NUMBER, data):
            return known
        return _Part(decode_post(data))

    async def _asked_posts(self, ids: Sequence[PostId]) -> Mapping[PostId, _Part]:
        found = await self._contents.posts(ids)
        encoded = {each: post.encoded for each, post in found.items()}
        self._background.start(self._caches.posts.fill(encoded))
        return {each: _Part(post) for each, post in found.items()}

    async def _stored_cards(self, ids: Sequence[UserId]) -> Mapping[UserId, Card | None]:
        found = await self._caches.cards.known(ids)
        return {
            each: field(FeedItem.AUTHOR_FIELD_NUMBER, data) if data else None
            for each, data in found.items()
        }

    async def _asked_cards(self, ids: Sequence[UserId]) -> Mapping[UserId, Card]:
        encoded = await self._people.cards(ids)
        self._background.start(self._caches.cards.fill(encoded))
        return {each: field(FeedItem.AUTHOR_FIELD_NUMBER, data) for each, data in encoded.items()}


def _bytes_of(part: _Part) -> int:
    return 2 * len(part.encoded)  # with the item that it keeps


def _item(
    post: _Part, shared_posts: Mapping[PostId, _Part], cards: Mapping[UserId, Card]
) -> Item | None:
    """None = it can't be shown: its author is gone, or what it shares, or the author of that."""
    card = cards.get(post.author_id)
    if card is None:
        return None
    item = post.beside(card)
    if post.shared_post_id is None:
        return item
    shared = shared_posts.get(post.shared_post_id)
    shared_card = cards.get(shared.author_id) if shared is not None else None
    if shared is None or shared_card is None:
        return None
    shown = renumbered(FeedItem.SHARED_POST_FIELD_NUMBER, shared.encoded) + renumbered(
        FeedItem.SHARED_AUTHOR_FIELD_NUMBER, shared_card
    )
    return item._replace(shared_author_id=shared.author_id, encoded=item.encoded + shown)


def _card_without_name(user_id: UserId) -> Card:
    return field(
        FeedItem.AUTHOR_FIELD_NUMBER,
        field(UserCard.USER_ID_FIELD_NUMBER, str(UUID(bytes=user_id)).encode()),
    )
