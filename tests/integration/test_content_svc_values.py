"""Media, tags and searches that look almost right; texts that look wrong and are fine."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from newsfeed.content.v1 import content_service_pb2 as pb

from tests.requests.bad_values import INVALID_FIELD
from tests.requests.refusals import refusal
from tests.stacks.content_stack import CDN, Author, ContentStack, open_content_stack
from tests.stacks.user_stack import UserStack

BAD_URLS = [
    "javascript:alert(1)",
    "JavaScript://example.com/%0aalert(1)",
    "file:///etc/passwd",
    "data:text/html,x",
    "blob:https://example.com/1",
    "http://example.com/x.png",
    "ftp://example.com/x.png",
    "//example.com/x.png",
    "https:example.com/x.png",
    "https:///x.png",
    "https://",
    "https://user@example.com/x.png",
    "https://user:password@example.com/x.png",
    "https://example.com@evil.example.net/x.png",
    "https://example.com\\@evil.example.net",
    "https://example.com /x.png",
    "https://example.com/a b.png",
    "https://example.com/\n",
    "https://ex\u0430mple.com/",
    "https://example.com/\u202egnp.x",
    "https://example.com/<script>",
    'https://example.com/"onload="alert(1)',
    "https://example.com:99999999/x.png",
    "https://-example.com/x.png",
    "https://.example.com/x.png",
    "https://example..com/x.png",
    f"https://example.com/{'x' * 2000}",
    # One's own network, however it is spelt.
    "https://localhost/x.png",
    "https://LOCALHOST:8443/x.png",
    "https://localhost./x.png",
    "https://printer/x.png",
    "https://router.local/x.png",
    "https://api.cluster.internal/x.png",
    "https://nas.home.arpa/x.png",
    "https://127.0.0.1/x.png",
    "https://127.1/x.png",
    "https://2130706433/x.png",
    "https://0x7f000001/x.png",
    "https://0x7f.0.0.1/x.png",
    "https://0177.0.0.1/x.png",
    "https://10.0.0.1/x.png",
    "https://192.168.1.1/x.png",
    "https://172.16.0.1/x.png",
    "https://169.254.169.254/latest/meta-data",
    "https://0.0.0.0/x.png",
    "https://8.8.8.8/x.png",
    "https://[::1]/x.png",
    "https://[::ffff:127.0.0.1]/x.png",
    "https://[fd00::1]/x.png",
    "https://\u2460\u2461\u2466.0.0.1/x.png",
    "https://127\u30020\u30020\u30021/x.png",
    "https://127.0.0.1./x.png",
    "https://%31%32%37.0.0.1/x.png",
]
BAD_PATHS = [
    "/etc/passwd",
    "/photos/1.jpg",
    "../secret.jpg",
    "photos/../../secret.jpg",
    "photos/./1.jpg",
    "photos//1.jpg",
    "photos/1.jpg/",
    "photos/..",
    "..",
    ".",
    ".hidden",
    "photos/.hidden",
    "photos\\1.jpg",
    "photos/%2e%2e/1.jpg",
    "photos/1.jpg?x=1",
    "photos/1.jpg#x",
    "@evil.example.net/1.jpg",
    "photos/\u0661.jpg",
    "photos/1.jpg\n",
    f"photos/{'x' * 2000}",
]
GOOD_PATHS = ["1.jpg", "photos/1.jpg", "a/b/c/d-e_f.g~h.webp", "a..b/1.jpg"]
GOOD_URLS = [
    "https://example.com/a.png",
    "https://cdn.example.com:8443/a/b.png?w=100&h=50#top",
    "HTTPS://EXAMPLE.COM/A.PNG",
    "https://xn--bcher-kva.example.com/a.png",
    "https://127.0.0.1.nip.example.com/a.png",
    "https://example.com",
]


def with_media(*urls: str) -> pb.PostMetadata:
    return pb.PostMetadata(media=[pb.Media(url=url, kind=pb.MEDIA_KIND_IMAGE) for url in urls])


@pytest.fixture(scope="module")
async def stack_without_cdn(
    mongodb_url: str, user_stack: UserStack, keys_folder: Path
) -> AsyncIterator[ContentStack]:
    async with open_content_stack(mongodb_url, user_stack, keys_folder, cdn="") as stack:
        yield stack


async def check_refused(stack: ContentStack, author: Author, urls: list[str]) -> None:
    before = await stack.digest()
    for url in urls:
        refused = await refusal(author.publish(metadata=with_media(url)))
        expected = (INVALID_FIELD, ("metadata.media[0].url",))
        assert (refused.says, refused.fields) == expected, url
    assert await stack.digest() == before


async def test_media_are_public_urls(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    await check_refused(content_stack, author, BAD_URLS)
    post = await author.publish(metadata=with_media(*GOOD_URLS))
    assert [media.url for media in (await content_stack.get(post)).metadata.media] == GOOD_URLS


async def test_media_may_be_paths_below_the_cdn(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    await check_refused(content_stack, author, BAD_PATHS)
    post = await author.publish(metadata=with_media(*GOOD_PATHS))
    urls = [media.url for media in (await content_stack.get(post)).metadata.media]
    assert urls == [f"{CDN}/{path}" for path in GOOD_PATHS]


async def test_without_a_cdn_there_are_no_paths(stack_without_cdn: ContentStack) -> None:
    author = await stack_without_cdn.sign_up()
    await check_refused(stack_without_cdn, author, BAD_PATHS + GOOD_PATHS + BAD_URLS)
    post = await author.publish(metadata=with_media(*GOOD_URLS))
    assert [media.url for media in post.metadata.media] == GOOD_URLS


async def test_there_is_a_limit_on_everything(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    before = await content_stack.digest()
    for metadata, field in (
        (pb.PostMetadata(tags=[f"tag{number}" for number in range(11)]), "metadata.tags"),
        (pb.PostMetadata(tags=[f"tag{number}" for number in range(1_000)]), "metadata.tags"),
        (pb.PostMetadata(tags=["same"] * 1_000), "metadata.tags"),
        (with_media(*GOOD_URLS[:1] * 11), "metadata.media"),
        (with_media(*GOOD_URLS[:1] * 1_000), "metadata.media"),
        (with_media(*["javascript:"] * 1_000), "metadata.media"),
    ):
        refused = await refusal(author.publish("x", metadata=metadata))
        assert refused.says == INVALID_FIELD
        assert refused.fields[0] == field
    assert (await refusal(author.publish("x" * 5_001))).fields == ("content",)
    assert await content_stack.digest() == before
    longest = await author.publish("\U0001f600" * 5_000)
    assert len((await content_stack.get(longest)).content) == 5_000


async def test_a_message_that_is_too_large_is_refused(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    before = await content_stack.digest()
    for size in (4 * 2**20, 16 * 2**20):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await author.publish("x" * size)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await content_stack.digest() == before


async def test_a_text_of_nothing_but_tags_and_names(content_stack: ContentStack) -> None:
    """What goes beyond the bounds is plain text."""
    author = await content_stack.sign_up()
    post = await author.publish(" ".join(f"#t{number}" for number in range(800)))
    assert post.metadata.tags == [f"t{number}" for number in range(10)]
    named = [await content_stack.sign_up("named") for _ in range(11)]
    names = [author.person.user.username for author in named]
    post = await author.publish(" ".join(f"@{name}" for name in [*names[:2], *names]))
    assert [each.username for each in post.mentions] == names[:10]


@pytest.mark.parametrize(
    "text",
    [
        '{"$gt": ""}',
        "{'$where': 'sleep(5000)'}",
        "$set a.b $$NOW \\ %s %00 {0}",
        "<script>alert(1)</script> &amp; '\"--",
        "line one\nline two\ttabbed",
        "\u05e9\u05dc\u05d5\u05dd \u4f60\u597d \U0001f468\u200d\U0001f469\u200d\U0001f467",
    ],
)
async def test_texts_come_back_as_they_were(content_stack: ContentStack, text: str) -> None:
    author = await content_stack.sign_up()
    metadata = with_media("1.jpg")
    metadata.media[0].alt = text
    metadata.location.name = text.replace("\n", " ").replace("\t", " ")
    post = await content_stack.get(await author.publish(text, metadata=metadata))
    assert post.content == text
    assert post.metadata.media[0].alt == text
    assert post.metadata.location == metadata.location
    comment = await author.comment(post, text)
    listed = await author.calls.ListComments(pb.ListCommentsRequest(post_id=post.post_id))
    assert [(each.comment_id, each.content) for each in listed.comments] == [
        (comment.comment_id, text)
    ]


async def test_texts_of_nothing_but_different_words(content_stack: ContentStack) -> None:
    """Many at once are no burden for others."""
    author = await content_stack.sign_up()
    signs = [chr(number) for number in range(0x4E00, 0x4E00 + 20_000)]
    dice = random.Random(5)
    texts = ["".join(dice.sample(signs, 5_000)) for _ in range(64)]
    async with asyncio.timeout(5):
        await asyncio.gather(*map(author.publish, [*texts, "a small one"]))


async def found(author: Author, query: str) -> list[str]:
    answer = await author.calls.SearchPosts(pb.SearchPostsRequest(query=query, page_size=100))
    return [post.content for post in answer.posts]


async def test_a_search_takes_words_as_they_are(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    texts = ["zyx Zwei", "zyxw", "ZYX drei", "a zyx-b", "Stra\u00dfe zyx"]
    for text in texts:
        await author.publish(text)
    assert await found(author, "zyx") == ["Stra\u00dfe zyx", "a zyx-b", "ZYX drei", "zyx Zwei"]
    assert await found(author, "ZYX zwei") == ["zyx Zwei"]
    assert await found(author, "STRASSE zy\u0301x") == ["Stra\u00dfe zyx"]
    assert await found(author, "\uff5a\uff59\uff58 \uff5a\uff57\uff45\uff49") == ["zyx Zwei"]
    assert await found(author, "^zyx drei$") == ["ZYX drei"]
    assert len(await found(author, "(zyx")) == 4
    for pattern in ("zy.*", "zy.", "zyx|zyxw", "[z]yx", "zy\\w", "zy*"):
        assert await found(author, pattern) == [], pattern
    for pattern in (".*", "$", "^", "\\", "(((", '"" -- {}', "\U0001f600"):
        refused = await refusal(found(author, pattern))
        assert (refused.says, refused.fields) == (INVALID_FIELD, ("query",))


async def test_a_search_does_not_explode(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    async with asyncio.timeout(2):
        assert await found(author, "(qq+)+$" * 28) == []
        assert await found(author, " ".join("ab" for _ in range(60))) == []


async def test_all_wrong_fields_are_named_at_once(content_stack: ContentStack) -> None:
    author = await content_stack.sign_up()
    metadata = pb.PostMetadata(tags=["ok", "not ok"], location=pb.Location(latitude=91))
    metadata.media.append(pb.Media(url="x:", width=-1))
    refused = await refusal(author.publish("\0", post_id="x", metadata=metadata))
    assert set(refused.fields) == {
        "content",
        "post_id",
        "metadata.tags[1]",
        "metadata.location.latitude",
        "metadata.media[0].url",
        "metadata.media[0].kind",
        "metadata.media[0].width",
    }
