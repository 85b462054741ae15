import pytest

from svckit.errors import InvalidArgument
from svckit.validation import Fields


def refused(value: str, *, longest: int = 10, multiline: bool = False) -> str:
    fields = Fields()
    fields.text("bio", value, shortest=1, longest=longest, multiline=multiline)
    with pytest.raises(InvalidArgument) as caught:
        fields.check()
    (violation,) = caught.value.violations
    assert violation.field == "bio"
    return violation.description


def accepted(value: str, *, longest: int = 20, multiline: bool = False) -> str:
    fields = Fields()
    result = fields.text("bio", value, longest=longest, multiline=multiline)
    fields.check()
    return result


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("", "must not be empty"),
        (" \t\u00a0\u3000", "must not be empty"),
        ("x" * 11, "must be at most 10 characters"),
        ("x" * 1_000_000, "must be at most 10 characters"),
        ("a\0b", "U+0000"),
        ("a\x1bb", "U+001B"),
        ("a\nb", "U+000A"),
        ("a\u202eb", "U+202E"),
        ("a\u2066b", "U+2066"),
        ("a\u200bb", "U+200B"),
        ("a\u2028b", "U+2028"),
        ("a\ufeffb", "U+FEFF"),
        ("a\U000e0041b", "U+E0041"),
    ],
)
def test_what_is_empty_too_long_or_hidden_is_refused(value: str, told: str) -> None:
    assert told in refused(value)


def test_line_breaks_are_kept_only_where_they_are_meant() -> None:
    assert accepted("a\r\nb\n", multiline=True) == "a\nb"
    assert "U+000D" in refused("a\rb", multiline=True)


@pytest.mark.parametrize("value", ["née", "日本語", "👩\u200d👩\u200d👧", "❤\ufe0f", "עברית"])
def test_what_people_really_write_is_taken(value: str) -> None:
    assert accepted(value) == value


def test_text_is_normalized_before_it_is_measured() -> None:
    assert accepted("e\u0301" * 10, longest=10) == "é" * 10


def test_all_wrong_fields_are_told_together() -> None:
    fields = Fields()
    fields.text("bio", "\0", longest=5)
    fields.id("user_id", "42")
    fields.refuse("role", "must be a role")
    with pytest.raises(InvalidArgument) as caught:
        fields.check()
    assert [each.field for each in caught.value.violations] == ["bio", "user_id", "role"]
