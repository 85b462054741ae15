"""Checks of request fields that any service needs. All wrong fields are reported together.

    fields = Fields()
    bio = fields.text("bio", request.bio, longest=500, multiline=True)
    fields.check()

Text comes out in normal form C and without white space around it. What can hide or disguise text
(control characters, bidirectional overrides, invisible characters) is refused, not removed: nothing
is ever stored that the caller did not write.
"""

import unicodedata
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from svckit.errors import FieldViolation, InvalidArgument
from svckit.ids import NIL_ID, parse_id

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

    def text(
        self, field: str, value: str, *, shortest: int = 0, longest: int, multiline: bool = False
    ) -> str:
        """Normal text of `shortest` to `longest` characters; line breaks only where meant."""
        if len(value) > 4 * longest + 64:  # no work on what can't be right
            self.refuse(field, f"must be at most {longest} characters")
            return ""
        value = unicodedata.normalize("NFC", value.replace("\r\n", "\n") if multiline else value)
        value = value.strip()
        if len(value) < shortest:
            described = (
                "must not be empty" if shortest == 1 else f"must be at least {shortest} characters"
            )
            self.refuse(field, described)
        elif len(value) > longest:
            self.refuse(field, f"must be at most {longest} characters")
        elif (hidden := _first_hidden(value, multiline=multiline)) is not None:
            self.refuse(field, f"must not contain the character U+{ord(hidden):04X}")
        return value

    def id(self, field: str, value: str) -> UUID:
        try:
            return parse_id(value, field)
        except InvalidArgument as error:
            self._violations += error.violations
            return NIL_ID

    def moment(self, field: str, value: Timestamp) -> datetime:
        try:
            return value.ToDatetime(UTC)
        except ValueError:
            self.refuse(field, "must be a time in the years 1 to 9999")
            return datetime.min.replace(tzinfo=UTC)


def _first_hidden(value: str, *, multiline: bool) -> str | None:
    for character in value:
        if unicodedata.category(character) not in _HIDING_CATEGORIES:
            continue
        if character in _INVISIBLE_BUT_MEANT or (multiline and character in _LINE_BREAKS):
            continue
        return character
    return None
