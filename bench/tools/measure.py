"""What a measure is given, and what it gives back."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.dataset import World
from devstack.rig import Rig
from svckit.postgres.client import Session


@dataclass(frozen=True, slots=True)
class Site:
    """A database full of people, and how long to measure: `rounds` of `seconds` each.

    `folder` is for the stores of one measure, and `posts` how many it loads if it needs some.
    """

    folder: Path
    rig: Rig
    world: World
    session: Session
    rounds: int
    seconds: float
    posts: int


@dataclass(frozen=True, slots=True)
class Measure:
    """One value a round. The median must not miss the bar; without a bar it informs."""

    name: str
    unit: str
    values: Sequence[float]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def bar(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    @property
    def passed(self) -> bool | None:
        """None = nothing to pass."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return None if self.at_most is None else self.median <= self.at_most

    def record(self) -> dict[str, str | float]:
        """What is kept of it; figures as precise as they mean anything."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": _rounded(self.median),
            "lowest": _rounded(min(self.values)),
            "highest": _rounded(max(self.values)),
            "bar": self.bar,
        }


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
