"""Liking posts. A like is a document; how many there are is for others to count."""

from collections.abc import Callable
from functools import partial

from content_svc import events
from content_svc.clients import People, Viewer
from content_svc.like_store import LikeStore
from content_svc.model import Like, Page, Place, Post, PostId, PostNotFound, UserId
from content_svc.paging import filled_page
from content_svc.posts import Posts
from content_svc.store import PostStore
from svckit.mongo.changes import Change, Changes


class Likes:
    """Use cases about likes."""

    def __init__(
        self,
        changes: Changes,
        store: LikeStore,
        post_store: PostStore,
        posts: Posts,
        people: People,
        clock_ms: Callable[[], int],
        page_refills_max: int,
    ) -> None:
        self._changes = changes
        self._store = store
        self._post_store = post_store
        self._posts = posts
        self._people = people
        self._clock_ms = clock_ms
        self._page_refills_max = page_refills_max

    async def like(self, user_id: UserId, post_id: PostId) -> None:
        """Liking again changes nothing."""
        post = await self._posts.get(post_id)
        await self._posts.require_reachable(user_id, post.author_id)
        like = Like(post_id, post.author_id, user_id, self._clock_ms())

        async def add(change: Change) -> None:
            if not isinstance(await self._post_store.in_change(change, post_id), Post):
                raise PostNotFound(post_id=str(post_id))
            if await self._store.add(change, like):
                change.emit(*events.post_liked(like))

        await self._changes.run(add)

    async def unlike(self, user_id: UserId, post_id: PostId) -> None:
        """Without a like it changes nothing. A block does not keep anybody from it."""
        await self._posts.get(post_id)

        async def remove(change: Change) -> None:
            removed = await self._store.remove(change, post_id, user_id)
            if removed is not None:
                change.emit(events.post_unliked(removed, self._clock_ms()))

        await self._changes.run(remove)

    async def of_post(
        self, viewer_id: UserId, post_id: PostId, before: Place, limit: int
    ) -> Page[Like]:
        """Newest first, without people across a block."""
        await self._posts.get(post_id)
        viewer = Viewer(self._people, viewer_id)

        async def keep(likes: list[Like]) -> list[Like]:
            hidden = await viewer.hidden([each.user_id for each in likes])
            return [like for like in likes if like.user_id not in hidden]

        fetch = partial(self._store.of_post, post_id)
        return await filled_page(fetch, keep, before, limit, self._page_refills_max)
