"""How many requests are served at once for each service; the rest is refused.

Nobody queues: those that are let in wait for each other in the event loop already. Each service has
room of its own, so that one that hangs takes its own calls with it and not all others'. Refusing is
made cheap: under overload the time goes into requests that get an answer.
"""

import logging
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from gateway.metrics import IN_PROGRESS, OVERLOADED
from svckit.errors import ResourceExhausted

RETRY_AFTER_S = 1.0
TELL_EVERY_S = 1.0

logger = logging.getLogger(__name__)


def overloaded(what: str) -> ResourceExhausted:
    """What is raised for want of room."""
    OVERLOADED.labels(what).inc()
    return ResourceExhausted(retry_after_s=RETRY_AFTER_S)


class Admission:
    """Room for `at_once_max` requests to each service."""

    def __init__(self, at_once_max: int) -> None:
        self._at_once_max = at_once_max
        self._in_progress: Counter[str] = Counter()
        self._refused = 0
        self._told_at_s = 0.0

    @contextmanager
    def place(self, service: str) -> Generator[None]:
        if not self.has_room(service):
            raise overloaded(service)
        self._in_progress[service] += 1
        IN_PROGRESS.labels(service).inc()
        try:
            yield
        finally:
            IN_PROGRESS.labels(service).dec()
            self._in_progress[service] -= 1

    def has_room(self, service: str, for_more: int = 1) -> bool:
        return self._in_progress[service] + for_more <= self._at_once_max

    def refuse(self, service: str) -> None:
        """Counts a request that was refused without looking at it; tells of many in a line."""
        OVERLOADED.labels(service).inc()
        self._refused += 1
        now_s = time.monotonic()
        if now_s >= self._told_at_s + TELL_EVERY_S:
            logger.warning("overloaded", extra={"to": service, "refused": self._refused})
            self._refused, self._told_at_s = 0, now_s


class Budget:
    """An amount of which each takes a part while it needs it, such as bytes of bodies."""

    def __init__(self, amount: int, what: str) -> None:
        self._left = amount
        self._what = what

    def take(self, amount: int) -> None:
        if amount > self._left:
            raise overloaded(self._what)
        self._left -= amount

    def give_back(self, amount: int) -> None:
        self._left += amount
