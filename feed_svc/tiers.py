"""Push or pull: how an author's posts reach the followers, and the change from one to the other.

The decision is made anew at each event that may turn it. A change goes through the windows of all
followers. From before its first window until after its last the author counts as changing, so that
one that was broken off is found, and done again in the direction that is right by then.
"""

from collections.abc import Callable
from dataclasses import dataclass

from feed_svc import metrics
from feed_svc.author_store import AuthorStore
from feed_svc.clients import People
from feed_svc.followers import BatchLimits, write_to_followers
from feed_svc.model import Source, Tier, UserId
from feed_svc.window_store import WindowStore
from svckit.events.bus import Fence
from svckit.settings import setting

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """The most that a pushed author may cost."""

    followers_max: int = setting(
        "PUSH_FOLLOWERS_MAX", "from here on an author is pulled", 10_000, at_least=1
    )
    deliveries_per_hour_max: int = setting(
        "PUSH_DELIVERIES_PER_HOUR_MAX",
        "followers times posts in an hour, above which an author is pulled",
        1_000_000,
        at_least=1,
    )
    pull_to_push_share: float = 0.8  # an author is pushed again below this share of the bounds


class Tiers:
    """Knows each author's tier, and changes it."""

    def __init__(
        self,
        settings: PushSettings,
        people: People,
        windows: WindowStore,
        authors: AuthorStore,
        clock_ms: Callable[[], int],
        limits: BatchLimits | None = None,
    ) -> None:
        self._settings = settings
        self._people = people
        self._windows = windows
        self._authors = authors
        self._clock_ms = clock_ms
        self._limits = limits or BatchLimits()

    async def settle(
        self, fence: Fence, author_id: UserId, follower_count: int, recents: Source
    ) -> Tier:
        """The tier that is right now, PUSH or PULL; every follower's window is ready for it."""
        present = await self._authors.tier(author_id)
        right = tier_for(
            self._settings,
            follower_count,
            posts_per_hour(recents, self._clock_ms()),
            was_pulled=present is not Tier.PUSH,
        )
        if present is not right:
            await self._authors.set_tier(fence, author_id, Tier.CHANGING)
            await self._change(fence, author_id, right, recents)
            await self._authors.set_tier(fence, author_id, right)
            metrics.TIER_CHANGES.labels(right.value).inc()
        return right

    def is_kept(self, tier: Tier, follower_count: int) -> bool:
        """Until they post again, an author of this tier stays where they are.

        Many may begin to follow an author at once: most of that needs no closer look.
        """
        was_pulled = tier is not Tier.PUSH
        return tier_for(self._settings, follower_count, 0, was_pulled=was_pulled) is tier

    async def _change(self, fence: Fence, author_id: UserId, to: Tier, recents: Source) -> None:
        async def mark(viewer_ids: bytes) -> None:
            await self._windows.set_pull(fence, viewer_ids, author_id, on=True)

        async def catch_up(viewer_ids: bytes) -> None:
            await self._windows.backfill(fence, viewer_ids, author_id, recents, unmark=True)

        write = mark if to is Tier.PULL else catch_up
        await write_to_followers(self._people, author_id, self._limits, write)


def tier_for(
    settings: PushSettings, follower_count: int, posts_in_an_hour: float, *, was_pulled: bool
) -> Tier:
    """An author is pushed again only well below the bounds, so none changes back and forth."""
    share = settings.pull_to_push_share if was_pulled else 1.0
    is_small = follower_count < settings.followers_max * share
    deliveries = follower_count * posts_in_an_hour
    is_cheap = deliveries <= settings.deliveries_per_hour_max * share
    return Tier.PUSH if is_small and is_cheap else Tier.PULL


def posts_per_hour(recents: Source, now_ms: int) -> float:
    """How many there were in the last hour; if more than are kept, by how fast they came."""
    fresh = sum(time_ms > now_ms - HOUR_MS for time_ms, _ in recents.places)
    if recents.floor is None or fresh < len(recents.places):
        return fresh
    oldest_ms, _ = recents.floor
    return fresh * HOUR_MS / max(1, now_ms - oldest_ms)
