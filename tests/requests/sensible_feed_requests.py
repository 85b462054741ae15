"""For every rpc of feed_svc a request that succeeds for whoever may call it.

`FEED_REQUESTS[rpc](owner)` makes it: `owner` is whose feed it is about.
"""

from collections.abc import Callable

from google.protobuf.message import Message
from newsfeed.feed.v1 import feed_service_pb2 as pb

from tests.stacks.user_stack import Person

FEED_REQUESTS: dict[str, Callable[[Person], Message]] = {
    "FeedService.ListHomeFeed": lambda _: pb.ListHomeFeedRequest(),
    "FeedService.ListActivities": lambda _: pb.ListActivitiesRequest(),
    "FeedService.ListNotifications": lambda _: pb.ListNotificationsRequest(),
    "FeedService.MarkNotificationsRead": lambda _: pb.MarkNotificationsReadRequest(),
    "FeedService.WatchHomeFeed": lambda _: pb.WatchHomeFeedRequest(),
    "FeedService.RebuildFeed": lambda owner: pb.RebuildFeedRequest(user_id=owner.user_id),
    "FeedService.EvictFeed": lambda owner: pb.EvictFeedRequest(user_id=owner.user_id),
    "FeedService.GetFeedInfo": lambda owner: pb.GetFeedInfoRequest(user_id=owner.user_id),
    "FeedService.PrewarmFeeds": lambda owner: pb.PrewarmFeedsRequest(user_ids=[owner.user_id]),
}
# The contract has them, feed_svc does not do them yet.
UNIMPLEMENTED = {
    "FeedService.ListActivities",
    "FeedService.ListNotifications",
    "FeedService.MarkNotificationsRead",
}
