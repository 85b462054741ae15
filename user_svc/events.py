"""Events about people, for other services: one function an event, each with its lane.

A lane is the id of the person whose posts the event is about: of a follow, the one who is followed.
So everything that decides who sees them comes in one order.
"""

from datetime import datetime
from uuid import UUID

from newsfeed.events.v1 import events_pb2 as pb
from newsfeed.user.v1 import user_service_pb2 as user_pb

from svckit.events.envelope import event_record
from svckit.events.outbox import OutboxRecord
from svckit.times import timestamp
from user_svc.model import Role, User, UserId

AGGREGATE = "user"


def user_created(user: User) -> OutboxRecord:
    event = pb.Event(user_created=pb.UserCreated(user=public_user(user)))
    return _record(user.user_id, "UserCreated", event, user.create_time)


def user_updated(user: User, now: datetime) -> OutboxRecord:
    event = pb.Event(user_updated=pb.UserUpdated(user=public_user(user)))
    return _record(user.user_id, "UserUpdated", event, now)


def user_deleted(user_id: UserId, now: datetime) -> OutboxRecord:
    event = pb.Event(user_deleted=pb.UserDeleted(user_id=str(user_id)))
    return _record(user_id, "UserDeleted", event, now)


def follow_added(follower_id: UserId, followee_id: UserId, now: datetime) -> list[OutboxRecord]:
    """The follow in the followee's lane, and the activity in the follower's."""
    follow = pb.FollowAdded(follower_id=str(follower_id), followee_id=str(followee_id))
    activity = pb.ActivityOccurred(
        actor_id=str(follower_id),
        verb=pb.ACTIVITY_VERB_FOLLOW,
        target_user_id=str(followee_id),
    )
    return [
        _record(followee_id, "FollowAdded", pb.Event(follow_added=follow), now),
        _record(follower_id, "ActivityOccurred", pb.Event(activity_occurred=activity), now),
    ]


def follow_removed(follower_id: UserId, followee_id: UserId, now: datetime) -> OutboxRecord:
    removed = pb.FollowRemoved(follower_id=str(follower_id), followee_id=str(followee_id))
    return _record(followee_id, "FollowRemoved", pb.Event(follow_removed=removed), now)


def block_added(
    blocker_id: UserId,
    blocked_id: UserId,
    now: datetime,
    *,
    was_following: bool,
    was_followed: bool,
) -> list[OutboxRecord]:
    """The block in the blocked person's lane, and each follow that it ended in its own lane."""
    added = pb.BlockAdded(
        blocker_id=str(blocker_id),
        blocked_id=str(blocked_id),
        blocker_was_following=was_following,
        blocked_was_following=was_followed,
    )
    records = [_record(blocked_id, "BlockAdded", pb.Event(block_added=added), now)]
    if was_following:
        records.append(follow_removed(blocker_id, blocked_id, now))
    if was_followed:
        records.append(follow_removed(blocked_id, blocker_id, now))
    return records


def block_removed(blocker_id: UserId, blocked_id: UserId, now: datetime) -> OutboxRecord:
    removed = pb.BlockRemoved(blocker_id=str(blocker_id), blocked_id=str(blocked_id))
    return _record(blocked_id, "BlockRemoved", pb.Event(block_removed=removed), now)


def mute_added(muter_id: UserId, muted_id: UserId, now: datetime) -> OutboxRecord:
    added = pb.MuteAdded(muter_id=str(muter_id), muted_id=str(muted_id))
    return _record(muted_id, "MuteAdded", pb.Event(mute_added=added), now)


def mute_removed(muter_id: UserId, muted_id: UserId, now: datetime) -> OutboxRecord:
    removed = pb.MuteRemoved(muter_id=str(muter_id), muted_id=str(muted_id))
    return _record(muted_id, "MuteRemoved", pb.Event(mute_removed=removed), now)


ROLES = {
    Role.USER: user_pb.ROLE_USER,
    Role.MODERATOR: user_pb.ROLE_MODERATOR,
    Role.ADMIN: user_pb.ROLE_ADMIN,
}


def public_user(user: User) -> user_pb.User:
    """A person as others see them: without the email address."""
    return user_pb.User(
        user_id=str(user.user_id),
        username=user.username,
        display_name=user.display_name,
        bio=user.bio,
        avatar_url=user.avatar_url,
        role=ROLES[user.role],
        follower_count=user.follower_count,
        following_count=user.following_count,
        create_time=timestamp(user.create_time),
    )


def _record(lane: UUID, kind: str, event: pb.Event, now: datetime) -> OutboxRecord:
    return event_record(event, kind, lane, (AGGREGATE, lane), timestamp(now))
