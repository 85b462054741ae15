"""Rate limits, what they leave to a subject, and the bounds that are no settings.

`app` hands each part its own bounds.
"""

from dataclasses import dataclass


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
class Allowance:
    """The rest that a limit leaves to a subject, after this request if that was taken."""

    limit: Limit
    recovery_s: float  # until nothing is taken any more
    retry_after_s: float = 0.0  # 0 = the request is within the limit

    @property
    def remaining(self) -> int:
        room_s = self.limit.period_s - self.recovery_s
        return max(0, int(room_s / self.limit.interval_s + 1e-6))


@dataclass(frozen=True, slots=True)
class CountingBounds:
    """Of counting requests under rate limits."""

    store_timeout_s: float = 0.05  # that a request waits for the store of counts
    ask_every_s: float = 0.5  # a silent store, whether it is back
    batch_max: int = 100  # requests that are counted in one round trip
    local_entries_max: int = 100_000


@dataclass(frozen=True, slots=True)
class AdmissionBounds:
    """Of refusing requests for want of room."""

    retry_after_s: float = 1.0
    tell_every_s: float = 1.0  # in the log
    bodies_bytes_max: int = 64 * 1024 * 1024  # of bodies that are under way, over all requests


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """Of what one connection may send."""

    head_bytes_max: int = 32 * 1024
    headers_max: int = 100
    body_bytes_max: int = 256 * 1024
    pipelined_max: int = 8
    backlog: int = 2048  # connections that wait to be accepted
    last_request_wait_s: float = 0.2  # when the server stops


@dataclass(frozen=True, slots=True)
class JsonBounds:
    """Of what a request is read into: work has a bound, whatever the size of a body allows."""

    items_max: int = 1000  # of one list
    violations_max: int = 20  # that an answer names


@dataclass(frozen=True, slots=True)
class StreamBounds:
    """Of one live stream."""

    first_wait_s: float = 0.25  # an error that comes within it is an answer of its own
    heartbeat_s: float = 15.0
    retry_ms: int = 2_000  # after which a reader comes back, half as much more or less


@dataclass(frozen=True, slots=True)
class Bounds:
    """All of them."""

    counting: CountingBounds = CountingBounds()
    admission: AdmissionBounds = AdmissionBounds()
    connection: ConnectionBounds = ConnectionBounds()
    json: JsonBounds = JsonBounds()
    stream: StreamBounds = StreamBounds()
    check_every_s: float = 1.0  # each service, whether it serves
