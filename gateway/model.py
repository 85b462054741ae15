"""What a rate limit is, and how somebody stands under it."""

from dataclasses import dataclass

STORE_TIMEOUT_S = 0.05  # that a request waits for the store of counts


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` requests in `period_s`. The name is what errors tell."""

    name: str
    count: int
    period_s: float

    @property
    def interval_s(self) -> float:
        return self.period_s / self.count


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a subject under a limit: how long until it has recovered, after this request if taken."""

    limit: Limit
    recovery_s: float
    retry_after_s: float = 0.0  # 0 = the request is within the limit

    @property
    def remaining(self) -> int:
        room_s = self.limit.period_s - self.recovery_s
        return max(0, int(room_s / self.limit.interval_s + 1e-6))
