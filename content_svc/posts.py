"""Publishing, reading, changing and deleting posts and shares."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar
from uuid import UUID

from content_svc import events, metrics
from content_svc.cache import CachedPost, PostCache
from content_svc.clients import People, Viewer
from content_svc.creations import Creations
from content_svc.like_store import LikeStore
from content_svc.model import (
    Blocked,
    DeletedPost,
    Location,
    Media,
    Page,
    Place,
    Post,
    PostId,
    PostIdTaken,
    PostNotFound,
    PostReference,
    Purge,
    PurgeKind,
    ShareNotAllowed,
    UserId,
    UserNotFound,
    ViewerState,
)
from content_svc.paging import filled_page
from content_svc.purge_store import PurgeStore
from content_svc.store import PostStore
from content_svc.texts import all_tags, names_in, words_in
from svckit.errors import InvalidArgument, PermissionDenied
from svckit.ids import new_id
from svckit.mongo.changes import Change, Changes

P = TypeVar("P", Post, PostReference)
FetchPosts = Callable[[Place, int], Awaitable[Page[Post]]]


@dataclass(frozen=True, slots=True)
class Draft:
    """The fields that a client sent for a post, each checked."""

    content: str
    given_tags: tuple[str, ...]
    location: Location | None
    media: tuple[Media, ...]


class Posts:
    """Use cases about posts."""

    def __init__(
        self,
        changes: Changes,
        creations: Creations,
        store: PostStore,
        likes: LikeStore,
        purges: PurgeStore,
        cache: PostCache,
        people: People,
        media_base_url: str,
        clock_ms: Callable[[], int],
        page_refills_max: int,
    ) -> None:
        self._changes = changes
        self._creations = creations
        self._store = store
        self._likes = likes
        self._purges = purges
        self._cache = cache
        self._people = people
        self._media_base_url = media_base_url
        self._clock_ms = clock_ms
        self._page_refills_max = page_refills_max

    async def create(
        self,
        author_id: UserId,
        post_id: PostId | None,
        draft: Draft,
        shared_post_id: PostId | None,
    ) -> Post:
        """With the client's own id: the same id and body give the first post, and make one."""
        if not (draft.content or draft.media or shared_post_id):
            described = "must not be empty without media and without a shared post"
            raise InvalidArgument.of("content", described)
        now_ms = self._clock_ms()
        post = Post(
            post_id=post_id or PostId(new_id()),
            author_id=author_id,
            content=draft.content,
            create_time_ms=now_ms,
            update_time_ms=now_ms,
            given_tags=draft.given_tags,
            tags=all_tags(draft.given_tags, draft.content),
            location=draft.location,
            media=draft.media,
            shared_post_id=shared_post_id,
        )
        if post_id is not None and (first := await self._store.first_of(post)) is not None:
            return first
        if shared_post_id is not None:
            post = replace(post, shared_author_id=await self._shareable(author_id, shared_post_id))
        post = replace(post, mentions=await self._people.mentioned(names_in(post.content)))

        try:
            await self._creations.create(post, events.post_created(post, self._media_base_url))
        except PostIdTaken:
            first = await self._store.first_of(post)
            if first is None:
                raise
            return first
        metrics.POSTS_CREATED.inc()
        return post

    async def _shareable(self, author_id: UserId, post_id: PostId) -> UserId:
        """The post's author; raises when it is not there, or not for sharing by this person."""
        shared = await self.get(post_id)
        if shared.shared_post_id is not None:
            raise ShareNotAllowed(post_id=str(post_id), cause="share")
        if shared.author_id == author_id:
            raise ShareNotAllowed(post_id=str(post_id), cause="own")
        await self.require_reachable(author_id, shared.author_id)
        return shared.author_id

    async def require_reachable(self, actor_id: UserId, author_id: UserId) -> None:
        """Nobody likes, comments on or shares across a block, or what a deleted person left."""
        relation = (await self._people.relations(actor_id, [author_id]))[author_id]
        if relation.is_blocked:
            raise Blocked(user_id=str(author_id))
        if not relation.exists:
            raise UserNotFound(user_id=str(author_id))

    async def get(self, post_id: PostId) -> Post:
        """From the store, never from a cache: what was deleted is not found from that moment on."""
        post = await self._store.post(post_id)
        if post is None or not await self._with_live_targets([post]):
            raise PostNotFound(post_id=str(post_id))
        return post

    async def get_many(self, post_ids: Sequence[UUID]) -> list[CachedPost]:
        """The posts that are there, through the cache: as they were at most its age ago."""
        posts = (await self._cache.get(post_ids)).values()
        targets = [post.shared_post_id for post in posts if post.shared_post_id is not None]
        live = await self._cache.get(targets)
        return [
            post for post in posts if post.shared_post_id is None or post.shared_post_id in live
        ]

    async def update(
        self, author_id: UserId, post_id: PostId, merge: Callable[[Post], Draft]
    ) -> Post:
        """Changes one's own post to what `merge` makes of it; a share keeps what it shares."""
        current = await self.get(post_id)
        if current.author_id != author_id:
            raise PermissionDenied
        content, mentions = merge(current).content, current.mentions
        if content != current.content:
            mentions = await self._people.mentioned(names_in(content))

        async def write(change: Change) -> Post:
            before = await self._store.in_change(change, post_id)
            if not isinstance(before, Post):
                raise PostNotFound(post_id=str(post_id))
            draft = merge(before)
            after = replace(
                before,
                content=draft.content,
                given_tags=draft.given_tags,
                tags=all_tags(draft.given_tags, draft.content),
                location=draft.location,
                media=draft.media,
                mentions=mentions if draft.content == content else before.mentions,
            )
            if after == before:
                return before
            after = replace(after, update_time_ms=self._clock_ms(), edited=True)
            await self._store.update(change, after)
            change.emit(*events.post_updated(before, after, self._media_base_url))
            return after

        post = await self._changes.run(write)
        self._cache.forget(post_id)
        return post

    async def delete(self, caller_id: UserId, post_id: PostId, *, is_moderator: bool) -> int:
        """Returns when it was first deleted. Its comments, likes and shares go soon after."""
        now_ms = self._clock_ms()

        async def write(change: Change) -> int:
            post = await self._store.in_change(change, post_id)
            if post is None:
                raise PostNotFound(post_id=str(post_id))
            if post.author_id != caller_id and not is_moderator:
                raise PermissionDenied
            if isinstance(post, DeletedPost):
                return post.delete_time_ms
            await self.remove(change, post, now_ms)
            return now_ms

        delete_time_ms = await self._changes.run(write)
        self._cache.forget(post_id)
        return delete_time_ms

    async def remove(self, change: Change, post: Post, now_ms: int) -> None:
        """Within a transaction that has seen the post alive."""
        await self._store.delete(change, post, now_ms)
        await self._purges.add(change, Purge(PurgeKind.POST, post.post_id, now_ms))
        change.emit(events.post_deleted(post, now_ms, self._media_base_url))

    async def by_author(
        self, viewer_id: UserId, author_id: UserId, before: Place, limit: int
    ) -> Page[Post]:
        """Across a block there is nothing to see."""
        viewer = Viewer(self._people, viewer_id)
        relation = (await viewer.relations([author_id]))[author_id]
        if not relation.exists:
            raise UserNotFound(user_id=str(author_id))
        if relation.is_blocked:
            return [], None

        return await self._page(viewer, partial(self._store.by_author, author_id), before, limit)

    async def by_tag(self, viewer_id: UserId, tag: str, before: Place, limit: int) -> Page[Post]:
        viewer = Viewer(self._people, viewer_id)
        return await self._page(viewer, partial(self._store.by_tag, tag), before, limit)

    async def search(self, viewer_id: UserId, query: str, before: Place, limit: int) -> Page[Post]:
        words = words_in(query)
        if not words:
            raise InvalidArgument.of("query", "must have a letter or digit")
        viewer = Viewer(self._people, viewer_id)
        return await self._page(viewer, partial(self._store.search, words), before, limit)

    async def references(
        self, author_ids: Sequence[UUID], before: Place, limit: int
    ) -> list[PostReference]:
        """The truth of feeds: shares of what is deleted are left out by a look at their targets.

        Fewer than `limit` means that there are no more.
        """
        found: list[PostReference] = []
        while True:
            wanted = limit - len(found)
            references = await self._store.references(author_ids, before, wanted)
            found += await self._with_live_targets(references)
            if len(references) < wanted or len(found) == limit:
                return found
            before = references[-1].create_time_ms, references[-1].post_id

    async def viewer_states(self, viewer_id: UserId, post_ids: Sequence[UUID]) -> list[ViewerState]:
        """One for each of the posts, in their order."""
        liked, shared = await asyncio.gather(
            self._likes.liked_by(viewer_id, post_ids), self._store.shared_by(viewer_id, post_ids)
        )
        return [ViewerState(liked=each in liked, shared=each in shared) for each in post_ids]

    async def _page(
        self, viewer: Viewer, fetch: FetchPosts, before: Place, limit: int
    ) -> Page[Post]:
        async def keep(posts: list[Post]) -> list[Post]:
            authors = {post.author_id for post in posts}
            authors |= {post.shared_author_id for post in posts if post.shared_author_id}
            hidden = await viewer.hidden(authors)
            seen = (post for post in posts if post.author_id not in hidden)
            return await self._with_live_targets(
                [post for post in seen if post.shared_author_id not in hidden]
            )

        return await filled_page(fetch, keep, before, limit, self._page_refills_max)

    async def _with_live_targets(self, posts: Iterable[P]) -> list[P]:
        """Shares vanish with what they share, also before they are purged."""
        posts = list(posts)
        targets = {post.shared_post_id for post in posts if post.shared_post_id is not None}
        live = await self._store.live_ids(targets) if targets else set()
        return [
            post for post in posts if post.shared_post_id is None or post.shared_post_id in live
        ]
