"""How many requests are served at once for each service; the rest is refused.

There is no queue: requests that are let in wait for each other in the event loop already. Each
service has slots of its own: one that hangs takes its own calls with it and not those of others.
Refusing is made cheap: under overload the time goes into requests that get an answer.
"""

import logging
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from gateway.metrics import IN_PROGRESS, OVERLOADED
from gateway.model import AdmissionBounds
from svckit.errors import ResourceExhausted

logger = logging.getLogger(__name__)


def overloaded(what: str, bounds: AdmissionBounds) -> ResourceExhausted:
    """The error to raise for want of room."""
    OVERLOADED.labels(what).inc()
    return ResourceExhausted(retry_after_s=bounds.retry_after_s)


class Admission:
    """`at_once_max` slots for requests to each service."""

    def __init__(self, at_once_max: int, bounds: AdmissionBounds) -> None:
        self._at_once_max = at_once_max
        self._bounds = bounds
        self._in_progress: Counter[str] = Counter()
        self._refused = 0
        self._told_at_s = 0.0

    @contextmanager
    def slot(self, service: str) -> Generator[None]:
        if not self.has_room(service):
            raise overloaded(service, self._bounds)
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
        """Counts a request that was refused without looking at it; logs many in one line."""
        OVERLOADED.labels(service).inc()
        self._refused += 1
        now_s = time.monotonic()
        if now_s >= self._told_at_s + self._bounds.tell_every_s:
            logger.warning("overloaded", extra={"to": service, "refused": self._refused})
            self._refused, self._told_at_s = 0, now_s


class Budget:
    """An amount of which each request takes a part for a while, such as bytes of bodies."""

    def __init__(self, amount: int, what: str, bounds: AdmissionBounds) -> None:
        self._left = amount
        self._what = what
        self._bounds = bounds

    def take(self, amount: int) -> None:
        if amount > self._left:
            raise overloaded(self._what, self._bounds)
        self._left -= amount

    def give_back(self, amount: int) -> None:
        self._left += amount
