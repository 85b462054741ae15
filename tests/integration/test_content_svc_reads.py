"""Lists and batches: in order, complete, without what is deleted or across a block."""

import asyncio
import random
import uuid
from typing import Any

import pytest
from newsfeed.content.v1 import content_service_pb2 as pb

from tests.requests.refusals import refusal
from tests.stacks.content_stack import Author, ContentStack, packed

SEED = 20261120


def by_author(author: Author) -> tuple[str, Any]:
    return "ListPostsByAuthor", pb.ListPostsByAuthorRequest(user_id=author.user_id)


def by_tag(tag: str) -> tuple[str, Any]:
    return "ListPostsByTag", pb.ListPostsByTagRequest(tag=tag)


def by_words(query: str) -> tuple[str, Any]:
    return "SearchPosts", pb.SearchPostsRequest(query=query)


def likes_of(post: pb.Post) -> tuple[str, Any]:
    return "ListLikes", pb.ListLikesRequest(post_id=post.post_id)


def comments_of(post: pb.Post) -> tuple[str, Any]:
    return "ListComments", pb.ListCommentsRequest(post_id=post.post_id)


def ids(answer: Any) -> list[str]:
    match answer:
        case pb.ListLikesResponse():
            return [like.user_id for like in answer.likes]
        case pb.ListCommentsResponse():
            return [comment.comment_id for comment in answer.comments]
    return [post.post_id for post in answer.posts]


async def page(viewer: Author, listing: tuple[str, Any]) -> Any:
    name, request = listing
    return await getattr(viewer.calls, name)(request)


async def pages(viewer: Author, listing: tuple[str, Any], page_size: int = 3) -> list[list[str]]:
    """Until the token is empty."""
    _, request = listing
    request.page_size, request.page_token = page_size, ""
    found = []
    while True:
        answer = await page(viewer, listing)
        found.append(ids(answer))
        request.page_token = answer.next_page_token
        if not answer.next_page_token:
            return found


async def everything(viewer: Author, listing: tuple[str, Any]) -> list[str]:
    return [each for part in await pages(viewer, listing) for each in part]


def unique_tag() -> str:
    return f"t{uuid.uuid4().hex}"


async def test_lists_are_newest_first_and_complete(content_stack: ContentStack) -> None:
    author, viewer = await content_stack.sign_up(), await content_stack.sign_up()
    tag = unique_tag()
    posts = [await author.publish(f"#{tag} {number}") for number in range(10)]
    newest_first = [post.post_id for post in reversed(posts)]
    for listing in (by_author(author), by_tag(tag), by_tag(f"#{tag.upper()}"), by_words(tag)):
        assert await everything(viewer, listing) == newest_first
        assert [len(each) for each in await pages(viewer, listing, 4)] == [4, 4, 2]
    fans = [await content_stack.sign_up("fan") for _ in range(7)]
    for fan in fans:
        await fan.like(posts[0])
    comments = [await fan.comment(posts[0]) for fan in fans]
    assert await everything(viewer, likes_of(posts[0])) == [fan.user_id for fan in reversed(fans)]
    assert await everything(viewer, comments_of(posts[0])) == [
        comment.comment_id for comment in reversed(comments)
    ]
    assert await everything(viewer, likes_of(posts[1])) == []


async def test_what_is_new_shifts_no_page(content_stack: ContentStack) -> None:
    author, viewer = await content_stack.sign_up(), await content_stack.sign_up()
    tag = unique_tag()
    old = [(await author.publish(f"#{tag}")).post_id for _ in range(9)]
    for listing in (by_author(author), by_tag(tag), by_words(tag)):
        _, request = listing
        request.page_size = 2
        found = []
        while True:
            answer = await page(viewer, listing)
            found += ids(answer)
            await asyncio.gather(*(author.publish(f"#{tag} new") for _ in range(3)))
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        assert len(set(found)) == len(found)
        assert found[-9:] == old[::-1]


async def test_a_page_token_is_good_for_its_list_and_viewer(content_stack: ContentStack) -> None:
    author, viewer = await content_stack.sign_up(), await content_stack.sign_up()
    tag = unique_tag()
    posts = [await author.publish(f"#{tag}") for _ in range(2)]
    for fan in (author, viewer):
        await fan.like(posts[0])
        await fan.comment(posts[0])
    listings = [by_author(author), by_tag(tag), by_words(tag), likes_of(posts[0])]
    listings.append(comments_of(posts[0]))
    tokens = []
    for listing in listings:
        listing[1].page_size = 1
        tokens.append((await page(viewer, listing)).next_page_token)
        assert tokens[-1]
    others = [by_author(viewer), by_tag("other"), by_words("other"), likes_of(posts[1])]
    others.append(comments_of(posts[1]))
    for index, token in enumerate(tokens):
        wrong = [(viewer, each) for each in (*listings[:index], *listings[index + 1 :])]
        wrong += [(author, listings[index]), (viewer, others[index])]
        for caller, listing in wrong:
            listing[1].page_token = token
            refused = await refusal(page(caller, listing))
            assert refused.says == "INVALID_ARGUMENT INVALID_PAGE_TOKEN"
        listings[index][1].page_token = token
        assert len(ids(await page(viewer, listings[index]))) == 1


async def test_who_is_unknown_or_gone_has_no_list(content_stack: ContentStack) -> None:
    author, viewer = await content_stack.sign_up(), await content_stack.sign_up()
    await author.publish("mine")
    await author.person.delete()
    unknown = "USER_NOT_FOUND", {"user_id": author.user_id}
    refused = await refusal(page(viewer, by_author(author)))
    assert (refused.reason, refused.metadata) == unknown


@pytest.mark.parametrize("viewer_blocks", [False, True])
async def test_lists_leave_the_other_side_of_a_block_out(
    content_stack: ContentStack, *, viewer_blocks: bool
) -> None:
    """Also what a third person shares of them; pages are full all the same."""
    viewer, foe, friend = [await content_stack.sign_up() for _ in range(3)]
    tag = unique_tag()
    first = await friend.publish(f"#{tag} first")
    seen, comments = [first.post_id], []
    for number in range(6):
        post = await foe.publish(f"#{tag} {number}")
        await friend.share(post)
        await foe.comment(first)
        seen.append((await friend.publish(f"#{tag} {number}")).post_id)
        comments.append((await friend.comment(first)).comment_id)
    for fan in (foe, friend):
        await fan.like(first)
    own = await viewer.publish("of the viewer")
    await foe.share(own)
    blocker, blocked = (viewer, foe) if viewer_blocks else (foe, viewer)
    await blocker.person.act("Block", blocked.person)
    for listing in (by_tag(tag), by_words(tag), by_author(friend)):
        assert await everything(viewer, listing) == seen[::-1]
        assert [len(each) for each in await pages(viewer, listing, 3)][:2] == [3, 3]
    assert await everything(viewer, by_author(foe)) == []
    assert await everything(foe, by_author(viewer)) == []
    assert await everything(viewer, likes_of(first)) == [friend.user_id]
    assert await everything(viewer, comments_of(first)) == comments[::-1]
    stranger = await content_stack.sign_up()
    assert len(await everything(stranger, by_tag(tag))) == 13
    assert len(await everything(stranger, comments_of(first))) == 12


async def test_a_long_run_of_hidden_posts_is_no_end(content_stack: ContentStack) -> None:
    viewer, foe = await content_stack.sign_up(), await content_stack.sign_up()
    tag = unique_tag()
    post = await viewer.publish(f"#{tag}")
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(foe.publish(f"#{tag}"))
    await viewer.person.act("Block", foe.person)
    found = await pages(viewer, by_tag(tag), 2)
    assert [each for part in found for each in part] == [post.post_id]
    assert [] in found


async def test_a_deleted_post_is_gone_from_every_read_at_once(content_stack: ContentStack) -> None:
    """And so are its shares, before anything is purged."""
    author, sharer, viewer = [await content_stack.sign_up() for _ in range(3)]
    tag = unique_tag()
    for purged in (False, True):
        post = await author.publish(f"#{tag}")
        share = await sharer.share(post, content=f"#{tag}")
        other = await sharer.publish(f"#{tag} stays")
        assert await content_stack.batch(post, share, other)  # now they are cached
        await author.delete(post)
        if purged:
            await content_stack.purge()
        for gone in (post, share):
            assert (await refusal(content_stack.get(gone))).reason == "POST_NOT_FOUND"
        assert await content_stack.batch(post, share, other) == [other.post_id]
        assert await content_stack.references(author, sharer) == [other.post_id]
        for listing in (by_tag(tag), by_words(tag), by_author(sharer)):
            assert await everything(viewer, listing) == [other.post_id]
        assert await everything(viewer, by_author(author)) == []
        await sharer.delete(other)


async def test_a_batch_shows_what_this_process_changed(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    post = await author.publish("old")
    request = pb.BatchGetPostsRequest(post_ids=packed([post]))
    for content in ("new", "newer", "newest"):
        await content_stack.service.BatchGetPosts(request)
        await author.edit(post, content=content)
        [found] = (await content_stack.service.BatchGetPosts(request)).posts
        assert (found.content, found.edited) == (content, True)
    await author.delete(post)
    assert await content_stack.batch(post) == []


async def test_a_batch_has_each_post_once_and_no_others(content_stack: ContentStack) -> None:
    author, other = await content_stack.sign_up(), await content_stack.sign_up()
    posts = [await each.publish("x") for each in (author, other, author)]
    unknown = pb.Post(post_id=str(uuid.uuid4()))
    for _ in range(2):
        found = await content_stack.batch(*posts, unknown, *posts)
        assert sorted(found) == sorted(post.post_id for post in posts)


async def test_references_are_the_truth(content_stack: ContentStack) -> None:
    """Against brute force, page by page, with posts of the same millisecond."""
    chance = random.Random(SEED)
    authors = [await content_stack.sign_up("author") for _ in range(6)]
    written = {author.user_id: list[pb.Post]() for author in authors}

    async def write(author: Author) -> None:
        written[author.user_id].append(await author.publish("post"))

    for _ in range(6):
        await asyncio.gather(*(write(author) for author in authors for _ in range(2)))
    for author in authors:
        posts = written[author.user_id]
        await author.delete(posts.pop(chance.randrange(len(posts))))
    for _ in range(10):
        some = chance.sample(authors, chance.randint(1, 6))
        expected = sorted(
            (
                (post.create_time.ToMilliseconds(), uuid.UUID(post.post_id).bytes)
                for author in some
                for post in written[author.user_id]
            ),
            reverse=True,
        )
        limit, found = chance.randint(1, 30), list[tuple[int, bytes]]()
        author_ids = b"".join(author.id_bytes for author in some)
        request = pb.ListPostsByAuthorsRequest(author_ids=author_ids, limit=limit)
        while True:
            part = (await content_stack.service.ListPostsByAuthors(request)).posts
            found += [(each.create_time_ms, each.post_id) for each in part]
            if len(part) < limit:
                break
            request.before.create_time_ms, request.before.post_id = found[-1]
        assert found == expected


async def test_a_page_of_references_is_full_although_shares_have_gone(
    content_stack: ContentStack,
) -> None:
    """Fewer than the limit means that there are no more."""
    author, sharer = await content_stack.sign_up(), await content_stack.sign_up()
    stays = [await sharer.publish("stays") for _ in range(4)]
    for _ in range(5):
        post = await author.publish("goes")
        await sharer.share(post)
        await author.delete(post)
    assert await content_stack.references(sharer, limit=3) == [
        post.post_id for post in stays[:0:-1]
    ]


async def test_viewer_states(content_stack: ContentStack) -> None:
    author, viewer = await content_stack.sign_up(), await content_stack.sign_up()
    posts = [await author.publish("x") for _ in range(4)]
    await viewer.like(posts[0])
    share = await viewer.share(posts[1])
    await viewer.like(posts[2])
    await viewer.share(posts[2])
    await author.like(posts[3])

    async def states(*asked: pb.Post) -> list[tuple[bool, bool]]:
        request = pb.BatchGetViewerStateRequest(viewer_id=viewer.user_id, post_ids=packed(asked))
        answer = await content_stack.service.BatchGetViewerState(request)
        return [(state.liked, state.shared) for state in answer.states]

    liked, shared, both, neither = (True, False), (False, True), (True, True), (False, False)
    unknown = pb.Post(post_id=str(uuid.uuid4()))
    assert await states(*posts) == [liked, shared, both, neither]
    assert await states(posts[3], unknown, posts[0], posts[0]) == [neither, neither, liked, liked]
    await viewer.unlike(posts[0])
    await viewer.delete(share)
    assert await states(*posts) == [neither, neither, both, neither]
