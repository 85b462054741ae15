"""What is kept in memory by key, and knows how much it is: those put in longest ago go first."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """Its owner says what the bounds are, by `trim`; `size_of` a value must not change."""

    def __init__(self, size_of: Callable[[V], int]) -> None:
        self._size_of = size_of
        self._values: OrderedDict[K, V] = OrderedDict()
        self._size = 0
        self.get = self._values.get

    def put(self, key: K, value: V) -> None:
        """It is the newest now, also if it was there before."""
        self.drop(key)
        self._values[key] = value
        self._size += self._size_of(value)

    def drop(self, key: K) -> None:
        if key in self._values:
            self._size -= self._size_of(self._values.pop(key))

    def trim(self, entries_max: int, size_max: int) -> None:
        while len(self._values) > entries_max or self._size > size_max:
            self.drop(next(iter(self._values)))

    def __len__(self) -> int:
        return len(self._values)
