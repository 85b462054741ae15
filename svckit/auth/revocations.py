"""Sessions that ended before their access tokens did.

One task polls the list of user_svc each second; every verified token is then checked in memory. An
entry is kept until no token of its session can be alive any more.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prometheus_client import Gauge

from svckit.ids import Clock

POLL_INTERVAL_S = 1.0
POLL_INTERVAL_FAILING_S_MAX = 5.0
FETCH_TIMEOUT_S = 2.0
# A revocation may be committed some seconds after the time that it carries.
OVERLAP = timedelta(seconds=10)
# An access token lives for 15 minutes; the rest is for clocks that disagree.
KEPT_S = 17 * 60.0
ENTRIES_MAX = 1_000_000

AGE_SECONDS = Gauge(
    "newsfeed_revocations_age_seconds", "Age of what is known of sessions that have ended"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Revocation:
    session_id: UUID
    revoke_time: datetime


Fetch = Callable[[datetime | None], Awaitable[Sequence[Revocation]]]
"""Returns all revocations since that time; with None, all that may still matter."""


class Revocations:
    """The revoked sessions of the last minutes.

    Bounded: beyond `entries_max` the oldest entries, whose tokens expire first, are dropped and
    that is logged; a million takes about 200 MB and a thousand revocations a second for 17 minutes.
    When the list cannot be fetched the known entries stay in force and `age_s` grows.
    """

    def __init__(
        self, fetch: Fetch, clock: Clock = time.time, *, entries_max: int = ENTRIES_MAX
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._entries_max = entries_max
        # Session id as a number → when it may be forgotten; the oldest first.
        self._forget_at_s: dict[int, float] = {}
        self._newest: datetime | None = None
        self._fetched_at_s: float | None = None
        self._overflowing = False

    @property
    def age_s(self) -> float:
        """How old the knowledge is; infinite before the first successful fetch."""
        return float("inf") if self._fetched_at_s is None else self._clock() - self._fetched_at_s

    def __len__(self) -> int:
        return len(self._forget_at_s)

    def is_revoked(self, session_id: UUID) -> bool:
        return session_id.int in self._forget_at_s

    def add(self, session_id: UUID) -> None:
        """Revoke in this process at once; the others learn it from the list."""
        self._remember(session_id, self._clock())
        self._forget_old()

    async def run(self) -> None:
        """Poll for ever; while it fails more slowly. The first failure and the end are logged."""
        pause_s = POLL_INTERVAL_S
        while True:
            try:
                await self.poll()
            except Exception as error:  # noqa: BLE001 whatever it is, the next poll may succeed
                if pause_s == POLL_INTERVAL_S:
                    logger.warning("revocations_fetch_failed", extra={"error": repr(error)})
                pause_s = min(pause_s * 2, POLL_INTERVAL_FAILING_S_MAX)
            else:
                if pause_s != POLL_INTERVAL_S:
                    logger.info("revocations_fetch_recovered")
                pause_s = POLL_INTERVAL_S
            AGE_SECONDS.set(self.age_s)
            await asyncio.sleep(pause_s)

    async def poll(self) -> None:
        """Fetch once what is new, and forget what is old."""
        started_at_s = self._clock()
        now = datetime.fromtimestamp(started_at_s, UTC)
        # One time from a wrong future must not hide what is revoked in the present.
        since = min(self._newest, now) - OVERLAP if self._newest else None
        async with asyncio.timeout(FETCH_TIMEOUT_S):
            revocations = await self._fetch(since)
        for revocation in revocations:
            self._remember(revocation.session_id, revocation.revoke_time.timestamp())
            if self._newest is None or revocation.revoke_time > self._newest:
                self._newest = revocation.revoke_time
        self._forget_old()
        self._fetched_at_s = started_at_s

    def _remember(self, session_id: UUID, revoked_at_s: float) -> None:
        forget_at_s = revoked_at_s + KEPT_S
        if self._forget_at_s.get(session_id.int, 0.0) < forget_at_s:
            self._forget_at_s.pop(session_id.int, None)
            self._forget_at_s[session_id.int] = forget_at_s

    def _forget_old(self) -> None:
        now_s = self._clock()
        while self._forget_at_s:
            session, forget_at_s = next(iter(self._forget_at_s.items()))
            if forget_at_s > now_s:
                if len(self._forget_at_s) <= self._entries_max:
                    break
                if not self._overflowing:
                    logger.error("revocations_overflow", extra={"entries_max": self._entries_max})
                self._overflowing = True
            del self._forget_at_s[session]
        if len(self._forget_at_s) < self._entries_max:
            self._overflowing = False
