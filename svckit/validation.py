"""Checks of a request by what its bounds can't say. All wrong fields are reported together.

    fields = Fields()
    if request.content == other.content:
        fields.refuse("content", "must be another one")
    fields.check()

What can hide or disguise text (control characters, bidirectional overrides, invisible characters)
is refused, not removed: nothing is ever stored that the caller did not write.
"""

import unicodedata

from svckit.errors import FieldViolation, InvalidArgument

VIOLATIONS_MAX = 16  # errors travel in headers, of which clients take 8 KiB

_LINE_BREAKS = frozenset("\n\t")
# Joiners and variation selectors are parts of emoji and of several scripts.
_INVISIBLE_BUT_MEANT = frozenset("\u200c\u200d\ufe0e\ufe0f")
_HIDING_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Fields:
    """Collects violations; `check` raises one InvalidArgument with all, or the first of many."""

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []

    def refuse(self, field: str, description: str) -> None:
        self._violations.append(FieldViolation(field, description))

    def check(self) -> None:
        if self._violations:
            raise InvalidArgument(self._violations[:VIOLATIONS_MAX])


def normal_text(value: str, *, multiline: bool = False) -> str:
    """The text in normal form C, without white space around it: so it is measured and stored."""
    return unicodedata.normalize("NFC", value.replace("\r\n", "\n") if multiline else value).strip()


def first_hidden(value: str, *, multiline: bool) -> str:
    """The first character that hides or disguises text; empty = none."""
    meant = _INVISIBLE_BUT_MEANT | _LINE_BREAKS if multiline else _INVISIBLE_BUT_MEANT
    for character in value:
        if unicodedata.category(character) in _HIDING_CATEGORIES and character not in meant:
            return character
    return ""
