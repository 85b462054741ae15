"""Parts of a text: #tags, @names and the words that a search finds it by.

Letters are those of any script, with the marks that belong to them. What goes beyond a bound is
plain text, no error.
"""

import re
import unicodedata
from collections.abc import Sequence

from content_svc.model import TAGS_MAX
from svckit.validation import Fields, normal_text

MENTIONS_MAX = 10
TAG_LENGTH_MAX = 50
WORD_LENGTH_MAX = 50
WORDS_MAX = 1_000  # each is an entry of an index

# `\w` lacks the marks of scripts that write vowels as such.
_MARKS = "".join(
    chr(code) for code in range(0x300, 0xFE30) if unicodedata.category(chr(code)) in {"Mn", "Mc"}
)
_LETTER = rf"[\w{_MARKS}]"
_HASH = "[#\uff03]"
_TAG = re.compile(rf"\w{_LETTER}{{0,{TAG_LENGTH_MAX - 1}}}")
_TAG_IN_TEXT = re.compile(
    rf"{_HASH}(?<!{_LETTER}{_HASH})(?<![#\uff03&/]{_HASH})({_TAG.pattern})(?!{_LETTER})"
)
_NAME_IN_TEXT = re.compile(rf"@(?<!{_LETTER}@)(?<![@./]@)([A-Za-z0-9_]{{3,30}})(?!{_LETTER}|@)")
_ACCENTS = re.compile("[\u0300-\u036f]")  # not the marks of scripts that write vowels as such
_RUN = re.compile(rf"{_LETTER}+")
# Scripts without spaces between words: each sign is a word.
_SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SIGN_OR_RUN = re.compile(rf"[{_SIGNS}]|[^{_SIGNS}]+")


def tags_in(text: str) -> list[str]:
    lowered = (_lowered(match[1]) for match in _TAG_IN_TEXT.finditer(text))
    return list(dict.fromkeys(filter(_TAG.fullmatch, lowered)))  # some letters become two


def all_tags(given: Sequence[str], text: str) -> tuple[str, ...]:
    """The given ones, then those of the text while there is room."""
    return tuple(dict.fromkeys([*given, *tags_in(text)]))[:TAGS_MAX]


def names_in(text: str) -> list[str]:
    """The usernames that may be mentioned, as they stand there, each person once."""
    names: dict[str, str] = {}
    for match in _NAME_IN_TEXT.finditer(text):
        names.setdefault(match[1].lower(), match[1])
    return list(names.values())[:MENTIONS_MAX]


def words_in(text: str) -> tuple[str, ...]:
    """The first different words, as they are searched for: without case, width and accents."""
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    runs = _RUN.findall(unicodedata.normalize("NFKC", plain.casefold()))
    words = (
        word for run in runs for word in ([run] if run.isascii() else _SIGN_OR_RUN.findall(run))
    )
    return tuple(dict.fromkeys(word[:WORD_LENGTH_MAX] for word in words))[:WORDS_MAX]


def check_tag(fields: Fields, field: str, value: str) -> str:
    """A tag as it is stored and looked up; a leading # is taken off."""
    tag = _lowered(normal_text(value).removeprefix("#"))
    if not _TAG.fullmatch(tag):
        fields.refuse(field, f"must be 1-{TAG_LENGTH_MAX} letters, digits or _")
    return tag


def check_tags(fields: Fields, values: Sequence[str]) -> tuple[str, ...]:
    """As `check_tag`, each once."""
    return tuple(
        dict.fromkeys(
            check_tag(fields, f"metadata.tags[{index}]", value)
            for index, value in enumerate(values)
        )
    )


def _lowered(tag: str) -> str:
    return unicodedata.normalize("NFC", tag.lower())
