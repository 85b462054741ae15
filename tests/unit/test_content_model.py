"""What a post may carry: media, places, tags; and what is read from its text."""

import math
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from newsfeed.content.v1 import content_service_pb2 as pb

from content_svc.drafts import draft_of
from content_svc.model import (
    Location,
    Media,
    MediaKind,
    Mention,
    Post,
    PostId,
    UserId,
    post_digest,
)
from content_svc.posts import Draft
from content_svc.texts import all_tags, names_in, tags_in, words_in
from svckit.bounds import check
from svckit.errors import InvalidArgument
from svckit.validation import Fields

ADA = UserId(UUID(int=1))


def draft(metadata: pb.PostMetadata, *, paths_are_served: bool = False) -> Draft:
    """What is made of a post with this; as for every request, its bounds are looked at before."""
    check(pb.CreatePostRequest(metadata=metadata))
    fields = Fields()
    made = draft_of(fields, "", metadata, paths_are_served)
    fields.check()
    return made


def refused(metadata: pb.PostMetadata, *, paths_are_served: bool = False) -> list[str]:
    try:
        draft(metadata, paths_are_served=paths_are_served)
    except InvalidArgument as error:
        return [violation.field for violation in error.violations]
    return []


def media(url: str) -> Media:
    return Media(url, MediaKind.IMAGE)


def with_media(*urls: str) -> pb.PostMetadata:
    return pb.PostMetadata(media=[pb.Media(url=url, kind=pb.MEDIA_KIND_IMAGE) for url in urls])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://EXAMPLE.com:8443/a/b.jpg?x=1&y=[2]#top",
        "https://xn--bcher-kva.example.co.uk/%E4%BD%A0",
        "https://1.example.com/@user",
        "https://example.com?q",
    ],
)
def test_public_https_urls_are_media(url: str) -> None:
    assert draft(with_media(url)).media == (media(url),)


@pytest.mark.parametrize(
    "url",
    [
        "",
        *("javascript:alert(1)", "file:///etc/passwd", "data:image/png;base64,AA", "ftp://a.com/x"),
        *("http://example.com/a.jpg", "//example.com/a", "https:example.com", "https:///a"),
        *("https://user@example.com/", "https://user:word@example.com/", "https://a.com@127.0.0.1/"),
        *("https://127.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data"),
        *("https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/"),
        *("https://0x7f.0.0.1/", "https://127.0.0.0x1/", "https://8.8.8.8/", "https://a.1/"),
        *("https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[fe80::1%25eth0]/"),
        *("https://localhost/", "https://a.localhost/", "https://metadata.google.internal/"),
        *("https://printer.local/", "https://router.home.arpa/", "https://intranet/"),
        *("https://localhost./", "https://127.0.0.1./", "https://example.com./"),
        *("https://\uff11\uff12\uff17.0.0.1/", "https://127\u30020\u30020\u30021/", "https://ex\u00e4mple.com/"),
        *("https://example.com\\@127.0.0.1/", "https://example.com/a b", "https://example.com/\n"),
        *('https://example.com/"onload="', "https://example.com/<script>", "https://-a.com/"),
        *("https://example.com:port/", "https://example.com:/", "https://exam_ple.com/"),
        *("https://example.com:0/", "https://example.com:65536/", "https://example.com:99999"),
        "https://example.com/" + "a" * 2000,
    ],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    metadata = with_media("a", "b", "c", url)
    assert refused(metadata, paths_are_served=True) == ["metadata.media[3].url"]


def test_paths_are_media_where_they_are_served() -> None:
    for path in ("photos/1.jpg", "a", "A-b_c/d.e~f/1"):
        assert refused(with_media(path), paths_are_served=True) == []
        assert refused(with_media(path)) == ["metadata.media[0].url"]
    for path in ("/a", "a//b", "../a", "a/../b", "a/.b", "a/", "a%2e", "a:b", "a b", "a?b", "a\\b"):
        assert refused(with_media(path), paths_are_served=True) == ["metadata.media[0].url"], path


def test_sizes_and_descriptions_of_media_are_bounded() -> None:
    metadata = with_media("https://a.com/")
    metadata.media[0].MergeFrom(pb.Media(width=-1, height=65_536, alt="a" * 1_001))
    assert refused(metadata) == [f"metadata.media[0].{name}" for name in ("width", "height", "alt")]


def at(latitude: float, longitude: float, name: str = "") -> pb.PostMetadata:
    return pb.PostMetadata(location=pb.Location(latitude=latitude, longitude=longitude, name=name))


@pytest.mark.parametrize("degrees", [math.nan, math.inf, -math.inf, 180.001, -1e300])
def test_no_place_off_the_earth(degrees: float) -> None:
    expected = ["metadata.location.latitude", "metadata.location.longitude"]
    assert refused(at(degrees, degrees)) == expected


def test_ends_of_the_earth_are_places() -> None:
    assert draft(at(-90.0, 180.0, " Pole ")).location == Location(-90.0, 180.0, "Pole")


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("#Hello #hello, (#world)! #a_1", ["hello", "world", "a_1"]),
        ("#\u0939\u093f\u0928\u094d\u0926\u0940 #日本語 \uff03\u00c4\u00d6 #\u0130",
         ["\u0939\u093f\u0928\u094d\u0926\u0940", "日本語", "äö", "i\u0307"]),
        ("#cafe\u0301", ["café"]),
        ("a#b ##c &#39; /#d #", []),
        ("#a#b #c-d", ["a", "c"]),
        ("#" + "x" * 50, ["x" * 50]),
        ("#" + "x" * 51, []),
        ("#" + "\u0130" * 26, []),  # in lower case twice as long
    ],
)  # fmt: skip
def test_tags_in_a_text(text: str, tags: list[str]) -> None:
    assert tags_in(text) == tags


def test_given_tags_come_first_and_all_are_bounded() -> None:
    text = " ".join(f"#t{number}" for number in range(20))
    assert all_tags(["z", "t3"], text) == ("z", "t3", *(f"t{n}" for n in (0, 1, 2, 4, 5, 6, 7, 8)))


@pytest.mark.parametrize(
    "tag", ["", "#", "##a", "a b", "a-b", "a.b", "$a", "\u0301", "x" * 51, "x" * 10**6]
)
def test_what_is_no_tag(tag: str) -> None:
    assert refused(pb.PostMetadata(tags=[tag])) == ["metadata.tags[0]"]


def test_given_tags_are_normal_and_bounded() -> None:
    given = pb.PostMetadata(tags=["#Ada", "ada", " \u00c9 "])
    assert draft(given).given_tags == ("ada", "é")
    assert refused(pb.PostMetadata(tags=["a"] * 1_000)) == ["metadata.tags"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@Bob, (@carol) @bob @BOB", ["Bob", "carol"]),
        ("ada@example.com a.@ada x/@ada @@ada @ada@example.com", []),
        ("@al @" + "x" * 31 + " @adaé", []),
        ("@alice_1. @bob!", ["alice_1", "bob"]),
        (" ".join(f"@name{number}" for number in range(12)), [f"name{n}" for n in range(10)]),
    ],
)
def test_names_in_a_text(text: str, names: list[str]) -> None:
    assert names_in(text) == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The the QUICK, brown_fox don't", ("the", "quick", "brown_fox", "don", "t")),
        ("Straße \uff37\uff29\uff24\uff25 \ufb01n", ("strasse", "wide", "fin")),
        ("你好world", ("你", "好", "world")),
        ("$gt {'a.b': 1} .*", ("gt", "a", "b", "1")),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ("\u0939\u093f\u0928\u094d\u0926\u0940",)),
        ("x" * 60, ("x" * 50,)),
        (
            "Caf\u00e9 CAFE\u0301 cafe na\u00efve \u1f08\u03b8\u1fc6\u03bd\u03b1\u03b9",
            ("cafe", "naive", "\u03b1\u03b8\u03b7\u03bd\u03b1\u03b9"),
        ),
        (
            "\u304c\u304e \ud55c\uae00 \u0915\u093c",
            ("\u304c", "\u304e", "\ud55c\uae00", "\u0915\u093c"),
        ),
        ("!? \N{PILE OF POO}", ()),
        (" ".join(map(str, range(2_000))), tuple(map(str, range(1_000)))),
    ],
)
def test_words_in_a_text(text: str, words: tuple[str, ...]) -> None:
    assert words_in(text) == words


def test_digest_is_of_what_the_client_sent_and_of_all_of_it() -> None:
    post = Post(PostId(uuid4()), ADA, "hello", 1, 1)
    made_later = replace(
        post,
        post_id=PostId(uuid4()),
        create_time_ms=2,
        update_time_ms=2,
        tags=("read",),
        mentions=(Mention(ADA, "ada"),),
    )
    assert post_digest(made_later) == post_digest(post)
    others = [
        replace(post, content="hello!"),
        replace(post, given_tags=("a",)),
        replace(post, location=Location(0.0, 0.0)),
        replace(post, media=(media("a"),)),
        replace(post, shared_post_id=PostId(uuid4())),
    ]
    assert len({post_digest(each) for each in [post, *others]}) == 6
