"""What may have come of the deeds between two rests.

What was acknowledged is told by an event, what was refused by none. What is there at rest is what a
deed has left that may have been the last one: no other was begun after its answer.
"""

from collections import defaultdict
from collections.abc import Iterator

from newsfeed.content.v1 import content_service_pb2 as pb

from tests.oracle.posts.deeds import OK, Deed, asks_for, location_of, texts_of
from tests.oracle.posts.replica import Key, Replica, expect
from tests.oracle.posts.truth import NEVER, Round, Span

LIKED = "liked"


def check_effects(done: Round) -> None:
    for deed in done.deeds:
        if deed.says == OK:
            expect(_is_told(deed, done.after), f"{deed}, but the events tell something else")
    _check_causes(done)
    _check_presence(done)
    _check_values(done)
    odd = {each: count for each, count in done.after.untold.items() if count}
    expect(not odd, f"activities without a cause, or not told: {odd}")


def _is_told(deed: Deed, after: Replica) -> bool:
    """Not all likes have events: what is left of them is looked at in the end."""
    match deed.request:
        case pb.CreatePostRequest() as request:
            post = after.created[request.post_id]
            return deed.told_ms == post.create_time.ToMilliseconds()
        case pb.UpdatePostRequest() as request:
            [text] = texts_of(request)
            edited = after.told.get(text, pb.Post())
            return asks_for(deed, edited) and deed.told_ms == edited.update_time.ToMilliseconds()
        case pb.CreateCommentRequest() as request:
            comment = after.commented.get((request.post_id, request.comment_id), pb.Comment())
            return deed.told_ms == comment.create_time.ToMilliseconds()
        case pb.DeletePostRequest() as request:
            return deed.told_ms == after.deleted.get(request.post_id)
        case pb.DeleteCommentRequest() as request:
            return deed.told_ms == after.uncommented.get((request.post_id, request.comment_id))
    return True


def _check_causes(done: Round) -> None:
    """Everything new was asked for, by somebody who was not refused."""
    asked = {text for d in done.deeds if d.may_have_happened for text in texts_of(d.request)}
    new = done.after.told.keys() - done.before.told.keys()
    for key in done.after.commented.keys() - done.before.commented.keys():
        new.add(done.after.commented[key].content)
    expect(new <= asked, f"nobody has said {new - asked}")


def _check_presence(done: Round) -> None:
    """What is gone was deleted, and what was deleted is gone."""
    after = done.after
    for post_id, post in after.created.items():
        _check_gone(post, done.gone(post, at_rest=True), is_gone=post_id in after.deleted)
    for key, comment in after.commented.items():
        if key[0] in after.posts:
            gone = done.comment_gone(comment, at_rest=True)
            _check_gone(comment, gone, is_gone=key in after.uncommented)


def _check_gone(what: pb.Post | pb.Comment, span: Span, *, is_gone: bool) -> None:
    if is_gone:
        expect(span != NEVER, f"nobody has deleted {what}")
    else:
        expect(span.must == NEVER.must, f"this is deleted, and there: {what}")


def _check_values(done: Round) -> None:
    writes: dict[Key, list[tuple[str, Deed]]] = defaultdict(list)
    for deed in done.deeds:
        if deed.may_have_happened:
            for key, value in _written(deed):
                writes[key].append((value, deed))
    first = _of_posts(done.after.created) | _of_posts(done.before.posts) | _likes(done.before)
    last = _of_posts(done.after.posts) | _likes(done.after)
    for key, value in last.items():
        expect(not done.has_left(key[1]), f"of somebody who has left: {key} {value}")
    for key in {*first, *last, *writes}:
        if key[0] in done.after.posts and not done.has_left(key[1]):
            value = last.get(key, "")
            stands = _may_stand(value, writes[key], first.get(key, ""))
            told = [f"{deed}" for _, deed in writes[key]]
            expect(stands, f"{key} is {value!r}, and not the last of {told}")


def _written(deed: Deed) -> Iterator[tuple[Key, str]]:
    match deed.request:
        case pb.LikePostRequest() as request:
            yield (request.post_id, deed.who), LIKED
        case pb.UnlikePostRequest() as request:
            yield (request.post_id, deed.who), ""
        case pb.UpdatePostRequest() as request if request.HasField("content"):
            yield (request.post_id, "content"), request.content
        case pb.UpdatePostRequest() as request:
            yield (request.post_id, "location"), location_of(request)


def _of_posts(posts: dict[str, pb.Post]) -> dict[Key, str]:
    contents = {(post_id, "content"): post.content for post_id, post in posts.items()}
    return contents | {(post_id, "location"): location_of(post) for post_id, post in posts.items()}


def _likes(replica: Replica) -> dict[Key, str]:
    return dict.fromkeys(replica.likes(), LIKED)


def _may_stand(value: str, writes: list[tuple[str, Deed]], first: str) -> bool:
    """Whether this may be left of all the writes, or of what was there at first."""
    answered = [deed for _, deed in writes if deed.says == OK]
    if value == first and not answered:
        return True
    return any(
        value == written and not any(each.begun > deed.ended for each in answered)
        for written, deed in writes
    )
