import base64
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svckit.errors import InvalidArgument
from svckit.page_tokens import TOKEN_LENGTH_MAX, InvalidPageToken, PageTokens, page_size

TOKENS = PageTokens(b"k" * 32)
SCOPE = ["ListFollowers", "0193aaaa-bbbb-7ccc-8ddd-0123456789ab", "query"]
POSITION: list[int | str | UUID] = [1_732_000_000_000, "0193aaaa-bbbb-7ccc-8ddd-0123456789ab"]
TOKEN = TOKENS.encode(SCOPE, POSITION)


@given(
    st.lists(st.text(max_size=20), max_size=4),
    st.lists(st.integers(-(2**63), 2**63) | st.text(st.characters(codec="utf-8"), max_size=8)),
)
def test_a_position_comes_back_as_it_went(scope, position):
    try:
        token = TOKENS.encode(scope, position)
    except ValueError:
        assert len(str(position)) > 150
        return
    assert TOKENS.decode(token, scope) == position
    assert len(token) <= TOKEN_LENGTH_MAX


def test_a_token_travels_in_a_url_and_is_short():
    assert set(TOKEN) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(TOKEN) < 100


def test_a_page_begins_at_the_position_or_at_the_start():
    start = (2**63 - 1, UUID(int=2**128 - 1), "z")
    position = (7, uuid4(), "a")
    assert TOKENS.position("", SCOPE, start) == start
    assert TOKENS.position(TOKENS.encode(SCOPE, position), SCOPE, start) == position
    with pytest.raises(InvalidPageToken):
        TOKENS.position(TOKEN, ["another"], start)


def test_the_scope_is_not_in_the_token():
    assert b"Followers" not in base64.urlsafe_b64decode(TOKEN + "==")


@pytest.mark.parametrize(
    "scope",
    [
        ["ListFollowing", *SCOPE[1:]],
        [SCOPE[0], "0193aaaa-bbbb-7ccc-8ddd-0123456789ac", SCOPE[2]],
        SCOPE[:2],
        [*SCOPE, ""],
        [SCOPE[0] + SCOPE[1], SCOPE[2]],
        [SCOPE[0], SCOPE[1] + SCOPE[2]],
        [SCOPE[0], f'{SCOPE[1]}","{SCOPE[2]}'],
        list(reversed(SCOPE)),
        [],
    ],
)
def test_a_token_is_refused_for_any_other_list_or_viewer(scope):
    with pytest.raises(InvalidPageToken):
        TOKENS.decode(TOKEN, scope)


def test_a_token_of_another_key_is_refused():
    with pytest.raises(InvalidPageToken):
        PageTokens(b"K" * 32).decode(TOKEN, SCOPE)


def test_every_changed_character_is_noticed():
    alphabet = "AQgw-_0z"
    for at in range(len(TOKEN)):
        for other in alphabet.replace(TOKEN[at], ""):
            with pytest.raises(InvalidPageToken):
                TOKENS.decode(TOKEN[:at] + other + TOKEN[at + 1 :], SCOPE)


def test_every_cut_is_noticed():
    for length in range(len(TOKEN)):
        with pytest.raises(InvalidPageToken):
            TOKENS.decode(TOKEN[:length], SCOPE)


def test_other_spellings_of_the_same_bytes_are_refused():
    token = next(
        token
        for number in range(9)
        if len(token := TOKENS.encode(SCOPE, [10**number])) % 4  # ends in bits that carry nothing
    )
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    respelled = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    padding = "=" * (-len(token) % 4)
    assert base64.urlsafe_b64decode(respelled + padding) == base64.urlsafe_b64decode(
        token + padding
    )
    spellings = [
        respelled,
        token + padding,
        token + "====",
        f" {token}",
        f"{token} ",
        f"{token}\n",
        f"{token[:4]}\r\n{token[4:]}",
        f"{token[:4]}!{token[4:]}",
        f"{token}\0",
    ]
    for spelling in spellings:
        with pytest.raises(InvalidPageToken):
            TOKENS.decode(spelling, SCOPE)


def test_plain_base64_is_refused():
    token = next(token for number in range(999) if "-" in (token := TOKENS.encode(SCOPE, [number])))
    with pytest.raises(InvalidPageToken):
        TOKENS.decode(token.replace("-", "+"), SCOPE)


@pytest.mark.parametrize(
    "token", ["", "x", "1", "null", "\ud800", "ä", "\uff21" * 40, "A" * 513, "A" * 1_000_000]
)
def test_anything_else_is_refused(token):
    with pytest.raises(InvalidPageToken):
        TOKENS.decode(token, SCOPE)


def test_the_refusal_names_reason_and_field():
    with pytest.raises(InvalidArgument) as caught:
        TOKENS.decode("x", SCOPE)
    assert caught.value.reason == "INVALID_PAGE_TOKEN"
    assert [violation.field for violation in caught.value.violations] == ["page_token"]


def test_a_position_that_does_not_fit_is_our_fault():
    with pytest.raises(ValueError, match="too long"):
        TOKENS.encode(SCOPE, ["x" * 500])


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        PageTokens(b"k" * 31)


@pytest.mark.parametrize(
    ("requested", "size"),
    [(0, 20), (1, 1), (20, 20), (100, 100), (101, 100), (10**9, 100)],
)
def test_page_size(requested, size):
    assert page_size(requested) == size
