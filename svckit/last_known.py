"""The last answer about each of many keys, for readers whose source does not answer.

An answer serves for a bounded time after it was heard. Beyond that, or when it had to make room,
nothing is known: a reader that can't do without has to refuse.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from svckit.bounded import Bounded
from svckit.ids import Clock

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class LastKnownSettings:
    age_s_max: float = 3600.0
    entries_max: int = 20_000
    size_max: int = 500_000  # of all values together, as their owner measures them


class _Heard(NamedTuple, Generic[V]):
    value: V
    at_s: float


class LastKnown(Generic[K, V]):
    """Bounded in age, in number and in size."""

    def __init__(
        self,
        size_of: Callable[[V], int],
        settings: LastKnownSettings | None = None,
        clock_s: Clock = time.monotonic,
    ) -> None:
        settings = settings or LastKnownSettings()
        self._age_s_max = settings.age_s_max
        self._clock_s = clock_s
        self._heard: Bounded[K, _Heard[V]] = Bounded(
            settings.entries_max, settings.size_max, lambda heard: size_of(heard.value)
        )

    def hear(self, key: K, value: V) -> None:
        self._heard.put(key, _Heard(value, self._clock_s()))

    def get(self, key: K) -> V | None:
        """None = nothing was heard, or too long ago."""
        heard = self._heard.get(key)
        if heard is None or self._clock_s() - heard.at_s >= self._age_s_max:
            return None
        return heard.value

    def forget(self, key: K) -> None:
        self._heard.drop(key)
