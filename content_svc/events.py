"""Events about posts, for other services: one function a change, each event with its lane.

What decides who sees a post is in its author's lane; what somebody does with another's post, and
every activity, in the lane of who did it. An activity is written with its event.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.events.v1 import events_pb2 as pb

from content_svc.model import (
    Comment,
    CommentId,
    Like,
    Location,
    Media,
    MediaKind,
    Mention,
    Post,
    PostId,
    UserId,
)
from svckit.events.envelope import event_record
from svckit.events.outbox import OutboxRecord

AGGREGATE = "post"


def post_created(post: Post, media_base_url: str) -> list[OutboxRecord]:
    created = pb.PostCreated(
        post=public_post(post, media_base_url), shared_author_id=_text(post.shared_author_id)
    )
    event = pb.Event(post_created=created)
    verb = pb.ACTIVITY_VERB_SHARE if post.shared_post_id else pb.ACTIVITY_VERB_POST
    done = _Activity(post.author_id, post.post_id, post.create_time_ms)
    return [
        _record(post.author_id, post.post_id, "PostCreated", event, post.create_time_ms),
        done.record(verb, post.shared_author_id),
        *done.naming(post.mentions),
    ]


def post_updated(before: Post, after: Post, media_base_url: str) -> list[OutboxRecord]:
    """With the activity of naming those who were not named before."""
    event = pb.Event(post_updated=pb.PostUpdated(post=public_post(after, media_base_url)))
    known = {mention.user_id for mention in before.mentions}
    named = [mention for mention in after.mentions if mention.user_id not in known]
    done = _Activity(after.author_id, after.post_id, after.update_time_ms)
    return [
        _record(after.author_id, after.post_id, "PostUpdated", event, after.update_time_ms),
        *done.naming(named),
    ]


def post_deleted(post: Post, now_ms: int, media_base_url: str) -> OutboxRecord:
    event = pb.Event(post_deleted=pb.PostDeleted(post=public_post(post, media_base_url)))
    return _record(post.author_id, post.post_id, "PostDeleted", event, now_ms)


def post_liked(like: Like) -> list[OutboxRecord]:
    liked = pb.PostLiked(
        post_id=str(like.post_id),
        post_author_id=str(like.post_author_id),
        user_id=str(like.user_id),
    )
    event = pb.Event(post_liked=liked)
    done = _Activity(like.user_id, like.post_id, like.create_time_ms)
    return [
        _record(like.user_id, like.post_id, "PostLiked", event, like.create_time_ms),
        done.record(pb.ACTIVITY_VERB_LIKE, like.post_author_id),
    ]


def post_unliked(like: Like, now_ms: int) -> OutboxRecord:
    unliked = pb.PostUnliked(
        post_id=str(like.post_id),
        post_author_id=str(like.post_author_id),
        user_id=str(like.user_id),
    )
    event = pb.Event(post_unliked=unliked)
    return _record(like.user_id, like.post_id, "PostUnliked", event, now_ms)


def comment_created(comment: Comment) -> list[OutboxRecord]:
    created = pb.CommentCreated(
        comment=public_comment(comment), post_author_id=str(comment.post_author_id)
    )
    event = pb.Event(comment_created=created)
    author_id, post_id, now_ms = comment.author_id, comment.post_id, comment.create_time_ms
    done = _Activity(author_id, post_id, now_ms, comment.comment_id)
    return [
        _record(author_id, post_id, "CommentCreated", event, now_ms),
        done.record(pb.ACTIVITY_VERB_COMMENT, comment.post_author_id),
        *done.naming(comment.mentions),
    ]


def comment_deleted(comment: Comment, now_ms: int) -> OutboxRecord:
    deleted = pb.CommentDeleted(
        comment=public_comment(comment), post_author_id=str(comment.post_author_id)
    )
    event = pb.Event(comment_deleted=deleted)
    return _record(comment.author_id, comment.post_id, "CommentDeleted", event, now_ms)


MEDIA_KINDS = {
    MediaKind.IMAGE: content_pb.MEDIA_KIND_IMAGE,
    MediaKind.VIDEO: content_pb.MEDIA_KIND_VIDEO,
    MediaKind.AUDIO: content_pb.MEDIA_KIND_AUDIO,
}


def public_post(post: Post, media_base_url: str) -> content_pb.Post:
    """A post as everybody sees it: media given as a path have become URLs."""
    return content_pb.Post(
        post_id=str(post.post_id),
        author_id=str(post.author_id),
        content=post.content,
        metadata=content_pb.PostMetadata(
            tags=post.tags,
            location=_location(post.location),
            media=[_media(each, media_base_url) for each in post.media],
        ),
        shared_post_id=_text(post.shared_post_id),
        create_time=timestamp_of_ms(post.create_time_ms),
        update_time=timestamp_of_ms(post.update_time_ms),
        edited=post.edited,
        mentions=_mentions(post.mentions),
    )


def public_comment(comment: Comment) -> content_pb.Comment:
    return content_pb.Comment(
        comment_id=str(comment.comment_id),
        post_id=str(comment.post_id),
        author_id=str(comment.author_id),
        content=comment.content,
        create_time=timestamp_of_ms(comment.create_time_ms),
        mentions=_mentions(comment.mentions),
    )


def timestamp_of_ms(time_ms: int) -> Timestamp:
    seconds, rest_ms = divmod(time_ms, 1000)
    return Timestamp(seconds=seconds, nanos=rest_ms * 1_000_000)


def _location(location: Location | None) -> content_pb.Location | None:
    if location is None:
        return None
    return content_pb.Location(
        latitude=location.latitude, longitude=location.longitude, name=location.name
    )


def _media(media: Media, base_url: str) -> content_pb.Media:
    is_url = media.url[:8].lower() == "https://"
    return content_pb.Media(
        url=media.url if is_url else f"{base_url.rstrip('/')}/{media.url}",
        kind=MEDIA_KINDS[media.kind],
        width=media.width,
        height=media.height,
        alt=media.alt,
    )


def _mentions(mentions: Iterable[Mention]) -> list[content_pb.Mention]:
    return [
        content_pb.Mention(user_id=str(each.user_id), username=each.username) for each in mentions
    ]


class _Activity(NamedTuple):
    """A deed of a person, about a post and perhaps a comment."""

    actor_id: UserId
    post_id: PostId
    now_ms: int
    comment_id: CommentId | None = None

    def record(self, verb: pb.ActivityVerb.ValueType, target_id: UserId | None) -> OutboxRecord:
        activity = pb.ActivityOccurred(
            actor_id=str(self.actor_id),
            verb=verb,
            target_user_id=_text(target_id),
            post_id=str(self.post_id),
            comment_id=_text(self.comment_id),
        )
        event = pb.Event(activity_occurred=activity)
        return _record(self.actor_id, self.post_id, "ActivityOccurred", event, self.now_ms)

    def naming(self, mentions: Sequence[Mention]) -> list[OutboxRecord]:
        """One for each person that was named; naming oneself is none."""
        named = (each.user_id for each in mentions if each.user_id != self.actor_id)
        return [self.record(pb.ACTIVITY_VERB_MENTION, user_id) for user_id in named]


def _text(made_id: UUID | None) -> str | None:
    return None if made_id is None else str(made_id)


def _record(lane: UUID, post_id: UUID, kind: str, event: pb.Event, now_ms: int) -> OutboxRecord:
    return event_record(event, kind, lane, (AGGREGATE, post_id), timestamp_of_ms(now_ms))
