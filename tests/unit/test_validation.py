import pytest

from svckit.errors import InvalidArgument
from svckit.validation import Fields, first_hidden, normal_text


def test_line_breaks_are_kept_only_where_they_are_meant() -> None:
    assert normal_text("a\r\nb\n", multiline=True) == "a\nb"
    assert first_hidden("a\nb", multiline=True) == ""
    assert first_hidden("a\nb", multiline=False) == "\n"
    assert first_hidden("a\rb", multiline=True) == "\r"


@pytest.mark.parametrize("value", ["née", "日本語", "👩\u200d👩\u200d👧", "❤\ufe0f", "עברית"])
def test_what_people_really_write_is_taken_as_it_is(value: str) -> None:
    assert normal_text(value) == value
    assert first_hidden(value, multiline=False) == ""


def test_text_is_composed_and_has_no_white_space_around_it() -> None:
    assert normal_text(" \t\u00a0\u3000e\u0301 e\u0301\n") == "é é"


def test_all_wrong_fields_are_told_together() -> None:
    fields = Fields()
    fields.check()
    fields.refuse("bio", "must be another one")
    fields.refuse("role", "must be a role")
    with pytest.raises(InvalidArgument) as caught:
        fields.check()
    assert [each.field for each in caught.value.violations] == ["bio", "role"]
