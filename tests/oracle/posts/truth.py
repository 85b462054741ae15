"""What content_svc may answer to the deeds between two rests.

Deeds that ran at the same time may have happened in any order, those that followed one another in
that one. So of each thing it is known from when on it may have been there (or gone), and from when
on it must have been. Who has made what is told by the events, and compared with who asked for it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from newsfeed.content.v1 import content_service_pb2 as pb
from newsfeed.user.v1 import user_service_pb2 as user_pb

from tests.oracle.posts.deeds import OK, UNKNOWN, Deed, asks_for
from tests.oracle.posts.replica import Replica, expect


@dataclass(frozen=True)
class Span:
    """From `may` on something may be so, from `must` on it is."""

    may: float = math.inf
    must: float = math.inf

    def __or__(self, other: "Span") -> "Span":
        return Span(min(self.may, other.may), min(self.must, other.must))


ALWAYS, NEVER = Span(-1, -1), Span()


class Obstacle(NamedTuple):
    """A reason to refuse, and whether it may and must have been in the way of a deed."""

    reason: str
    may: bool
    must: bool


@dataclass
class Round:
    """From one rest, at which there was `before`, to the next one.

    `after` is what all events have told once everything had arrived.
    """

    before: Replica
    after: Replica
    deeds: list[Deed]
    blocks: set[frozenset[str]]
    moderator_id: str
    _born: dict[str, Span] = field(default_factory=lambda: defaultdict(Span))
    _deleted: dict[str, Span] = field(default_factory=lambda: defaultdict(Span))
    _left: dict[str, Span] = field(default_factory=lambda: defaultdict(Span))

    def __post_init__(self) -> None:
        before = self.before
        self._born |= dict.fromkeys(
            [*before.created, *(key[1] for key in before.commented)], ALWAYS
        )
        gone = [*before.deleted, *(key[1] for key in before.uncommented)]
        self._deleted |= dict.fromkeys(gone, ALWAYS)
        for deed in self.deeds:
            if deed.may_have_happened:
                self._note(deed)

    def _note(self, deed: Deed) -> None:
        span = Span(deed.begun, deed.ended)
        match deed.request:
            case pb.CreatePostRequest():
                self._born[deed.request.post_id] |= span
            case pb.CreateCommentRequest():
                self._born[deed.request.comment_id] |= span
            case pb.DeletePostRequest():
                self._deleted[deed.request.post_id] |= span
            case pb.DeleteCommentRequest():
                self._deleted[deed.request.comment_id] |= span
            case user_pb.DeleteUserRequest():
                self._left[deed.who] |= span

    def obstacles(self, deed: Deed) -> Iterator[Obstacle]:
        yield Obstacle("CONFLICT", may=True, must=False)
        yield Obstacle("TOKEN_REVOKED", self._left[deed.who].may < deed.ended, must=False)
        match deed.request:
            case pb.CreatePostRequest() as request:
                yield from self._obstacles_to_publishing(deed, request)
            case pb.UpdatePostRequest() as request:
                yield self._lacks_post(deed, request.post_id)
                yield _is_not_allowed(deed, self._author(request.post_id))
            case pb.DeletePostRequest() as request:
                yield self._lacks(deed, "POST_NOT_FOUND", request.post_id, NEVER)
                author_id = self._author(request.post_id)
                yield _is_not_allowed(deed, author_id, self.moderator_id)
            case pb.LikePostRequest() as request:
                yield from self._obstacles_to_reaching(deed, request.post_id)
            case pb.UnlikePostRequest() as request:
                yield self._lacks_post(deed, request.post_id)
            case pb.CreateCommentRequest() as request:
                yield from self._obstacles_to_commenting(deed, request)
            case pb.DeleteCommentRequest() as request:
                yield from self._obstacles_to_deleting(deed, request)

    def _obstacles_to_publishing(
        self, deed: Deed, request: pb.CreatePostRequest
    ) -> Iterator[Obstacle]:
        first = self.after.created.get(request.post_id)
        is_own = first is not None and asks_for(deed, first)
        if first is not None:
            may_be_gone = self.gone(first).may < deed.ended
            yield Obstacle("POST_ID_TAKEN", not is_own or may_be_gone, must=not is_own)
        if request.HasField("shared_post_id"):
            post = self.after.created.get(request.shared_post_id, pb.Post())
            is_wrong = deed.who == post.author_id or post.HasField("shared_post_id")
            obstacles = (
                Obstacle("SHARE_NOT_ALLOWED", is_wrong, is_wrong),
                *self._obstacles_to_reaching(deed, request.shared_post_id),
            )
            yield from self._unless_again(deed, request.post_id, obstacles, is_own=is_own)

    def _obstacles_to_commenting(
        self, deed: Deed, request: pb.CreateCommentRequest
    ) -> Iterator[Obstacle]:
        """With its post the id of a comment is free again."""
        posts = {post_id for post_id, made in self.after.commented if made == request.comment_id}
        first = self.after.commented.get((request.post_id, request.comment_id))
        is_own = first is not None and asks_for(deed, first)
        may_be_gone = self.comment_gone(first).may < deed.ended if first else False
        is_others = first is not None and not is_own
        may = bool(posts - {request.post_id}) or is_others or may_be_gone
        yield Obstacle("COMMENT_ID_TAKEN", may, must=is_others)
        lacks_post, *others = self._obstacles_to_reaching(deed, request.post_id)
        yield lacks_post
        yield from self._unless_again(deed, request.comment_id, others, is_own=is_own)

    def _unless_again(
        self, deed: Deed, made_id: str, obstacles: Iterable[Obstacle], *, is_own: bool
    ) -> Iterator[Obstacle]:
        """Who asks again for what they have made gets that, whatever is now in the way."""
        is_again = is_own and self._born[made_id].may < deed.begun
        for each in obstacles:
            yield each._replace(must=each.must and not is_again)

    def _obstacles_to_reaching(self, deed: Deed, post_id: str) -> Iterator[Obstacle]:
        yield self._lacks_post(deed, post_id)
        author_id = self._author(post_id)
        if author_id != deed.who:
            left = self._left[author_id]
            yield Obstacle("USER_NOT_FOUND", left.may < deed.ended, left.must < deed.begun)
        is_blocked = frozenset({deed.who, author_id}) in self.blocks
        yield Obstacle("BLOCKED", is_blocked, is_blocked)

    def _obstacles_to_deleting(
        self, deed: Deed, request: pb.DeleteCommentRequest
    ) -> Iterator[Obstacle]:
        yield self._lacks_post(deed, request.post_id)
        comment = self.after.commented.get((request.post_id, request.comment_id))
        if comment is None:
            yield Obstacle("COMMENT_NOT_FOUND", may=True, must=True)
            return
        post = self.after.created[request.post_id]
        purged = Span(self.gone(post).may)
        yield self._lacks(deed, "COMMENT_NOT_FOUND", request.comment_id, purged)
        yield _is_not_allowed(deed, comment.author_id, post.author_id, self.moderator_id)

    def _lacks_post(self, deed: Deed, post_id: str) -> Obstacle:
        post = self.after.created.get(post_id)
        return self._lacks(deed, "POST_NOT_FOUND", post_id, self.gone(post) if post else ALWAYS)

    def _lacks(self, deed: Deed, reason: str, made_id: str, gone: Span) -> Obstacle:
        born = self._born[made_id]
        may = born.must > deed.begun or gone.may < deed.ended
        return Obstacle(reason, may, must=born.may > deed.ended or gone.must < deed.begun)

    def _author(self, post_id: str) -> str:
        return self.after.created[post_id].author_id if post_id in self.after.created else ""

    def gone(self, post: pb.Post, *, at_rest: bool = False) -> Span:
        """What deleted people made goes some time before the rest."""
        gone = self._deleted[post.post_id] | self._left_by(post.author_id, at_rest=at_rest)
        if post.HasField("shared_post_id"):
            gone |= self.gone(self.after.created[post.shared_post_id], at_rest=at_rest)
        return gone

    def comment_gone(self, comment: pb.Comment, *, at_rest: bool = False) -> Span:
        """Apart from its post."""
        left = self._left_by(comment.author_id, at_rest=at_rest)
        return self._deleted[comment.comment_id] | left

    def has_left(self, user_id: str) -> bool:
        return self._left[user_id] != NEVER

    def _left_by(self, user_id: str, *, at_rest: bool) -> Span:
        left = self._left[user_id]
        return left if at_rest else Span(left.may)


def check_answers(done: Round) -> None:
    for deed in done.deeds:
        obstacles = [*done.obstacles(deed)]
        must = [each.reason for each in obstacles if each.must]
        may = [each.reason for each in obstacles if each.may]
        if deed.says == OK:
            expect(not must, f"{deed}, and not {must}")
        elif deed.says not in UNKNOWN:
            expect(deed.says in may, f"{deed}, but at most {may}")


def _is_not_allowed(deed: Deed, *user_ids: str) -> Obstacle:
    is_other = deed.who not in user_ids
    return Obstacle("PERMISSION_DENIED", is_other, is_other)
