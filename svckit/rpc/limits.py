"""How much calls may carry, how many there may be, and how long they may take."""

from dataclasses import dataclass

from svckit.settings import setting

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
METADATA_BYTES_MAX = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """Of the calls that one server process serves."""

    calls_max: int = setting("CALLS_MAX", "unary calls served at once", 1000, at_least=1)
    streams_max: int = setting("STREAMS_MAX", "streams served at once", 2000, at_least=1)
    call_timeout_s: float = setting("CALL_TIMEOUT_S", "longest unary call", 10.0, at_least=0.1)
    stream_timeout_s: float = setting("STREAM_TIMEOUT_S", "longest stream", 3600.0, at_least=1)


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Of each call that leaves through a channel; the timeouts are for callers that set none."""

    timeout_s: float = 2.0
    stream_timeout_s: float = 60.0
    deadline_margin_s: float = 0.02  # kept of the call being served, for its own answer
    attempts_max: int = 3
    backoff_min_s: float = 0.05
    backoff_max_s: float = 0.2
