"""The seeded mistakes fit the program as it is now: each finds the text that it changes."""

import pytest

from tests.oracle.feeds import mistakes as of_feeds
from tests.oracle.posts import mistakes as of_posts
from tests.oracle.shared.mistakes import ROOT, Edit, chosen, parser_of

EDITS = [
    pytest.param(edit, id=f"{mistake.name} ({number})")
    for mistake in (*of_feeds.MISTAKES, *of_posts.MISTAKES)
    for number, edit in enumerate(mistake.edits)
]


@pytest.mark.parametrize("edit", EDITS)
def test_a_mistake_finds_what_it_changes(edit: Edit) -> None:
    assert edit.right in (ROOT / edit.file).read_text("utf-8")
    assert edit.right != edit.wrong


def test_all_parts_together_are_the_whole_list() -> None:
    parser = parser_of("mistakes", seconds=1)
    parts = [
        chosen(of_posts.MISTAKES, parser.parse_args(["--part", f"{number}/3"]))
        for number in (1, 2, 3)
    ]
    assert sorted(each.name for part in parts for each in part) == sorted(
        each.name for each in of_posts.MISTAKES
    )
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_a_part_that_is_none_is_refused(part: str) -> None:
    with pytest.raises(SystemExit):
        parser_of("mistakes", seconds=1).parse_args(["--part", part])
