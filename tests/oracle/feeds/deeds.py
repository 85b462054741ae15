"""From numbers that are drawn to deeds that are possible: numbers are what shrinks well."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.oracle.feeds.truth import Deed, DeletePost, DeleteUser, Edit, Publish, Relate, Truth

PEOPLE_MIN = 3

T = TypeVar("T")


@dataclass(frozen=True)
class Act:
    """Something to do, by whatever person, to whatever there is."""

    kind: str
    who: int = 0
    what: int = 0


KINDS = (
    "Publish",
    "Share",
    "Edit",
    "DeletePost",
    "Follow",
    "Unfollow",
    "Block",
    "Unblock",
    "Mute",
    "Unmute",
)
"""What may be done at the same time as other things; people are deleted one at a time."""


def deed_of(act: Act, truth: Truth) -> Deed | None:
    """None = there is nothing to do it to."""
    match act.kind:
        case "Publish":
            return Publish(pick(truth.people, act.who), str(uuid.uuid4()), _text())
        case "Share":
            return _share(act, truth)
        case "Edit" | "DeletePost":
            return _change(act, truth)
        case "DeleteUser":
            enough = len(truth.people) > PEOPLE_MIN
            return DeleteUser(pick(truth.people, act.who)) if enough else None
        case _:
            return _relate(act, truth)


def _share(act: Act, truth: Truth) -> Publish | None:
    """Nobody shares a share, a post of their own, or one across a block."""
    author_id = pick(truth.people, act.who)
    blocked = {*truth.graph.blocked(author_id), *truth.graph.blocked_by(author_id), author_id}
    posts = [post for post in truth.posts.values() if post.shared_post_id is None]
    targets = [post.post_id for post in posts if post.author_id not in blocked]
    if not targets:
        return None
    return Publish(author_id, str(uuid.uuid4()), _text(), pick(targets, act.what))


def _change(act: Act, truth: Truth) -> Edit | DeletePost | None:
    if not truth.posts:
        return None
    post = truth.posts[pick(list(truth.posts), act.what)]
    if act.kind == "DeletePost":
        return DeletePost(post.author_id, post.post_id)
    return Edit(post.author_id, post.post_id, _text())


def _relate(act: Act, truth: Truth) -> Relate | None:
    """What is undone is done; nobody follows across a block."""
    graph = truth.graph
    undoes = {
        "Unfollow": graph.follows,
        "Unblock": sorted(graph.blocks),
        "Unmute": sorted(graph.mutes),
    }
    if act.kind in undoes:
        edges = undoes[act.kind]
        if not edges:
            return None
        who, target_id = pick(edges, act.what)
        return Relate(who, act.kind, target_id)
    who = pick(truth.people, act.who)
    target_id = pick([each for each in truth.people if each != who], act.what)
    is_blocked = bool(graph.blocks & {(who, target_id), (target_id, who)})
    return None if act.kind == "Follow" and is_blocked else Relate(who, act.kind, target_id)


def are_apart(deeds: Sequence[Deed], deed: Deed) -> bool:
    """In whatever order they are done, the end is the same: at most a share is refused."""
    return all(_subjects(each).isdisjoint(_subjects(deed)) for each in deeds)


def _subjects(deed: Deed) -> set[str]:
    match deed:
        case Publish(_, post_id) | Edit(_, post_id) | DeletePost(_, post_id):
            return {post_id}
        case Relate(who, _, target_id):
            return {" ".join(sorted((who, target_id)))}
        case DeleteUser(who):
            return {who}


def pick(things: Sequence[T], number: int) -> T:
    return things[number % len(things)]


def _text() -> str:
    return uuid.uuid4().hex[:8]
