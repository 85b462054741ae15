"""The work behind a change: posts go into windows, follows fill and empty them.

All of it is done in the lane of the author whose posts it concerns, so one author's events come one
after another. Each asks what is true by now and brings the windows there: it may come twice, late,
or about people and posts that are gone.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from feed_svc import metrics
from feed_svc.author_store import AuthorStore
from feed_svc.cache_store import CacheStore
from feed_svc.clients import Contents, People
from feed_svc.followers import BatchLimits, write_to_followers
from feed_svc.model import (
    Place,
    Post,
    PostId,
    Source,
    Tier,
    UserId,
    WindowState,
)
from feed_svc.tiers import Tiers
from feed_svc.window_store import WindowStore
from svckit.events.bus import Fence

GONE = b""


@dataclass(frozen=True, slots=True)
class FanoutLimits:
    purged_posts_max: int = 500  # looked at; a window with more of an author's posts is built anew
    deliveries: BatchLimits = field(default_factory=BatchLimits)


class Fanout:
    """Use cases of the events."""

    def __init__(
        self,
        people: People,
        contents: Contents,
        windows: WindowStore,
        authors: AuthorStore,
        caches: CacheStore,
        tiers: Tiers,
        clock_ms: Callable[[], int],
        limits: FanoutLimits | None = None,
    ) -> None:
        self._people = people
        self._contents = contents
        self._windows = windows
        self._authors = authors
        self._caches = caches
        self._tiers = tiers
        self._clock_ms = clock_ms
        self._limits = limits or FanoutLimits()

    async def published(self, fence: Fence, author_id: UserId, place: Place) -> None:
        """To the author first, then, unless the author is pulled, to the followers."""

        async def deliver(viewer_ids: bytes) -> None:
            metrics.DELIVERIES.inc(await self._windows.deliver(fence, place, viewer_ids))

        await deliver(author_id)
        follower_count = await self._people.follower_count(author_id)
        if follower_count is None:
            return
        recents = await self._recents(fence, author_id, new=place)
        tier = await self._tiers.settle(fence, author_id, follower_count, recents)
        if tier is Tier.PUSH:
            await write_to_followers(self._people, author_id, self._limits.deliveries, deliver)
        else:
            await self._windows.tell_readers(author_id, place)
        metrics.DELIVERY_AGE.observe(max(0, self._clock_ms() - place[0]) / 1000)

    async def follow_changed(self, fence: Fence, viewer_id: UserId, author_id: UserId) -> None:
        """Brings a viewer's window in line with whether they follow the author now."""
        is_following, follower_count, tier = await asyncio.gather(
            self._people.is_following(viewer_id, author_id),
            self._people.follower_count(author_id),
            self._authors.tier(author_id),
        )
        if follower_count is not None and not self._tiers.is_kept(tier, follower_count):
            recents = await self._recents(fence, author_id)
            tier = await self._tiers.settle(fence, author_id, follower_count, recents)
        if not is_following:
            await self._purge(fence, viewer_id, author_id)
        elif tier is Tier.PULL:
            await self._windows.set_pull(fence, viewer_id, author_id, on=True)
        else:
            await self._backfill(fence, viewer_id, author_id)

    async def edited(self, fence: Fence, post: Post) -> None:
        latest = await self._contents.latest(post)
        await self._caches.posts.put(fence, post.post_id, latest.encoded if latest else GONE)

    async def post_deleted(self, fence: Fence, author_id: UserId, post_id: PostId) -> None:
        """Followers' windows keep the id: the first reader that meets it removes it."""
        await self._caches.posts.put(fence, post_id, GONE)
        await self._authors.forget(fence, author_id, post_id)
        await self._windows.forget(author_id, [post_id])

    async def person_changed(self, fence: Fence, user_id: UserId) -> None:
        cards = await self._people.cards([user_id])
        await self._caches.cards.put(fence, user_id, cards.get(user_id, GONE))

    async def person_deleted(self, fence: Fence, user_id: UserId) -> None:
        """Posts of theirs in others' windows are not shown, as there is no card for them."""
        await self._caches.cards.put(fence, user_id, GONE)
        await self._windows.evict(user_id)
        await self._authors.drop(fence, user_id)
        await self._authors.set_tier(fence, user_id, Tier.PUSH)

    async def _recents(self, fence: Fence, author_id: UserId, new: Place | None = None) -> Source:
        """The author's, with the new post; read anew if the store has none."""
        if new is None or await self._authors.add(fence, author_id, new):
            known = await self._authors.recents([author_id])
            if author_id in known:
                return known[author_id]
        recents = await self._contents.newest([author_id], self._authors.recents_max)
        await self._authors.put(fence, author_id, recents)
        return recents

    async def _backfill(self, fence: Fence, viewer_id: UserId, author_id: UserId) -> None:
        state, _ = await self._windows.floor(viewer_id)
        if state is not WindowState.MISSING:
            source = await self._contents.newest([author_id], self._windows.entries_max)
            await self._windows.backfill(fence, viewer_id, author_id, source)
            metrics.BACKFILLS.inc()

    async def _purge(self, fence: Fence, viewer_id: UserId, author_id: UserId) -> None:
        """A window that cannot be purged by one look at the author's posts is built anew instead.

        A window that is being built is too: it is not known how far down its posts reach.
        """
        state, floor = await self._windows.floor(viewer_id)
        if state is WindowState.MISSING:
            return
        source = await self._contents.newest([author_id], self._limits.purged_posts_max)
        is_covered = source.floor is None or (floor is not None and source.floor <= floor)
        if state is WindowState.READY and is_covered:
            post_ids = [place[1] for place in source.places if floor is None or place >= floor]
            await self._windows.purge(fence, viewer_id, author_id, post_ids)
        else:
            await self._windows.evict(viewer_id)
        metrics.PURGES.inc()
