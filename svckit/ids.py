"""Ids: UUIDv7 (RFC 9562) when we make them, any UUID when a client brings one.

In: a clock, or text and packed bytes from outside. Out: `UUID`s, which sort by the time they were
made.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterable
from uuid import UUID

from svckit.errors import InvalidArgument

Clock = Callable[[], float]
"""Seconds: `time.time` where the date matters, `time.monotonic` where only differences do."""

ID_BYTES = 16
CANONICAL_ID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
NIL_ID = UUID(int=0)
MAX_ID = UUID(int=(1 << 128) - 1)

_RANDOM_BITS = 74
_STEP_BACK_MS_MAX = 10_000


# The last id as one number, time above randomness: to go on is to add.
_last = 0


def new_id(clock: Clock = time.time) -> UUID:
    """Make a UUIDv7 above every other one of this process, even within one millisecond.

    A clock that steps back by less than 10 s does not break the order; after a larger step the ids
    follow the clock again, so that a wrong future does not stick to them.
    """
    global _last  # noqa: PLW0603 ids rise in the whole process
    now_ms = int(clock() * 1000)
    last_ms = _last >> _RANDOM_BITS
    if last_ms - _STEP_BACK_MS_MAX < now_ms <= last_ms:
        _last += 1 + secrets.randbits(32)
    else:
        # The highest random bit stays 0, so that a millisecond has room for 2**41 steps.
        _last = now_ms << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS - 1)
    above_variant, rand_b = divmod(_last, 1 << 62)
    unix_ms, rand_a = divmod(above_variant, 1 << 12)
    return UUID(int=unix_ms << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)


def parse_id(text: str, field: str) -> UUID:
    """Read the canonical form of 36 characters, in either case, and nothing else."""
    if not CANONICAL_ID.fullmatch(text):
        raise InvalidArgument.of(
            field, "must be a UUID such as 01934f5e-7c1a-7d3b-9a52-0c6f4be1d2a7"
        )
    return UUID(text)


def pack_ids(ids: Iterable[UUID]) -> bytes:
    return b"".join(one.bytes for one in ids)


def unpack_ids(data: bytes, field: str) -> list[UUID]:
    if len(data) % ID_BYTES:
        raise InvalidArgument.of(field, f"must be whole ids of {ID_BYTES} bytes each")
    return [UUID(bytes=data[at : at + ID_BYTES]) for at in range(0, len(data), ID_BYTES)]
