"""What becomes of posts: tags and names in their text, changes, and what goes when they go."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from newsfeed.content.v1 import content_service_pb2 as pb
from newsfeed.events.v1 import events_pb2

from content_svc import metrics
from content_svc.maintenance import MaintenanceLimits
from svckit.events.bus import Fence, Undecodable
from tests.stacks.content_stack import (
    LONG_MS,
    PATIENT,
    Author,
    ContentStack,
    bus_event,
    open_content_stack,
    packed,
)
from tests.stacks.user_stack import UserStack
from tests.troubles.mongo import nothing

A_DELETION_AND_A_LIKE_MS = 20_000  # each with its time, and a commit that is tried twice
WHOLE = pb.PostMetadata(
    tags=["given"],
    location=pb.Location(latitude=1.5, longitude=-2.5, name="here"),
    media=[
        pb.Media(
            url="https://example.com/a.png",
            kind=pb.MEDIA_KIND_VIDEO,
            width=640,
            height=480,
            alt="a film",
        )
    ],
)


def masked(*paths: str) -> dict[str, list[str]]:
    return {"paths": list(paths)}


async def test_a_post_is_as_it_was_published(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    post = await author.publish("  text ", metadata=WHOLE)
    assert post == await content_stack.get(post)
    assert (post.content, post.author_id, post.edited) == ("text", author.user_id, False)
    assert post.metadata == WHOLE
    assert not post.HasField("shared_post_id")
    assert post.create_time == post.update_time
    assert post.create_time.nanos % 1_000_000 == 0
    assert uuid.UUID(post.post_id).version == 7


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("#one, #Two! (#three) #one", ["one", "two", "three"]),
        (
            "#Stra\u00dfe #\u4f60\u597d #\u092d\u093e\u0930\u0924",
            "stra\u00dfe \u4f60\u597d \u092d\u093e\u0930\u0924",
        ),
        ("#caf\u00e9 #cafe\u0301", ["caf\u00e9"]),
        ("\uff03wide #a_1", ["wide", "a_1"]),
        ("no#tag &#39; ##twice https://example.com/#part # #", []),
        (f"#{'x' * 50} #{'y' * 51}", ["x" * 50]),
    ],
)
async def test_tags_are_read_from_the_text(
    content_stack: ContentStack, text: str, tags: list[str] | str
) -> None:
    author = await content_stack.sign_up()
    expected = tags.split() if isinstance(tags, str) else tags
    assert (await author.publish(text)).metadata.tags == expected


async def test_given_tags_come_first_and_ten_in_all(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    given = [f"G{number}" for number in range(6)]
    post = await author.publish(
        " ".join(f"#t{number}" for number in range(6)), metadata=pb.PostMetadata(tags=given)
    )
    assert post.metadata.tags == [f"g{n}" for n in range(6)] + [f"t{n}" for n in range(4)]


async def test_names_are_read_from_the_text(content_stack: ContentStack) -> None:
    author, ada, bob = [await content_stack.sign_up(name) for name in ("me", "ada", "bob")]
    name, other = ada.person.user.username, bob.person.user.username
    gone = await content_stack.sign_up("gone")
    await gone.person.delete()
    text = (
        f"@{name.upper()}, @{name} me@{other}.example @nobody_at_all @@{other}"
        f" (@{other}) @{gone.person.user.username} /@{other}"
    )
    expected = [
        pb.Mention(user_id=ada.user_id, username=name.upper()),
        pb.Mention(user_id=bob.user_id, username=other),
    ]
    post = await author.publish(text)
    assert list(post.mentions) == expected
    assert list((await author.comment(post, text)).mentions) == expected
    edited = await author.edit(post, content=f"only @{other}")
    assert list(edited.mentions) == expected[1:]


async def test_an_edit_of_the_rest_keeps_the_names_of_an_edit_meanwhile(
    content_stack: ContentStack,
) -> None:
    author, ada, bob = [await content_stack.sign_up(name) for name in ("me", "ada", "bob")]
    post = await author.publish(f"@{ada.person.user.username}")
    mongo = content_stack.mongo

    async def another_edit() -> None:
        mongo.before_change = nothing
        await author.edit(post, content=f"@{bob.person.user.username}")

    mongo.before_change = another_edit
    edited = await author.edit(post, metadata=pb.PostMetadata(tags=["new"]))
    assert edited.metadata.tags == ["new"]
    assert [each.user_id for each in edited.mentions] == [bob.user_id]


async def test_an_edit_changes_what_it_means_and_nothing_else(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    post = await author.publish("old #old", metadata=WHOLE)
    content_stack.clock.ahead_ms += 1_000
    edited = await author.edit(post, content="new #new")
    expected = pb.Post()
    expected.CopyFrom(post)
    expected.content, expected.edited = "new #new", True
    expected.metadata.tags[:] = ["given", "new"]
    expected.update_time.CopyFrom(edited.update_time)
    assert edited == expected == await content_stack.get(post)
    assert edited.update_time.ToMilliseconds() >= post.create_time.ToMilliseconds() + 1_000


@pytest.mark.parametrize(
    ("paths", "changed"),
    [
        (["content"], {"content"}),
        (["metadata.tags"], {"tags"}),
        (["metadata.location"], {"location"}),
        (["metadata.media"], {"media"}),
        (["metadata"], {"tags", "location", "media"}),
        (["content", "metadata.location", "content"], {"content", "location"}),
        ([], set()),
    ],
)
@pytest.mark.parametrize("to_empty", [False, True])
async def test_a_mask_says_what_is_meant(
    content_stack: ContentStack, paths: list[str], changed: set[str], *, to_empty: bool
) -> None:
    if to_empty and {"content", "media"} <= changed:
        pytest.skip("a post has one of them")
    author = await content_stack.sign_up()
    post = await author.publish("old", metadata=WHOLE)
    new = pb.PostMetadata(tags=["new"], location=pb.Location(latitude=3), media=WHOLE.media[:1])
    new.media[0].alt = "another film"
    if to_empty:
        new.Clear()
    content = "" if to_empty else "new"
    edited = await author.edit(post, content=content, metadata=new, update_mask=masked(*paths))
    before, after = post.metadata, edited.metadata
    assert edited.content == (content if "content" in changed else "old")
    assert after.tags == (new if "tags" in changed else before).tags
    assert after.media == (new if "media" in changed else before).media
    located = new if "location" in changed else before
    assert (after.HasField("location"), after.location) == (
        located.HasField("location"),
        located.location,
    )
    assert edited.edited == bool(changed)
    assert edited == await content_stack.get(post)


async def test_an_edit_to_the_same_is_none(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    post = await author.publish("same #tag", metadata=WHOLE)
    before = await content_stack.digest()
    assert await author.edit(post, content="same #tag ", metadata=WHOLE) == post
    assert await author.edit(post) == post
    assert await content_stack.digest() == before


async def test_a_share_keeps_what_it_shares(content_stack: ContentStack) -> None:
    author, sharer = await content_stack.sign_up(), await content_stack.sign_up()
    post = await author.publish("first")
    share = await sharer.share(post, content="look")
    edited = await sharer.edit(share, content="look here", metadata=WHOLE)
    assert edited.shared_post_id == post.post_id
    assert edited.author_id == sharer.user_id


async def left(stack: ContentStack, name: str, key: str, value: str) -> int:
    documents = await stack.documents(name)
    return len([each for each in documents if each.get(key) == uuid.UUID(value)])


async def test_what_hangs_on_a_deleted_post_goes_too(content_stack: ContentStack) -> None:
    author, other, viewer = [await content_stack.sign_up() for _ in range(3)]
    post, stays = await author.publish("goes"), await author.publish("stays")
    for each in (post, stays):
        await other.like(each)
        await other.comment(each)
        share = await other.share(each)
        await viewer.like(share)
        await viewer.comment(share)
    await author.delete(post)
    async with content_stack.emitted() as emitted:
        await content_stack.purge()
    [share_deleted] = emitted
    assert share_deleted.lane == other.user_id
    assert share_deleted.post_deleted.post.shared_post_id == post.post_id
    for name in ("likes", "comments"):
        assert await left(content_stack, name, "post_id", post.post_id) == 0
        assert await left(content_stack, name, "post_id", stays.post_id) == 1
    assert await content_stack.references(other) == [share.post_id]
    assert await left(content_stack, "likes", "user_id", viewer.user_id) == 1
    request = pb.BatchGetViewerStateRequest(viewer_id=other.user_id, post_ids=packed([post]))
    assert not (await content_stack.service.BatchGetViewerState(request)).states[0].liked


async def test_a_purge_that_waits_for_its_end_keeps_no_other_waiting(
    content_stack: ContentStack,
) -> None:
    author = await content_stack.sign_up()
    for _ in range(3):
        posts = [await author.publish("goes") for _ in range(30)]
        await asyncio.gather(*(author.comment(post) for post in posts))
        await asyncio.gather(*(author.delete(post) for post in posts))
        await content_stack.app.maintenance.purge()
        assert await left(content_stack, "comments", "author_id", author.user_id) == 0
    assert len(await content_stack.documents("purges")) >= 90
    await content_stack.purge()


async def test_what_comes_after_a_purge_began_goes_with_its_end(
    content_stack: ContentStack,
) -> None:
    """A transaction that was under way at the deletion may end after the first look."""
    author = await content_stack.sign_up()
    post = await author.publish("goes")
    await author.comment(post)
    comments = await content_stack.documents("comments")
    [late] = [each for each in comments if each["post_id"] == uuid.UUID(post.post_id)]
    await author.delete(post)
    while await content_stack.app.maintenance.purge():
        pass
    [purge] = [
        each
        for each in await content_stack.documents("purges")
        if each["_id"] == uuid.UUID(post.post_id)
    ]
    assert purge["due_ms"] > purge["since_ms"] + A_DELETION_AND_A_LIKE_MS
    await content_stack.app.mongo.collection("comments").insert(late)
    await content_stack.purge()
    assert await left(content_stack, "comments", "post_id", post.post_id) == 0


async def busy_person(stack: ContentStack) -> tuple[Author, pb.Post]:
    """Who has posts, shares, comments and likes; and another's post with three of these."""
    person, other = await stack.sign_up("busy"), await stack.sign_up()
    post = await other.publish("by another")
    for _ in range(3):
        own = await person.publish("own")
        await other.comment(own)
        await other.like(own)
        await person.comment(post)
        await other.comment(post)
    await person.share(post)
    await person.like(post)
    await other.like(post)
    return person, post


async def check_forgotten(stack: ContentStack, person: Author, post: pb.Post) -> None:
    assert await stack.references(person) == []
    assert await left(stack, "likes", "user_id", person.user_id) == 0
    assert await left(stack, "likes", "post_id", post.post_id) == 1
    comments = await stack.documents("comments")
    assert not [
        each
        for each in comments
        if each["author_id"] == uuid.UUID(person.user_id) and "content" in each
    ]
    on_post = [each for each in comments if each["post_id"] == uuid.UUID(post.post_id)]
    assert len([each for each in on_post if "content" in each]) == 3
    assert not [each for each in comments if each["post_author_id"] == uuid.UUID(person.user_id)]


async def test_what_a_deleted_person_made_goes_with_them(content_stack: ContentStack) -> None:
    person, post = await busy_person(content_stack)
    await person.person.delete()
    async with content_stack.emitted() as emitted:
        for _ in range(3):  # the bus may bring it again
            await content_stack.tell_of_deletion(person)
            await content_stack.purge()
    kinds = [str(event.WhichOneof("payload")) for event in emitted]
    assert {event.lane for event in emitted} == {person.user_id}
    assert sorted(kinds) == ["comment_deleted"] * 3 + ["post_deleted"] * 4 + ["post_unliked"]
    await check_forgotten(content_stack, person, post)


class Interrupted(Exception):
    pass


async def test_a_purge_that_was_cut_off_is_gone_on_with(content_stack: ContentStack) -> None:
    """Wherever it is cut off: each round gets one transaction further than the last."""
    person, post = await busy_person(content_stack)
    await content_stack.tell_of_deletion(person)
    allowed = rounds = 0

    async def cut_off() -> None:
        nonlocal allowed
        allowed -= 1
        if allowed < 0:
            raise Interrupted

    async with content_stack.emitted() as emitted:
        content_stack.mongo.before_change = cut_off
        while await content_stack.documents("purges"):
            allowed, rounds = 1, rounds + 1
            content_stack.clock.ahead_ms += LONG_MS
            await content_stack.app.maintenance.purge()
        content_stack.mongo.before_change = nothing
    assert rounds >= 8
    assert len(emitted) == 8
    await check_forgotten(content_stack, person, post)


@pytest.fixture
async def slow_purger(
    mongodb_url: str, user_stack: UserStack, keys_folder: Path
) -> AsyncIterator[ContentStack]:
    """Does a step of one purge a turn, and little in a step."""
    slow = MaintenanceLimits(purges_at_once=1, batch=2, failed_pause_ms=LONG_MS)
    limits = replace(PATIENT, maintenance=slow)
    async with open_content_stack(mongodb_url, user_stack, keys_folder, limits=limits) as stack:
        yield stack


async def test_a_purge_that_fails_or_is_long_holds_up_no_other(slow_purger: ContentStack) -> None:
    """The one that fails is tried again later."""
    stack = slow_purger
    broken, busy, other, stays = [await stack.sign_up() for _ in range(4)]
    for author in (*[busy] * 5, other):
        await author.publish("goes")
    comment = await broken.comment(await stays.publish("stays"))
    comment_id = uuid.UUID(comment.comment_id)
    comments = stack.app.mongo.collection("comments")
    document = await comments.find_one({"_id": comment_id})
    assert document
    await comments.replace({"_id": comment_id}, {**document, "place": b"nowhere"})
    for author in (broken, busy, other):
        await stack.tell_of_deletion(author)
    failures = metrics.PURGES_FAILED.labels("user")
    before = failures._value.get()

    for _ in range(3):
        await stack.app.maintenance.purge()
    assert len(await stack.references(busy)) == 3
    assert await stack.references(other) == []
    left_of_busy = [3]
    for _ in range(12):  # purges of the deleted posts have their turns between
        await stack.app.maintenance.purge()
        left_of_busy.append(len(await stack.references(busy)))
    assert [*dict.fromkeys(left_of_busy)] == [3, 1, 0]
    assert failures._value.get() == before + 1

    await comments.replace({"_id": comment_id}, document)
    await stack.purge()
    assert await comments.find({"_id": comment_id, "content": "so true"}) == []


async def test_what_one_writes_after_deleting_oneself_goes_too(content_stack: ContentStack) -> None:
    """An access token outlives its account for a moment."""
    person, post = await busy_person(content_stack)
    await content_stack.tell_of_deletion(person)
    while await content_stack.app.maintenance.purge():
        pass
    assert await content_stack.documents("purges")
    async with content_stack.emitted() as emitted:
        await person.publish("late")
        await person.like(post)
        await person.comment(post)
        await content_stack.purge()
    kinds = [str(event.WhichOneof("payload")) for event in emitted if event.lane == person.user_id]
    assert kinds.count("activity_occurred") == 3
    assert sorted(kind for kind in kinds if kind != "activity_occurred") == [
        "comment_created",
        "comment_deleted",
        "post_created",
        "post_deleted",
        "post_liked",
        "post_unliked",
    ]
    await check_forgotten(content_stack, person, post)


async def test_events_that_are_not_understood(content_stack: ContentStack) -> None:
    """To the dead letters with them; those about other things are nothing to us."""
    handler = content_stack.app.people_events
    before = await content_stack.digest()
    newer = events_pb2.Event(event_id=str(uuid.uuid4()), schema_version=2)
    newer.user_deleted.user_id = str(uuid.uuid4())
    broken = replace(bus_event(newer, "UserDeleted"), payload=b"\xff")
    for event in (bus_event(newer, "UserDeleted"), broken):
        with pytest.raises(Undecodable):
            await handler.handle(event, Fence(0, 1))
    assert handler.types == {"UserDeleted"}  # the others are not handed over
    assert await content_stack.digest() == before
