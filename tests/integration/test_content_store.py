"""Posts on a real MongoDB: what is kept, in what order, and what many writers leave."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from content_svc.model import (
    NEWEST,
    DeletedPost,
    Location,
    Media,
    MediaKind,
    Mention,
    Place,
    Post,
    PostId,
    PostIdTaken,
    PostReference,
    UserId,
)
from content_svc.store import PostStore, StoreLimits
from content_svc.texts import words_in
from svckit.mongo.changes import Change
from svckit.mongo.outbox import OUTBOX, MongoOutbox
from tests.stacks.content_stores import (
    ADA,
    BOB,
    EVE,
    NOW_MS,
    Stores,
    all_pages,
    event,
    newest_first,
    open_stores,
    place,
    post_of,
    share_of,
)


@pytest.fixture
async def stores(mongodb_url: str) -> AsyncIterator[Stores]:
    async with open_stores(mongodb_url) as stores:
        yield stores


FULL = Post(
    post_id=PostId(uuid.uuid4()),
    author_id=ADA,
    content="$gt {'a.b': 1} #Tag @bob \N{PILE OF POO}",
    create_time_ms=NOW_MS,
    update_time_ms=NOW_MS + 1,
    edited=True,
    given_tags=("given",),
    tags=("given", "tag"),
    location=Location(-90.0, 180.0, "$where"),
    media=(
        Media("https://example.com/1.jpg", MediaKind.IMAGE, 640, 480, "a.b"),
        Media("a/2.mp4", MediaKind.VIDEO),
    ),
    mentions=(Mention(BOB, "Bob"),),
    shared_post_id=PostId(uuid.uuid4()),
    shared_author_id=EVE,
)


async def test_posts_come_back_as_written(stores: Stores) -> None:
    plain = post_of(content="")
    await stores.add(FULL, plain)
    assert await stores.posts.post(FULL.post_id) == FULL
    assert await stores.posts.post(plain.post_id) == plain
    assert await stores.posts.post(PostId(uuid.uuid4())) is None
    asked = [FULL.post_id, plain.post_id, uuid.uuid4()]
    assert newest_first(await stores.posts.posts(asked)) == newest_first([FULL, plain])


async def test_change_is_written_with_its_events_or_not_at_all(stores: Stores) -> None:
    post, events = post_of(), [event(), event()]

    async def write(change: Change) -> None:
        change.emit(events[0])
        await stores.posts.insert(change, post)
        change.emit(events[1])

    async def write_and_fail(change: Change) -> None:
        await write(change)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stores.changes.run(write_and_fail)
    assert await stores.posts.post(post.post_id) is None
    await stores.changes.run(write)
    assert stores.commits == [None]
    assert [each for _, each in await MongoOutbox(stores.mongo).unpublished(10)] == events
    await stores.changes.run(lambda change: stores.posts.in_change(change, post.post_id))
    assert stores.commits == [None]


async def test_same_post_sent_fifty_times_at_once_is_one(stores: Stores) -> None:
    post = post_of()

    async def create() -> Post | None:
        async def write(change: Change) -> None:
            await stores.posts.insert(change, post)
            change.emit(event())

        try:
            await stores.changes.run(write)
        except PostIdTaken:
            return await stores.posts.first_of(post)
        return post

    assert await asyncio.gather(*(create() for _ in range(50))) == [post] * 50
    assert len(await stores.mongo.collection(OUTBOX).find({})) == 1


async def test_first_of_is_for_the_same_author_and_body_also_after_an_edit(stores: Stores) -> None:
    await stores.add(FULL)
    assert await stores.posts.first_of(replace(FULL, create_time_ms=1, mentions=())) == FULL
    others = (
        replace(FULL, author_id=BOB),
        replace(FULL, content="other"),
        replace(FULL, location=None),
        replace(FULL, media=FULL.media[:1]),
        replace(FULL, given_tags=()),
        replace(FULL, shared_post_id=None),
        replace(FULL, post_id=PostId(uuid.uuid4())),
    )
    assert [await stores.posts.first_of(other) for other in others] == [None] * len(others)
    edited = replace(FULL, content="edited", tags=(), given_tags=(), location=None, media=())
    await stores.changes.run(lambda change: stores.posts.update(change, edited))
    assert await stores.posts.first_of(FULL) == edited


async def test_an_edit_leaves_nothing_of_what_was_before(stores: Stores) -> None:
    await stores.add(FULL)
    edited = replace(FULL, content="", tags=(), given_tags=(), location=None, media=(), mentions=())
    await stores.changes.run(lambda change: stores.posts.update(change, edited))
    assert await stores.posts.post(FULL.post_id) == edited
    assert await stores.posts.by_tag("tag", NEWEST, 10) == ([], None)
    assert await stores.posts.search(["tag"], NEWEST, 10) == ([], None)


async def test_a_deleted_post_is_in_no_list_and_its_id_is_never_given_again(
    stores: Stores,
) -> None:
    original = post_of(BOB)
    share = replace(share_of(original, ADA), content="word #tag", tags=("tag",))
    await stores.add(original, share)
    assert await stores.posts.live_ids([share.post_id, uuid.uuid4()]) == {share.post_id}

    deleted = await stores.delete(share)

    assert deleted == DeletedPost(share.post_id, ADA, NOW_MS)
    assert await stores.posts.post(share.post_id) is None
    assert await stores.posts.live_ids([share.post_id]) == set()
    assert await stores.posts.by_author(ADA, NEWEST, 10) == ([], None)
    assert await stores.posts.by_tag("tag", NEWEST, 10) == ([], None)
    assert await stores.posts.search(["word"], NEWEST, 10) == ([], None)
    assert await stores.posts.references([ADA], NEWEST, 10) == []
    assert await stores.posts.shared_by(ADA, [original.post_id]) == set()
    assert await stores.posts.shares_of(original.post_id, 10) == []
    assert await stores.posts.first_of(share) is None
    with pytest.raises(PostIdTaken):
        await stores.add(share)
    seen = await stores.changes.run(lambda change: stores.posts.in_change(change, share.post_id))
    assert seen == deleted


async def test_edit_and_deletion_at_once_leave_one_outcome(stores: Stores) -> None:
    async def write(post: Post, *, delete: bool) -> None:
        async def work(change: Change) -> None:
            before = await stores.posts.in_change(change, post.post_id)
            if isinstance(before, Post):
                edited = replace(before, update_time_ms=before.update_time_ms + 1)
                if delete:
                    await stores.posts.delete(change, before, before.update_time_ms)
                else:
                    await stores.posts.update(change, edited)
                change.emit(event("delete" if delete else "edit"))

        await stores.changes.run(work)

    for _ in range(10):
        post = post_of(time_ms=0)
        await stores.add(post)
        await asyncio.gather(*(write(post, delete=number == 2) for number in range(5)))
        after = await stores.changes.run(
            lambda change, post_id=post.post_id: stores.posts.in_change(change, post_id)  # type: ignore[misc]
        )
        lanes = [each["lane"] for each in await stores.mongo.collection(OUTBOX).find({})]
        assert isinstance(after, DeletedPost)
        assert after.delete_time_ms == lanes.count("edit")
        await stores.mongo.collection(OUTBOX).delete({})


async def test_lists_are_whole_and_in_order_whatever_the_page_size(stores: Stores) -> None:
    dice = random.Random(1)
    posts = [
        post_of(dice.choice([ADA, BOB]), f"word #{dice.choice('ab')}", NOW_MS + dice.randrange(5))
        for _ in range(60)
    ]
    await stores.add(*posts)
    await stores.delete(posts.pop())
    for size in (1, 7, 100):
        by_author = await all_pages(lambda at, n: stores.posts.by_author(ADA, at, n), place, size)
        assert by_author == newest_first([post for post in posts if post.author_id == ADA])
        by_tag = await all_pages(lambda at, n: stores.posts.by_tag("a", at, n), place, size)
        assert by_tag == newest_first([post for post in posts if post.tags == ("a",)])


async def test_references_of_many_authors_are_those_of_brute_force(
    stores: Stores,
) -> None:
    store = PostStore(stores.mongo, StoreLimits(authors_per_query=7, queries_at_once=2))
    dice = random.Random(2)
    authors = [UserId(uuid.uuid4()) for _ in range(40)]
    original = post_of(EVE)
    posts = [post_of(dice.choice(authors), time_ms=NOW_MS + dice.randrange(20)) for _ in range(150)]
    posts += [share_of(original, author) for author in authors[:5]]
    await stores.add(original, *posts)
    for limit in (1, 13, 500):
        for before in (NEWEST, place(newest_first(posts)[40])):
            asked = dice.choices(authors, k=30)
            below = [each for each in posts if each.author_id in asked and place(each) < before]
            expected = [
                PostReference(
                    each.post_id, each.author_id, each.create_time_ms, each.shared_post_id
                )
                for each in newest_first(below)[:limit]
            ]
            assert await store.references(asked, before, limit) == expected
    assert await store.references([], NEWEST, 10) == []


async def test_search_finds_posts_with_all_words_in_bounded_steps(
    stores: Stores,
) -> None:
    dice = random.Random(3)
    vocabulary = ["Straße", "hello", "你好", ".*", "$gt", "\uff37\uff29\uff24\uff25", "b"]
    posts = [
        post_of(content=" ".join(dice.choices(vocabulary, k=3)), time_ms=NOW_MS + number // 3)
        for number in range(60)
    ]
    await stores.add(*posts)
    for candidates_max in (5, 2_000):
        store = PostStore(stores.mongo, StoreLimits(search_candidates_max=candidates_max))
        for query in ("STRASSE", "好 hello", "wide b", "gt b", "absent hello"):
            words = words_in(query)
            found: list[Post] = []
            before: Place | None = NEWEST
            while before is not None:
                page, before = await store.search(words, before, 4)
                found += page
            expected = [post for post in posts if set(words) <= set(words_in(post.content))]
            assert found == newest_first(expected), query


async def test_a_search_goes_as_deep_as_its_rarest_word_allows(
    stores: Stores,
) -> None:
    store = PostStore(stores.mongo, StoreLimits(search_candidates_max=5))
    posts = [post_of(content="commonplace too", time_ms=NOW_MS + number) for number in range(30)]
    oldest = post_of(content="commonplace too zq", time_ms=NOW_MS - 1)
    await stores.add(oldest, *posts)
    assert await store.search(["commonplace", "too", "zq"], NEWEST, 20) == ([oldest], None)
    found, before = await store.search(["commonplace", "too"], NEWEST, 20)
    assert found == newest_first(posts)[:5]
    assert before == place(found[-1])


async def test_what_a_viewer_shared_and_who_shares_a_post(stores: Stores) -> None:
    posts = [post_of() for _ in range(3)]
    shares = [share_of(posts[0], BOB), share_of(posts[0], EVE), share_of(posts[1], EVE)]
    await stores.add(*posts, *shares)
    asked = [post.post_id for post in posts]
    assert await stores.posts.shared_by(EVE, asked) == set(asked[:2])
    assert await stores.posts.shared_by(ADA, asked) == set()
    found = await stores.posts.shares_of(asked[0], 10)
    assert {share.post_id for share in found} == {share.post_id for share in shares[:2]}
