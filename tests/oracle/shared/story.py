"""What happened in a run, with short names for people and posts: for those who look for the cause.

Hypothesis prints the steps of an example that fails again and again. What depends on who was faster
may fail but once: then this is all that is left of it.
"""

from itertools import count
from time import monotonic


class Story:
    """Lines in order, and the name of each id."""

    def __init__(self) -> None:
        self._begun_s = monotonic()
        self._lines: list[str] = []
        self._names: dict[str, str] = {}
        self._people = count(1)
        self._posts = count(1)

    def name_person(self, user_id: str) -> None:
        self._names[user_id] = f"person{next(self._people)}"

    def name_post(self, post_id: str) -> None:
        self._names[post_id] = f"post{next(self._posts)}"

    def tell(self, line: object) -> None:
        self._lines.append(f"{(monotonic() - self._begun_s) * 1000:7.0f} ms {line}")

    def told(self, end: object) -> str:
        """The whole of it."""
        text = "\n".join([*self._lines, str(end)])
        for made_id, name in self._names.items():
            text = text.replace(made_id, name)
        return text
