"""Sessions that ended before their access tokens did.

One task polls the list of user_svc each second; every verified token is then checked in memory. An
entry is kept until no token of its session can be alive any more.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prometheus_client import Gauge

from svckit.backoff import backoff_s
from svckit.ids import Clock

AGE_SECONDS = Gauge(
    "newsfeed_revocations_age_seconds", "Age of what is known of sessions that have ended"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Revocation:
    session_id: UUID
    revoke_time: datetime


@dataclass(frozen=True, slots=True)
class RevocationSettings:
    """A million entries take about 200 MB: a thousand revocations a second for 17 minutes."""

    poll_every_s: float = 1.0
    backoff_min_s: float = 2.0
    backoff_max_s: float = 5.0
    fetch_timeout_s: float = 2.0
    overlap_s: float = 10.0  # so long after its time a revocation may be committed
    kept_s: float = 17 * 60.0  # a token lives for 15 minutes; the rest is for clocks that disagree
    entries_max: int = 1_000_000


Fetch = Callable[[datetime | None], Awaitable[Sequence[Revocation]]]
"""Returns all revocations since that time; with None, all that may still matter."""


class Revocations:
    """The revoked sessions of the last minutes.

    Bounded: beyond `entries_max` the oldest entries, whose tokens expire first, are dropped and
    that is logged. While the list cannot be fetched the known entries stay in force and `age_s`
    grows.
    """

    def __init__(
        self,
        fetch: Fetch,
        clock: Clock = time.time,
        settings: RevocationSettings | None = None,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._settings = settings or RevocationSettings()
        # Session id as a number → when it may be forgotten; the oldest first.
        self._forget_at_s: dict[int, float] = {}
        self._newest: datetime | None = None
        self._fetched_at_s: float | None = None
        self._overflowing = False

    @property
    def age_s(self) -> float:
        """How old the knowledge is; infinite before the first successful fetch."""
        return float("inf") if self._fetched_at_s is None else self._clock() - self._fetched_at_s

    def is_revoked(self, session_id: UUID) -> bool:
        return session_id.int in self._forget_at_s

    def add(self, session_id: UUID) -> None:
        """Revoke in this process at once; other processes learn it from the list."""
        self._remember(session_id, self._clock())
        self._forget_old()

    async def run(self) -> None:
        """Polls for ever, less often while polls fail. The first failure and the end are logged."""
        settings = self._settings
        pauses_s: Iterator[float] | None = None  # None = the last poll did not fail
        while True:
            try:
                await self.poll()
            except Exception as error:  # noqa: BLE001 whatever it is, the next poll may succeed
                if pauses_s is None:
                    logger.warning("revocations_fetch_failed", extra={"error": repr(error)})
                    pauses_s = backoff_s(settings.backoff_min_s, settings.backoff_max_s)
            else:
                if pauses_s is not None:
                    logger.info("revocations_fetch_recovered")
                pauses_s = None
            AGE_SECONDS.set(self.age_s)
            await asyncio.sleep(next(pauses_s) if pauses_s else settings.poll_every_s)

    async def poll(self) -> None:
        """Fetch once what is new, and forget what is old."""
        started_at_s = self._clock()
        now = datetime.fromtimestamp(started_at_s, UTC)
        # One time from a wrong future must not hide what is revoked in the present.
        overlap = timedelta(seconds=self._settings.overlap_s)
        since = min(self._newest, now) - overlap if self._newest else None
        async with asyncio.timeout(self._settings.fetch_timeout_s):
            revocations = await self._fetch(since)
        for revocation in revocations:
            self._remember(revocation.session_id, revocation.revoke_time.timestamp())
            if self._newest is None or revocation.revoke_time > self._newest:
                self._newest = revocation.revoke_time
        self._forget_old()
        self._fetched_at_s = started_at_s

    def _remember(self, session_id: UUID, revoked_at_s: float) -> None:
        forget_at_s = revoked_at_s + self._settings.kept_s
        if self._forget_at_s.get(session_id.int, 0.0) < forget_at_s:
            self._forget_at_s.pop(session_id.int, None)
            self._forget_at_s[session_id.int] = forget_at_s

    def _forget_old(self) -> None:
        now_s, entries_max = self._clock(), self._settings.entries_max
        while self._forget_at_s:
            session, forget_at_s = next(iter(self._forget_at_s.items()))
            if forget_at_s > now_s:
                if len(self._forget_at_s) <= entries_max:
                    break
                if not self._overflowing:
                    logger.error("revocations_overflow", extra={"entries_max": entries_max})
                self._overflowing = True
            del self._forget_at_s[session]
        if len(self._forget_at_s) < entries_max:
            self._overflowing = False
