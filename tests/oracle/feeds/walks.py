"""Readers who go down a feed page by page, and what each page is checked for."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from newsfeed.content.v1 import content_service_pb2 as content_pb
from newsfeed.feed.v1 import feed_service_pb2 as pb

from tests.oracle.feeds.truth import Motion, Place, Post, Truth

ReadPage: TypeAlias = Callable[[pb.ListHomeFeedRequest], Awaitable[pb.ListHomeFeedResponse]]

PAGES_MAX = 200


class Difference(AssertionError):
    """A feed is not what it has to be."""


@dataclass
class Walk:
    """One reader in one feed. Between two pages anything may happen, a rest too."""

    viewer_id: str
    read: ReadPage
    motion: Motion
    has_more: bool = True
    _token: str = ""
    _last: Place | None = None
    _seen: set[str] = field(default_factory=set)
    _wanted: dict[str, Place] = field(init=False)
    """What was there before the walk began and is there still: the walk must come by it."""

    def __post_init__(self) -> None:
        steady = self.motion.steady[self.viewer_id]
        self._wanted = {each: self.motion.truth.posts[each].place for each in steady}

    def narrow(self) -> None:
        """Forget what is no longer wanted; to be called before a rest, too."""
        steady = self.motion.steady.get(self.viewer_id, set())
        self._wanted = {each: place for each, place in self._wanted.items() if each in steady}

    async def turn(self, size: int, after_post_id: str | None = None) -> list[Post]:
        """Read the next page and check it."""
        hidden = self.motion.hidden(self.viewer_id)
        request = pb.ListHomeFeedRequest(
            page_size=size, page_token=self._token, after_post_id=after_post_id
        )
        answer = await self.read(request)
        posts = [_post(item.post) for item in answer.items]
        if len(posts) > size:
            raise Difference(f"{len(posts)} items on a page of {size}")
        if not answer.degraded:
            self._check_hidden(answer.items, hidden & self.motion.hidden(self.viewer_id))
        self._check_order(posts)
        self._check_foreign(posts)
        self._token = answer.next_page_token
        self.has_more = bool(self._token)
        self.narrow()
        self._check_gaps()
        return posts

    def _check_hidden(self, items: Sequence[pb.FeedItem], hidden: set[str]) -> None:
        for item in items:
            if {item.post.author_id, item.shared_post.author_id} & hidden:
                raise Difference(f"post {item.post.post_id} is of or shares somebody hidden")

    def _check_order(self, posts: Sequence[Post]) -> None:
        for post in posts:
            if self._last is not None and post.place >= self._last:
                what = "twice" if post.post_id in self._seen else "out of order"
                raise Difference(f"post {post.post_id} comes {what}")
            self._last = post.place
            self._seen.add(post.post_id)

    def _check_foreign(self, posts: Sequence[Post]) -> None:
        for post in posts:
            if not self.motion.may_show(self.viewer_id, post.post_id, post.author_id):
                raise Difference(f"post {post.post_id} has no business in this feed")

    def _check_gaps(self) -> None:
        for post_id, place in self._wanted.items():
            is_passed = not self.has_more or (self._last is not None and place >= self._last)
            if is_passed and post_id not in self._seen:
                raise Difference(f"post {post_id} was passed over")


async def whole_feed(viewer_id: str, read: ReadPage, sizes: Iterator[int]) -> list[pb.FeedItem]:
    """All pages to the very end, of these sizes."""
    items: list[pb.FeedItem] = []
    request = pb.ListHomeFeedRequest()
    for _ in range(PAGES_MAX):
        request.page_size = next(sizes)
        answer = await read(request)
        items += answer.items
        request.page_token = answer.next_page_token
        if not request.page_token:
            return items
    raise Difference(f"the feed of {viewer_id} has no end")


def check_own(page: Sequence[Post], size: int, own: Post) -> None:
    """One's own last post is on the first page, unless a full page of posts is above it."""
    is_below = len(page) == size and page[-1].place > own.place
    if own not in page and not is_below:
        raise Difference(f"{own.author_id} does not see post {own.post_id} of their own")


def check_feed(items: Sequence[pb.FeedItem], truth: Truth, viewer_id: str) -> None:
    """At rest: nothing but the truth, in its order."""
    expected = truth.feed(viewer_id)
    found_ids, expected_ids = (
        [each.post.post_id for each in items],
        [each.post_id for each in expected],
    )
    if found_ids != expected_ids:
        lacking = [each for each in expected_ids if each not in found_ids]
        foreign = [each for each in found_ids if each not in expected_ids]
        raise Difference(f"the feed of {viewer_id} lacks {lacking} and has {foreign}: {found_ids}")
    for item, post in zip(items, expected, strict=True):
        shared = truth.posts[post.shared_post_id] if post.shared_post_id else None
        found_shared = _post(item.shared_post) if item.HasField("shared_post") else None
        if (_post(item.post), found_shared) != (post, shared):
            raise Difference(f"{item} != {post} sharing {shared}")
        shared_author_id = shared.author_id if shared else ""
        if (item.author.user_id, item.shared_author.user_id) != (post.author_id, shared_author_id):
            raise Difference(f"cards of others on {item}")


def _post(post: content_pb.Post) -> Post:
    return Post(
        post_id=post.post_id,
        author_id=post.author_id,
        content=post.content,
        create_time_ms=post.create_time.ToMilliseconds(),
        shared_post_id=post.shared_post_id or None,
    )
