"""What home feeds have to be, by brute force: all posts, all edges, and no cleverness.

A deed is something that people do, with its ids. `Truth` is the state of the world after deeds.
`Motion` says what a read must and may show between two rests, while what was done is on its way.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from tests.oracle.shared.graph_model import Edge, GraphModel

Place: TypeAlias = tuple[int, str]
"""(create time in ms, post id): ids order as text as they do as bytes."""


@dataclass(frozen=True)
class Publish:
    """A post, or a share with as much text."""

    who: str
    post_id: str
    content: str
    shared_post_id: str | None = None


@dataclass(frozen=True)
class Edit:
    who: str
    post_id: str
    content: str


@dataclass(frozen=True)
class DeletePost:
    who: str
    post_id: str


@dataclass(frozen=True)
class Relate:
    """`Follow`, `Unfollow`, `Block`, `Unblock`, `Mute` or `Unmute`."""

    who: str
    verb: str
    target_id: str


@dataclass(frozen=True)
class DeleteUser:
    who: str


Deed: TypeAlias = Publish | Edit | DeletePost | Relate | DeleteUser


@dataclass(frozen=True)
class Post:
    post_id: str
    author_id: str
    content: str
    create_time_ms: int
    shared_post_id: str | None

    @property
    def place(self) -> Place:
        return self.create_time_ms, self.post_id


@dataclass
class Truth:
    """People who are there, posts that are not deleted, and who stands how to whom."""

    people: list[str] = field(default_factory=list)
    posts: dict[str, Post] = field(default_factory=dict)
    graph: GraphModel = field(default_factory=GraphModel)

    def apply(self, deed: Deed, create_time_ms: int = 0) -> None:
        match deed:
            case Publish(author_id, post_id, content, shared_post_id):
                post = Post(post_id, author_id, content, create_time_ms, shared_post_id)
                self._keep([*self.posts.values(), post])
            case Edit(_, post_id, content) if post_id in self.posts:
                self.posts[post_id] = replace(self.posts[post_id], content=content)
            case DeletePost(_, post_id):
                self._keep(post for post in self.posts.values() if post.post_id != post_id)
            case Relate(who, verb, target_id):
                self.graph.act(verb, who, target_id)
            case DeleteUser(user_id):
                self.people.remove(user_id)
                self.graph.delete(user_id)
                self._keep(post for post in self.posts.values() if post.author_id != user_id)

    def _keep(self, posts: Iterable[Post]) -> None:
        """Shares go with what they share."""
        kept = {post.post_id: post for post in posts}
        self.posts = {
            post.post_id: post
            for post in kept.values()
            if post.shared_post_id is None or post.shared_post_id in kept
        }

    def after(self, deed: Deed) -> "Truth":
        truth = deepcopy(self)
        truth.apply(deed)
        return truth

    def feed(self, viewer_id: str) -> list[Post]:
        """The home feed: everything, newest first."""
        authors = {viewer_id, *self.graph.followees(viewer_id)}
        posts = (post for post in self.posts.values() if post.author_id in authors)
        shown = (post for post in posts if self._is_shown(viewer_id, post))
        return sorted(shown, key=lambda post: post.place, reverse=True)

    def _is_shown(self, viewer_id: str, post: Post) -> bool:
        hidden = self.hidden(viewer_id)
        if post.author_id in hidden:
            return False
        return (
            post.shared_post_id is None or self.posts[post.shared_post_id].author_id not in hidden
        )

    def hidden(self, viewer_id: str) -> set[str]:
        """Whose things a viewer does not get to see."""
        graph = self.graph
        return {*graph.blocked(viewer_id), *graph.blocked_by(viewer_id), *graph.muted(viewer_id)}


@dataclass
class Motion:
    """From a rest on: `begin` a deed before it is sent, `end` it when it was answered.

    Deeds that are under way at the same time must not be about the same thing.
    """

    truth: Truth
    steady: dict[str, set[str]] = field(init=False)
    """By viewer, what was in the feed at rest and at every moment since: a read must show it."""
    followed: set[Edge] = field(init=False)
    posts: set[str] = field(init=False)
    """Follows and posts that were there at some moment since: a read may show what they lead to."""
    under_way: list[Deed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rest()

    def rest(self) -> None:
        """All that was done has arrived everywhere."""
        self.steady = {each: _ids(self.truth.feed(each)) for each in self.truth.people}
        self.followed = set(self.truth.graph.follows)
        self.posts = set(self.truth.posts)

    def sign_up(self, user_id: str) -> None:
        self.truth.people.append(user_id)
        self.steady[user_id] = set()

    def begin(self, deed: Deed) -> None:
        self.under_way.append(deed)
        if isinstance(deed, Publish):
            self.posts.add(deed.post_id)
        else:
            self._narrow(self.truth.after(deed))

    def end(self, deed: Deed, create_time_ms: int = 0) -> None:
        self.under_way.remove(deed)
        self.truth.apply(deed, create_time_ms)
        self._narrow(self.truth)

    def refused(self, deed: Deed) -> None:
        self.under_way.remove(deed)

    def _narrow(self, truth: Truth) -> None:
        self.followed.update(truth.graph.follows)
        self.steady = {each: ids & _ids(truth.feed(each)) for each, ids in self.steady.items()}

    def may_show(self, viewer_id: str, post_id: str, author_id: str) -> bool:
        is_followed = author_id == viewer_id or (viewer_id, author_id) in self.followed
        return is_followed and post_id in self.posts

    def hidden(self, viewer_id: str) -> set[str]:
        """Whose things are hidden for certain: by answered deeds, and by none under way undone."""
        hidden = self.truth.hidden(viewer_id)
        for deed in self.under_way:
            hidden &= self.truth.after(deed).hidden(viewer_id)
        return hidden


def _ids(posts: Iterable[Post]) -> set[str]:
    return {post.post_id for post in posts}
