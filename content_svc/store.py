"""Posts in MongoDB. The stores of comments, likes and purges stand beside this file.

Reads go to the database; writes take a `Change`: one transaction together with the events that
tell of it.

A live document has a `place`: 8 bytes of time and 16 of its id, so that the order of bytes is the
order of lists, and each list is a range of an index. A deleted post keeps its id, its author and
the time of its deletion; it has no place, and so is in no list.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from uuid import UUID

from content_svc.model import (
    DeletedPost,
    Location,
    Media,
    MediaKind,
    Mention,
    Page,
    Place,
    Post,
    PostId,
    PostIdTaken,
    PostReference,
    T,
    UserId,
    post_digest,
)
from content_svc.texts import words_in
from svckit.batches import Coalescer
from svckit.mongo.changes import Change
from svckit.mongo.client import Document, DuplicateKey, Expression, Mongo

POSTS = "posts"

NEWEST_FIRST = {"place": -1}
_LIVE: Expression = {"place": {"$exists": True}}
_WHOLE: Expression = {"words": 0, "digest": 0}
_REFERENCE: Expression = {"_id": 0, "place": 1, "author_id": 1, "shared_post_id": 1}
_TIME_BYTES = 8


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """How much one look at the posts costs at most."""

    authors_per_query: int = 200  # MongoDB merges the index ranges of so many; of more it sorts
    queries_at_once: int = 4
    search_candidates_max: int = 2_000
    search_words_max: int = 8


class PostStore:
    """All calls about posts and shares."""

    def __init__(self, mongo: Mongo, limits: StoreLimits) -> None:
        self._posts = mongo.collection(POSTS)
        self._limits = limits
        self._by_id = Coalescer(self._posts_by_id)

    async def insert(self, change: Change, *posts: Post) -> None:
        """Claims the ids; `PostIdTaken` (of the first of them) must end the transaction."""
        try:
            await change.transaction.collection(POSTS).insert(*map(document_of, posts))
        except DuplicateKey as error:
            raise PostIdTaken(post_id=str(posts[0].post_id)) from error

    async def first_of(self, post: Post) -> Post | None:
        """The live post that was made with this id by this author from this body."""
        query = {"_id": post.post_id, "author_id": post.author_id, "digest": post_digest(post)}
        document = await self._posts.find_one({**query, **_LIVE}, fields=_WHOLE)
        return _to_post(document) if document else None

    async def in_change(self, change: Change, post_id: PostId) -> Post | DeletedPost | None:
        """The post as the transaction sees it."""
        posts = change.transaction.collection(POSTS)
        document = await posts.find_one({"_id": post_id}, fields=_WHOLE)
        if document is None:
            return None
        if "place" in document:
            return _to_post(document)
        return DeletedPost(post_id, document["author_id"], document["delete_time_ms"])

    async def update(self, change: Change, post: Post) -> None:
        """Writes what can change of a post that the transaction has seen alive."""
        fields = _fields(post)
        gone = {name: "" for name, value in fields.items() if value is None}
        written = {"$set": _present(fields), **({"$unset": gone} if gone else {})}
        posts = change.transaction.collection(POSTS)
        await posts.update({"_id": post.post_id, **_LIVE}, written)

    async def delete(self, change: Change, post: Post, now_ms: int) -> DeletedPost:
        """Leaves the id and who had it, of a post that the transaction has seen alive."""
        left = {"_id": post.post_id, "author_id": post.author_id, "delete_time_ms": now_ms}
        posts = change.transaction.collection(POSTS)
        await posts.replace({"_id": post.post_id, **_LIVE}, left)
        return DeletedPost(post.post_id, post.author_id, now_ms)

    async def post(self, post_id: PostId) -> Post | None:
        """Read together with whatever else is asked for at the same moment."""
        return await self._by_id.get(post_id)

    async def posts(self, post_ids: Iterable[UUID]) -> list[Post]:
        """The live ones, in no particular order."""
        query = {"_id": {"$in": list(post_ids)}, **_LIVE}
        return [_to_post(document) for document in await self._posts.find(query, fields=_WHOLE)]

    async def _posts_by_id(self, post_ids: Sequence[PostId]) -> dict[PostId, Post]:
        return {post.post_id: post for post in await self.posts(post_ids)}

    async def live_ids(self, post_ids: Iterable[UUID]) -> set[UUID]:
        """The ids of live posts: a post may be gone before its shares are."""
        query = {"_id": {"$in": list(post_ids)}, **_LIVE}
        return {document["_id"] for document in await self._posts.find(query, fields={"_id": 1})}

    async def by_author(self, author_id: UserId, before: Place, limit: int) -> Page[Post]:
        return await self._list({"author_id": author_id}, before, limit)

    async def by_tag(self, tag: str, before: Place, limit: int) -> Page[Post]:
        return await self._list({"tags": tag}, before, limit)

    async def search(self, words: Sequence[str], before: Place, limit: int) -> Page[Post]:
        """Posts with all the words.

        Of several words, a bounded number of posts with the rarest one is looked at: a page may be
        short, or empty, and still not the last.
        """
        floor = await self._search_floor(words, before) if len(words) > 1 else b""
        found = await self._posts.find(
            {
                "words": {"$all": list(words)},
                "place": {"$gte": floor, "$lt": packed(before)},
            },
            fields=_WHOLE,
            sort=NEWEST_FIRST,
            limit=limit,
        )
        if len(found) == limit:
            floor = found[-1]["place"]
        return [_to_post(document) for document in found], unpacked(floor) if floor else None

    async def _search_floor(self, words: Sequence[str], before: Place) -> bytes:
        """The lowest place that any of the words reaches; only the longest ones are asked about."""
        longest = sorted(words, key=len, reverse=True)[: self._limits.search_words_max]
        return min(await asyncio.gather(*(self._last_candidate(word, before) for word in longest)))

    async def _last_candidate(self, word: str, before: Place) -> bytes:
        """Its place; empty = there are not so many."""
        last = await self._posts.find(
            {"words": word, "place": {"$lt": packed(before)}},
            fields={"_id": 0, "place": 1},
            sort=NEWEST_FIRST,
            skip=self._limits.search_candidates_max - 1,
            limit=1,
        )
        return bytes(last[0]["place"]) if last else b""

    async def references(
        self, author_ids: Iterable[UUID], before: Place, limit: int
    ) -> list[PostReference]:
        """The newest of all these authors, exactly, newest first; from the index alone.

        Authors are asked for in groups; what the first groups give is the floor of the next.
        """
        authors = list(dict.fromkeys(author_ids))
        at_once = self._limits.authors_per_query * self._limits.queries_at_once
        newest: list[Document] = []
        for start in range(0, len(authors), at_once):
            floor = newest[-1]["place"] if len(newest) == limit else b""
            places = {"$gt": floor, "$lt": packed(before)}
            groups = await asyncio.gather(
                *(
                    self._posts.find(
                        {"author_id": {"$in": group}, "place": places},
                        fields=_REFERENCE,
                        sort=NEWEST_FIRST,
                        limit=limit,
                    )
                    for group in self._groups(authors[start : start + at_once])
                )
            )
            for group in groups:
                newest += group
            newest.sort(key=itemgetter("place"), reverse=True)
            del newest[limit:]
        return [_to_reference(document) for document in newest]

    def _groups(self, authors: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
        size = self._limits.authors_per_query
        return (authors[start : start + size] for start in range(0, len(authors), size))

    async def shared_by(self, viewer_id: UserId, post_ids: Iterable[UUID]) -> set[UUID]:
        """Which of the posts the viewer has shared."""
        query = {"shared_post_id": {"$in": list(post_ids)}, "author_id": viewer_id}
        fields = {"_id": 0, "shared_post_id": 1}
        return {each["shared_post_id"] for each in await self._posts.find(query, fields=fields)}

    async def shares_of(self, post_id: PostId, limit: int) -> list[Post]:
        """Some of them, in no particular order."""
        query = {"shared_post_id": post_id}
        found = await self._posts.find(query, fields=_WHOLE, limit=limit)
        return [_to_post(document) for document in found]

    async def _list(self, query: Expression, before: Place, limit: int) -> Page[Post]:
        found = await self._posts.find(
            {**query, "place": {"$lt": packed(before)}},
            fields=_WHOLE,
            sort=NEWEST_FIRST,
            limit=limit,
        )
        return page_of(found, limit, _to_post)


def page_of(found: Sequence[Document], limit: int, made: Callable[[Document], T]) -> Page[T]:
    """A page from a range of an index: fewer than asked for means that there are no more."""
    place = unpacked(found[-1]["place"]) if len(found) == limit else None
    return [made(document) for document in found], place


def packed(place: Place) -> bytes:
    time_ms, made_id = place
    return time_ms.to_bytes(_TIME_BYTES, "big") + made_id.bytes


def unpacked(place: bytes) -> Place:
    return int.from_bytes(place[:_TIME_BYTES], "big"), UUID(bytes=place[_TIME_BYTES:])


def document_of(post: Post) -> Document:
    return {
        "_id": post.post_id,
        "author_id": post.author_id,
        "place": packed((post.create_time_ms, post.post_id)),
        "digest": post_digest(post),
        **_present(_fields(post)),
    }


def to_mentions(document: Document) -> tuple[Mention, ...]:
    return tuple(Mention(**mention) for mention in document.get("mentions", ()))


def _fields(post: Post) -> Document:
    """The fields that can change; None = neither the document nor an index has it."""
    return {
        "content": post.content,
        "words": list(words_in(post.content)) or None,
        "given_tags": list(post.given_tags) or None,
        "tags": list(post.tags) or None,
        "location": asdict(post.location) if post.location else None,
        "media": [asdict(each) for each in post.media] or None,
        "mentions": [asdict(each) for each in post.mentions] or None,
        "shared_post_id": post.shared_post_id,
        "shared_author_id": post.shared_author_id,
        "update_time_ms": post.update_time_ms,
        "edited": post.edited,
    }


def _present(fields: Document) -> Document:
    return {name: value for name, value in fields.items() if value is not None}


def _to_post(document: Document) -> Post:
    media = (
        Media(**{**each, "kind": MediaKind(each["kind"])}) for each in document.get("media", ())
    )
    return Post(
        post_id=document["_id"],
        author_id=document["author_id"],
        content=document["content"],
        create_time_ms=unpacked(document["place"])[0],
        update_time_ms=document["update_time_ms"],
        edited=document["edited"],
        given_tags=tuple(document.get("given_tags", ())),
        tags=tuple(document.get("tags", ())),
        location=Location(**document["location"]) if "location" in document else None,
        media=tuple(media),
        mentions=to_mentions(document),
        shared_post_id=document.get("shared_post_id"),
        shared_author_id=document.get("shared_author_id"),
    )


def _to_reference(document: Document) -> PostReference:
    create_time_ms, post_id = unpacked(document["place"])
    shared_post_id = document.get("shared_post_id")
    return PostReference(PostId(post_id), document["author_id"], create_time_ms, shared_post_id)
