"""Counters and likes beside posts: nobody counts yet, so all are zero."""

from collections.abc import Mapping, Sequence

from newsfeed.analytics.v1.analytics_service_pb2 import EngagementCounts
from newsfeed.content.v1.content_service_pb2 import PostViewerState
from newsfeed.feed.v1.feed_service_pb2 import FeedItem

from feed_svc.model import PostId, UserId

_NOTHING = FeedItem(engagement=EngagementCounts(), viewer=PostViewerState()).SerializeToString()


async def no_engagement(_: UserId, post_ids: Sequence[PostId]) -> Mapping[PostId, bytes]:
    """An `Engagement` in which nothing has happened."""
    return dict.fromkeys(post_ids, _NOTHING)
