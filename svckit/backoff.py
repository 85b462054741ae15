"""Pauses between tries: each about twice as long as the one before, up to a longest.

They are spread out by chance, so that many that failed at once do not come back at once.
"""

import random
from collections.abc import Iterator


def backoff_s(min_s: float, max_s: float) -> Iterator[float]:
    """Without end; a new iterator begins with the short ones again."""
    longest_s = min_s
    while True:
        yield longest_s * random.uniform(0.5, 1)  # noqa: S311
        longest_s = min(longest_s * 2, max_s)
