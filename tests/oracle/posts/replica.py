"""A copy of content_svc that is made of its events alone, in the order of their first arrival.

An event that cannot follow those before it is a `Difference`: an edit of what is not there, or of
what is newer, a second like, a deletion that tells of another post than there was.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, fields
from typing import TypeAlias, TypeVar

from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.events.v1 import events_pb2 as pb

from tests.oracle.posts.deeds import tags_in, texts_of

K = TypeVar("K")

Key: TypeAlias = tuple[str, str]
"""A post, and a comment on it or who likes it."""

Activity: TypeAlias = tuple[str, int, str, str, str]
"""Who did what to whom, about which post and comment."""


class Difference(AssertionError):
    """content_svc is not what it has to be."""


def expect(condition: object, text: str) -> None:
    if not condition:
        raise Difference(text)


def expect_same(what: str, found: Mapping[K, object], expected: Mapping[K, object]) -> None:
    odd = {
        key: (found.get(key), expected.get(key))
        for key in {*found, *expected}
        if found.get(key) != expected.get(key)
    }
    expect(not odd, f"{what}, found and expected: {odd}")


@dataclass
class Replica:
    """Comments and likes of a deleted post go with it; no event tells of that."""

    created: dict[str, content_pb.Post] = field(default_factory=dict)  # as they were at first
    posts: dict[str, content_pb.Post] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)  # when, in ms
    commented: dict[Key, content_pb.Comment] = field(default_factory=dict)
    uncommented: dict[Key, int] = field(default_factory=dict)
    liked: dict[Key, int] = field(default_factory=dict)
    told: dict[str, content_pb.Post] = field(default_factory=dict)
    """By contents and locations, the post as it was when first it had them."""
    untold: Counter[Activity] = field(default_factory=Counter)
    """Activities that are to be told; below zero = told without a cause."""
    _periods: dict[str, int] = field(default_factory=dict)

    def copy(self) -> "Replica":
        return Replica(*(copy(getattr(self, each.name)) for each in fields(self)))

    def comments(self) -> list[content_pb.Comment]:
        there = self.commented.keys() - self.uncommented.keys()
        return [self.commented[key] for key in there if key[0] in self.posts]

    def likes(self) -> dict[Key, int]:
        return {key: ms for key, ms in self.liked.items() if key[0] in self.posts}

    def take(self, event: pb.Event, period: int) -> None:
        """`period` counts the moments, when nothing was under way, before the event's time."""
        match event.WhichOneof("payload"):
            case "post_created":
                lane = self._create(event.post_created)
            case "post_updated":
                lane = self._update(event.post_updated.post)
            case "post_deleted":
                lane = self._delete(event.post_deleted.post, _ms(event))
            case "post_liked":
                lane = self._like(event.post_liked, _ms(event))
            case "post_unliked":
                lane = self._unlike(event.post_unliked)
            case "comment_created":
                lane = self._comment(event.comment_created)
            case "comment_deleted":
                lane = self._uncomment(event.comment_deleted.comment, _ms(event))
            case _:
                lane = self._do(event.activity_occurred)
        expect(event.lane == lane, f"in the lane of {event.lane}: {event}")
        last = self._periods.get(lane, 0)
        expect(last <= period, f"comes behind what was done after it was answered: {event}")
        self._periods[lane] = period

    def _create(self, told: pb.PostCreated) -> str:
        post = told.post
        expect(post.post_id not in self.created, f"created twice: {post}")
        self.created[post.post_id] = self.posts[post.post_id] = post
        verb = pb.ACTIVITY_VERB_SHARE if post.shared_post_id else pb.ACTIVITY_VERB_POST
        self.untold[post.author_id, verb, told.shared_author_id, post.post_id, ""] += 1
        self._told_of(post, post.mentions)
        return post.author_id

    def _update(self, post: content_pb.Post) -> str:
        before = self.posts.get(post.post_id)
        if before is None:
            raise Difference(f"an edit of a post that is not there: {post}")
        expect(post.edited and post != before, f"an edit that changes nothing: {post}")
        expect(
            post.update_time.ToMilliseconds() >= before.update_time.ToMilliseconds(),
            f"an older edit behind a newer one: {before} {post}",
        )
        self.posts[post.post_id] = post
        known = {each.user_id for each in before.mentions}
        self._told_of(post, [each for each in post.mentions if each.user_id not in known])
        return post.author_id

    def _told_of(self, post: content_pb.Post, named: Iterable[content_pb.Mention]) -> None:
        expect(set(tags_in(post.content)) <= set(post.metadata.tags), f"a tag is missing: {post}")
        for text in texts_of(post):
            self.told.setdefault(text, post)
        self._name(post.author_id, named, post.post_id)

    def _name(
        self, who: str, named: Iterable[content_pb.Mention], post_id: str, comment_id: str = ""
    ) -> None:
        for each in named:
            if each.user_id != who:
                verb = pb.ACTIVITY_VERB_MENTION
                self.untold[who, verb, each.user_id, post_id, comment_id] += 1

    def _delete(self, post: content_pb.Post, when_ms: int) -> str:
        there = self.posts.pop(post.post_id, None)
        expect(post == there, f"a deletion of {post}, but there is {there}")
        self.deleted[post.post_id] = when_ms
        return post.author_id

    def _like(self, told: pb.PostLiked, when_ms: int) -> str:
        key = (told.post_id, told.user_id)
        expect(key not in self.liked, f"a second like: {told}")
        self.liked[key] = when_ms
        verb = pb.ACTIVITY_VERB_LIKE
        self.untold[told.user_id, verb, told.post_author_id, told.post_id, ""] += 1
        return told.user_id

    def _unlike(self, told: pb.PostUnliked) -> str:
        gone = self.liked.pop((told.post_id, told.user_id), None)
        expect(gone, f"not liked, but no longer: {told}")
        return told.user_id

    def _comment(self, told: pb.CommentCreated) -> str:
        comment = told.comment
        key = (comment.post_id, comment.comment_id)
        expect(key not in self.commented, f"a second comment: {comment}")
        self.commented[key] = comment
        verb = pb.ACTIVITY_VERB_COMMENT
        self.untold[comment.author_id, verb, told.post_author_id, *key] += 1
        self._name(comment.author_id, comment.mentions, *key)
        return comment.author_id

    def _uncomment(self, comment: content_pb.Comment, when_ms: int) -> str:
        key = (comment.post_id, comment.comment_id)
        expect(key not in self.uncommented, f"deleted twice: {comment}")
        expect(self.commented.get(key) == comment, f"a deletion of what is not there: {comment}")
        self.uncommented[key] = when_ms
        return comment.author_id

    def _do(self, told: pb.ActivityOccurred) -> str:
        ids = told.target_user_id, told.post_id, told.comment_id
        self.untold[told.actor_id, told.verb, *ids] -= 1
        return told.actor_id


def _ms(event: pb.Event) -> int:
    return event.occur_time.ToMilliseconds()
