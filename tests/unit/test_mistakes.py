"""The seeded mistakes fit the program as it is now: each finds the text that it changes."""

import pytest

from tests.oracle.feeds import mistakes as of_feeds
from tests.oracle.feeds.mistakes import ROOT, Edit
from tests.oracle.posts import mistakes as of_posts

EDITS = [
    pytest.param(edit, id=f"{mistake.name} ({number})")
    for mistake in (*of_feeds.MISTAKES, *of_posts.MISTAKES)
    for number, edit in enumerate(mistake.edits)
]


@pytest.mark.parametrize("edit", EDITS)
def test_a_mistake_finds_what_it_changes(edit: Edit) -> None:
    assert edit.right in (ROOT / edit.file).read_text("utf-8")
    assert edit.right != edit.wrong
