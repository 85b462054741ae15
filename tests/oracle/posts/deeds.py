"""What people ask of content_svc, drawn by number.

The same seed gives the same deeds, as long as the same comes of them. A deed is a person and a
request. Most deeds of a burst are about a few posts, so that they get into each other's way; some
send again what was sent before, or want an id that is somebody else's. Texts and places on the map
are given once: whoever sees one knows whose deed it was.
"""

import math
import random
import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from newsfeed.content.v1 import content_service_pb2 as pb
from newsfeed.user.v1 import user_service_pb2 as user_pb

from tests.stacks.content_stack import CDN, Author

if TYPE_CHECKING:
    from collections.abc import Callable

Request: TypeAlias = (
    pb.CreatePostRequest
    | pb.UpdatePostRequest
    | pb.DeletePostRequest
    | pb.LikePostRequest
    | pb.UnlikePostRequest
    | pb.CreateCommentRequest
    | pb.DeleteCommentRequest
    | user_pb.DeleteUserRequest
)
R = TypeVar("R", pb.CreatePostRequest, pb.CreateCommentRequest)
OK = "OK"
# Nobody knows whether it happened.
LATE = "DEADLINE_EXCEEDED"
UNKNOWN = frozenset({"DEPENDENCY_UNAVAILABLE", LATE})
WORDS = ("alpha", "beta", "gamma")
TAGS = ("red", "green", "blue")
IN_PLAY = 25
FORGOTTEN_SHARE = 0.8  # of what is gone
HOT_SHARE = 0.8
STORM_SHARE = 0.2
OWNERS_SHARE = 0.8
AT_ONCE_SHARE = 0.5  # of what is sent again: mostly beside the first
HASTE_SHARE = 0.2
PATIENCE_S = (0.005, 0.08)


@dataclass(eq=False)
class Deed:
    """With the moments at which it was begun and answered, and what the answer was."""

    who: str
    request: Request
    patience_s: float | None = None  # who waits no longer does not know whether it happened
    begun: float = math.inf
    ended: float = math.inf  # never, while nobody knows whether it happened
    says: str = ""  # OK, or the reason why not
    told_ms: int = 0  # when it happened, as the answer has it

    @property
    def may_have_happened(self) -> bool:
        return self.says == OK or self.says in UNKNOWN

    def __str__(self) -> str:
        kind = type(self.request).__name__.removesuffix("Request")
        asked = " ".join(str(self.request).split())
        return f"{self.begun}-{self.ended} {self.who} {kind} {{{asked}}}: {self.says}"


def location_of(body: pb.CreatePostRequest | pb.UpdatePostRequest | pb.Post) -> str:
    metadata = body.metadata
    return str(metadata.location.latitude) if metadata.HasField("location") else ""


def texts_of(body: Request | pb.Post) -> set[str]:
    """Contents and locations, which are given once each."""
    match body:
        case pb.CreateCommentRequest():
            return {body.content}
        case pb.CreatePostRequest() | pb.UpdatePostRequest() | pb.Post():
            return {body.content, location_of(body)} - {""}
    return set()


def asks_for(deed: Deed, made: pb.Post | pb.Comment) -> bool:
    """Whether it is, at first, or as an edit has left it, what the deed wanted."""
    request = deed.request
    if isinstance(request, pb.CreateCommentRequest):
        return (deed.who, request.content) == (made.author_id, made.content)
    assert isinstance(made, pb.Post)
    assert isinstance(request, pb.CreatePostRequest | pb.UpdatePostRequest)
    wanted, found = pb.PostMetadata(), made.metadata
    wanted.CopyFrom(request.metadata)
    if isinstance(request, pb.UpdatePostRequest):
        if request.HasField("content"):
            return request.content == made.content
    elif (request.content, request.shared_post_id) != (made.content, made.shared_post_id):
        return False
    wanted.tags[:] = dict.fromkeys([*wanted.tags, *tags_in(made.content)])
    for each in wanted.media:
        each.url = f"{CDN}/{each.url}"
    return deed.who == made.author_id and wanted == found


def told_ms(answer: object) -> int:
    """When what was asked for happened."""
    match answer:
        case pb.CreatePostResponse():
            return answer.post.create_time.ToMilliseconds()
        case pb.UpdatePostResponse():
            return answer.post.update_time.ToMilliseconds()
        case pb.CreateCommentResponse():
            return answer.comment.create_time.ToMilliseconds()
        case pb.DeletePostResponse() | pb.DeleteCommentResponse():
            return answer.delete_time.ToMilliseconds()
    return 0


def tags_in(content: str) -> list[str]:
    return re.findall(r"#(\w+)", content)


class Draw:
    """Knows what was drawn, not what came of it. `people` is for others to keep."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.people: list[Author] = []
        self.moderator_id = ""
        self.posts: list[pb.CreatePostRequest] = []
        self._comments: list[pb.CreateCommentRequest] = []
        self._owners: dict[str, str] = {}  # by post or comment, who wanted the id first
        self._hot: list[str] = []
        self._weights: dict[Callable[[], Request], int] = {
            self._publish: 8,
            self._share: 6,
            self._publish_again: 4,
            self._edit: 12,
            self._delete: 3,
            self._like: 12,
            self._unlike: 8,
            self._comment: 12,
            self._comment_again: 3,
            self._delete_comment: 8,
        }

    def burst(self) -> list[Deed]:
        """What many do at once."""
        in_play = [post.post_id for post in self.posts[-IN_PLAY:]]
        self._hot = self.random.sample(in_play, min(len(in_play), self.random.randint(1, 3)))
        kinds, weights = [*self._weights], [*self._weights.values()]
        if in_play and self.random.random() < STORM_SHARE:
            kinds, weights = [self._like, self._unlike], [1, 1]
        count = self.random.randint(6, 24)
        deeds = [self._deed(kind()) for kind in self.random.choices(kinds, weights, k=count)]
        if self.random.random() < HASTE_SHARE:
            for deed in deeds[::2]:
                deed.patience_s = self.random.uniform(*PATIENCE_S)
        return deeds

    def narrow(self, post_ids: Collection[str]) -> None:
        """From now on most is about these."""
        gone = {each.post_id for each in self.posts if each.post_id not in post_ids}
        gone = {each for each in sorted(gone) if self.random.random() < FORGOTTEN_SHARE}
        self.posts = [each for each in self.posts if each.post_id not in gone]
        self._comments = [each for each in self._comments if each.post_id not in gone]

    def leave(self) -> Deed:
        user_id = self.random.choice(self.people).user_id
        return Deed(user_id, user_pb.DeleteUserRequest(user_id=user_id))

    def _deed(self, request: Request) -> Deed:
        """Of ids that are somebody's mostly theirs, sometimes a moderator's or a stranger's."""
        who = self.random.choice(self.people).user_id
        match request:
            case pb.CreatePostRequest():
                who = self._owner(request.post_id, who)
                self.posts.append(request)
            case pb.CreateCommentRequest():
                who = self._owner(request.comment_id, who)
                self._comments.append(request)
            case pb.UpdatePostRequest():
                who = self._owner(request.post_id, who)
            case pb.DeletePostRequest():
                who = self._owner(request.post_id, self.moderator_id)
            case pb.DeleteCommentRequest():
                who = self._owner(request.comment_id, self.random.choice([who, self.moderator_id]))
        return Deed(who, request)

    def _owner(self, made_id: str, other_id: str) -> str:
        owner_id = self._owners.setdefault(made_id, other_id)
        is_here = any(each.user_id == owner_id for each in self.people)
        return owner_id if is_here and self.random.random() < OWNERS_SHARE else other_id

    def _publish(self) -> pb.CreatePostRequest:
        return pb.CreatePostRequest(
            post_id=self._id(), content=self._text(), metadata=self._metadata()
        )

    def _share(self) -> pb.CreatePostRequest:
        """Seldom of a share."""
        request = pb.CreatePostRequest(post_id=self._id(), content=self._text())
        good = {each.post_id for each in self.posts if not each.shared_post_id}
        chosen = [self._post_id() for _ in range(4)]
        request.shared_post_id = next((each for each in chosen if each in good), chosen[0])
        return request

    def _publish_again(self) -> pb.CreatePostRequest:
        """The same again, or an id that is taken with one thing changed."""
        if not self.posts:
            return self._publish()
        again = pb.CreatePostRequest()
        again.CopyFrom(self._sent_before(self.posts[-IN_PLAY // 2 :]))
        match self.random.randrange(7):
            case 0:
                again.content = self._text()
            case 1:
                again.metadata.location.latitude = self.random.uniform(-90, 90)
            case 2:
                again.metadata.tags.append(f"again{self.random.randrange(100)}")
            case 3:
                again.metadata.media.add(url=f"{self._id()}.jpg", kind=pb.MEDIA_KIND_IMAGE)
            case 4:
                again.shared_post_id = self._post_id()
        return again

    def _edit(self) -> pb.UpdatePostRequest:
        request = pb.UpdatePostRequest(post_id=self._post_id())
        if self.random.random() < 0.6:
            request.content = self._text()
        else:
            request.metadata.CopyFrom(self._metadata())
            request.metadata.location.latitude = self.random.uniform(-90, 90)
        return request

    def _delete(self) -> pb.DeletePostRequest:
        return pb.DeletePostRequest(post_id=self._post_id())

    def _like(self) -> pb.LikePostRequest:
        return pb.LikePostRequest(post_id=self._post_id())

    def _unlike(self) -> pb.UnlikePostRequest:
        return pb.UnlikePostRequest(post_id=self._post_id())

    def _comment(self) -> pb.CreateCommentRequest:
        return pb.CreateCommentRequest(
            post_id=self._post_id(), comment_id=self._id(), content=self._text()
        )

    def _comment_again(self) -> pb.CreateCommentRequest:
        """The same again, or its id with another text."""
        if not self._comments:
            return self._comment()
        again = pb.CreateCommentRequest()
        again.CopyFrom(self._sent_before(self._comments[-IN_PLAY:]))
        if self.random.random() < 0.3:
            again.content = self._text()
        return again

    def _sent_before(self, requests: list[R]) -> R:
        """One of them, often the newest."""
        is_newest = self.random.random() < AT_ONCE_SHARE
        return requests[-1] if is_newest else self.random.choice(requests)

    def _delete_comment(self) -> Request:
        if not self._comments:
            return self._comment()
        one = self.random.choice(self._comments[-IN_PLAY:])
        return pb.DeleteCommentRequest(post_id=one.post_id, comment_id=one.comment_id)

    def _post_id(self) -> str:
        """Of a post that many talk about, of another one, or of none."""
        chance = self.random.random()
        if self._hot and chance < HOT_SHARE:
            return self.random.choice(self._hot)
        if self.posts and chance < 0.98:
            return self.random.choice(self.posts).post_id
        return self._id()

    def _id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def _text(self) -> str:
        words = [self._id()[:8], *self.random.sample(WORDS, 2)]
        if self.random.random() < 0.5:
            words.append(f"#{self.random.choice(TAGS)}")
        if self.random.random() < 0.2:
            words.append(f"@{self.random.choice(self.people).person.user.username}")
        return " ".join(words)

    def _metadata(self) -> pb.PostMetadata:
        return pb.PostMetadata(tags=self.random.sample(TAGS, self.random.randint(0, 2)))
