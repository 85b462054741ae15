"""Parts that feeds need and that may be missing, or that others fill in."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from feed_svc.model import PostId, UserId


class Engagement(Protocol):
    """The deeds of people, and of the viewer among them, with posts."""

    async def of(self, viewer_id: UserId, post_ids: Sequence[PostId]) -> Mapping[PostId, bytes]:
        """Encoded: the fields `engagement` and `viewer` of a FeedItem, for each of the posts.

        Raises nothing: a post that is left out is shown without, on a page that is degraded.
        """
