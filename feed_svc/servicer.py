"""FeedService: messages in, use case, messages out."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from newsfeed.feed.v1 import feed_service_pb2 as pb

from feed_svc.admin import Admin
from feed_svc.home import Home
from feed_svc.live import InvalidResumeToken, Live
from feed_svc.model import TOP, Place, PostId, UserId, WindowInfo, WindowState
from feed_svc.wire import field
from svckit.context import calling_user_id
from svckit.errors import Unimplemented
from svckit.page_tokens import InvalidPageToken, PageTokens, page_size

_POSITION = (0, "")  # what page tokens are made of: a place, its id in hexadecimal digits
_STATES = {
    WindowState.MISSING: pb.FEED_STATE_MISSING,
    WindowState.BUILDING: pb.FEED_STATE_BUILDING,
    WindowState.READY: pb.FEED_STATE_READY,
}


class FeedServicer:
    """Home feeds, and the windows behind them."""

    def __init__(self, home: Home, live: Live, admin: Admin, page_tokens: PageTokens) -> None:
        self._home = home
        self._live = live
        self._admin = admin
        self._page_tokens = page_tokens

    async def ListHomeFeed(self, request: pb.ListHomeFeedRequest) -> bytes:
        """An encoded ListHomeFeedResponse."""
        viewer_id = calling_user_id()
        size = page_size(request.page_size)
        after_post_id = None
        if request.HasField("after_post_id"):
            after_post_id = PostId(UUID(request.after_post_id).bytes)
        scope = ("ListHomeFeed", viewer_id.hex)
        before = TOP
        if request.page_token:
            time_ms, post_id = self._page_tokens.position(request.page_token, scope, _POSITION)
            before = (time_ms, PostId(bytes.fromhex(post_id)))
            after_post_id = None
        page = await self._home.page(UserId(viewer_id.bytes), before, size, after_post_id)
        response = pb.ListHomeFeedResponse(degraded=bool(page.lacks))
        if page.next_place is not None:
            time_ms, last_id = page.next_place
            position = (time_ms, last_id.hex())
            response.next_page_token = self._page_tokens.encode(scope, position)
        # What is encoded already is not decoded to be encoded again.
        items = [field(pb.ListHomeFeedResponse.ITEMS_FIELD_NUMBER, item) for item in page.items]
        return b"".join((*items, response.SerializeToString()))

    async def RebuildFeed(self, request: pb.RebuildFeedRequest) -> pb.RebuildFeedResponse:
        viewer_id = _user_id(request.user_id)
        info = await self._admin.rebuild(viewer_id)
        return pb.RebuildFeedResponse(feed=_feed_info(viewer_id, info))

    async def EvictFeed(self, request: pb.EvictFeedRequest) -> pb.EvictFeedResponse:
        viewer_id = _user_id(request.user_id)
        info = await self._admin.evict(viewer_id)
        return pb.EvictFeedResponse(feed=_feed_info(viewer_id, info))

    async def GetFeedInfo(self, request: pb.GetFeedInfoRequest) -> pb.GetFeedInfoResponse:
        viewer_id = _user_id(request.user_id)
        info = await self._admin.info(viewer_id)
        return pb.GetFeedInfoResponse(feed=_feed_info(viewer_id, info))

    async def PrewarmFeeds(self, request: pb.PrewarmFeedsRequest) -> pb.PrewarmFeedsResponse:
        done = await self._admin.prewarm([*map(_user_id, request.user_ids)])
        return pb.PrewarmFeedsResponse(
            built_count=done.built_count,
            present_count=done.present_count,
            failed_user_ids=[str(UUID(bytes=each)) for each in done.failed_ids],
        )

    async def ListActivities(self, _: pb.ListActivitiesRequest) -> pb.ListActivitiesResponse:
        raise Unimplemented

    async def ListNotifications(
        self, _: pb.ListNotificationsRequest
    ) -> pb.ListNotificationsResponse:
        raise Unimplemented

    async def MarkNotificationsRead(
        self, _: pb.MarkNotificationsReadRequest
    ) -> pb.MarkNotificationsReadResponse:
        raise Unimplemented

    async def WatchHomeFeed(self, request: pb.WatchHomeFeedRequest) -> AsyncIterator[bytes]:
        """Encoded WatchHomeFeedResponses."""
        viewer_id = calling_user_id()
        scope = ("WatchHomeFeed", viewer_id.hex)
        since = None
        if request.resume_token:
            try:
                position = self._page_tokens.position(request.resume_token, scope, _POSITION)
            except InvalidPageToken:
                raise InvalidResumeToken from None
            since = (position[0], PostId(bytes.fromhex(position[1])))
        async with aclosing(self._live.watch(UserId(viewer_id.bytes), since)) as stream:
            async for news in stream:
                time_ms, post_id = news.since
                token = self._page_tokens.encode(scope, (time_ms, post_id.hex()))
                response = pb.WatchHomeFeedResponse(resume_token=token, reset=news.is_reset)
                items = [
                    field(pb.WatchHomeFeedResponse.ITEMS_FIELD_NUMBER, item) for item in news.items
                ]
                yield b"".join((*items, response.SerializeToString()))


def _user_id(text: str) -> UserId:
    return UserId(UUID(text).bytes)


def _feed_info(viewer_id: UserId, info: WindowInfo) -> pb.FeedInfo:
    message = pb.FeedInfo(user_id=str(UUID(bytes=viewer_id)), state=_STATES[info.state])
    if info.state is not WindowState.MISSING:
        message.entry_count = info.entry_count
        message.complete = info.state is WindowState.READY and info.floor is None
        message.pull_author_count = info.pull_author_count
        message.generation = info.generation
        message.size_bytes = info.size_bytes
        message.expire_time.FromMilliseconds(info.expire_time_ms)
        _set_time(message.newest_time, info.newest)
        _set_time(message.floor_time, info.floor)
    return message


def _set_time(message: Timestamp, place: Place | None) -> None:
    if place is not None:
        message.FromMilliseconds(place[0])
