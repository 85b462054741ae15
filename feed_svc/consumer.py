"""From an event of the bus to the use case that it calls for."""

from uuid import UUID

from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.events.v1 import events_pb2 as pb

from feed_svc.clients import post_of
from feed_svc.fanout import Fanout
from feed_svc.fences import Fences
from feed_svc.model import Post, UserId
from svckit.events.bus import BusEvent, Fence, Handler, Undecodable
from svckit.events.envelope import decoded

GROUP = "feed_svc"


class FeedEvents(Handler):
    """Every handler asks for the present truth, so that twice and late are harmless."""

    types = frozenset(
        {
            "PostCreated",
            "PostUpdated",
            "PostDeleted",
            "FollowAdded",
            "FollowRemoved",
            "UserUpdated",
            "UserDeleted",
        }
    )

    def __init__(self, fanout: Fanout, fences: Fences) -> None:
        self._fanout = fanout
        self._fences = fences

    async def assigned(self, fence: Fence) -> None:
        """From now on no former owner can write any more."""
        await self._fences.raise_(fence)

    async def handle(self, event: BusEvent, fence: Fence) -> None:
        message = decoded(event)
        match message.WhichOneof("payload"):
            case "post_created":
                post = _post(message.post_created.post)
                place = (post.create_time_ms, post.post_id)
                await self._fanout.published(fence, post.author_id, place)
            case "post_updated":
                await self._fanout.edited(fence, _post(message.post_updated.post))
            case "post_deleted":
                post = _post(message.post_deleted.post)
                await self._fanout.post_deleted(fence, post.author_id, post.post_id)
            case "follow_added":
                await self._follow_changed(fence, message.follow_added)
            case "follow_removed":
                await self._follow_changed(fence, message.follow_removed)
            case "user_updated":
                await self._fanout.person_changed(fence, _user(message.user_updated.user.user_id))
            case "user_deleted":
                await self._fanout.person_deleted(fence, _user(message.user_deleted.user_id))
            case other:
                raise Undecodable(f"{event.type} with a payload {other}")

    async def _follow_changed(self, fence: Fence, edge: pb.FollowAdded | pb.FollowRemoved) -> None:
        viewer_id, author_id = _user(edge.follower_id), _user(edge.followee_id)
        await self._fanout.follow_changed(fence, viewer_id, author_id)


def _post(message: content_pb.Post) -> Post:
    try:
        return post_of(message)
    except ValueError as error:
        raise Undecodable("a post without proper ids") from error


def _user(text: str) -> UserId:
    try:
        return UserId(UUID(text).bytes)
    except ValueError as error:
        raise Undecodable("no id of a person") from error
