"""Values in memory by key, bounded in number and in size: the one put in longest ago goes first."""

import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """Never holds more than `entries_max` values, nor values of more than `size_max` together.

    `size_of` a value must not change while the value is in here.
    """

    def __init__(
        self,
        entries_max: int,
        size_max: int = sys.maxsize,
        size_of: Callable[[V], int] = lambda _: 0,
    ) -> None:
        self._entries_max = entries_max
        self._size_max = size_max
        self._size_of = size_of
        self._values: OrderedDict[K, V] = OrderedDict()
        self._size = 0
        self.get = self._values.get
        self.touch = self._values.move_to_end  # of a key that is here: it is the newest now

    def put(self, key: K, value: V) -> None:
        """The value is the newest now, also if its key was here before."""
        self.drop(key)
        self._values[key] = value
        self._size += self._size_of(value)
        while len(self._values) > self._entries_max or self._size > self._size_max:
            self.drop(next(iter(self._values)))

    def drop(self, key: K) -> None:
        if key in self._values:
            self._size -= self._size_of(self._values.pop(key))

    def __len__(self) -> int:
        return len(self._values)
