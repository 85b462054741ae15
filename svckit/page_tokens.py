"""Page tokens: where a list goes on, signed, so that nobody can make one or use it elsewhere.

The scope (method, viewer, the list's parameters) is under the signature and not in the token: a
token works only for the same viewer asking for the same list. Inside is base64url of a truncated
HMAC-SHA256 and the position as JSON. It is signed, not encrypted: a position holds no secrets.
"""

import base64
import hmac
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar, cast
from uuid import UUID

from svckit.errors import FieldViolation, InvalidArgument

P = TypeVar("P", bound=tuple[int | str | UUID, ...])

PAGE_SIZE_DEFAULT = 20
PAGE_SIZE_MAX = 100
TOKEN_LENGTH_MAX = 512

KEY_BYTES_MIN = 32
_MAC_BYTES = 16
_as_json = json.JSONEncoder(separators=(",", ":"), default=str).encode


class InvalidPageToken(InvalidArgument):
    reason = "INVALID_PAGE_TOKEN"
    message = "The page token is not one that this list gave you."

    def __init__(self) -> None:
        super().__init__(
            [
                FieldViolation(
                    "page_token", "must be the next_page_token of the same list, unchanged"
                )
            ]
        )


class PageTokens:
    """Every process of a service needs the same key, else a token works on one of them only."""

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES_MIN:
            raise ValueError(f"a page token key has at least {KEY_BYTES_MIN} bytes")
        self._key = key

    def encode(self, scope: Sequence[str], position: Sequence[int | str | UUID]) -> str:
        body = _as_json(position).encode()
        token = base64.urlsafe_b64encode(self._mac(scope, body) + body).rstrip(b"=").decode()
        if len(token) > TOKEN_LENGTH_MAX:
            raise ValueError("the position is too long for a page token")
        return token

    def position(self, token: str, scope: Sequence[str], start: P) -> P:
        """Where the page begins: what `encode` was given, or `start` when there is no token.

        The position has the shape of `start`; a list whose position changes shape needs another
        scope.
        """
        if not token:
            return start
        parts = zip(self.decode(token, scope), start, strict=True)
        made = tuple(UUID(str(part)) if isinstance(like, UUID) else part for part, like in parts)
        return cast("P", made)

    def decode(self, token: str, scope: Sequence[str]) -> list[int | str]:
        """Return the position as it was encoded; raise `InvalidPageToken` for anything else.

        Its shape may be relied upon: a scope whose position changes shape needs another name.
        """
        data = _canonical_base64(token)
        mac, body = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(scope, body)):
            raise InvalidPageToken
        position: list[int | str] = json.loads(body)
        return position

    def _mac(self, scope: Sequence[str], body: bytes) -> bytes:
        return hmac.digest(self._key, _head_of(tuple(scope)) + body, "sha256")[:_MAC_BYTES]


def page_size(requested: int) -> int:
    """The size of a page for what was asked for, which the contract's bounds hold above zero."""
    return min(requested or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


@lru_cache(maxsize=10_000)
def _head_of(scope: tuple[str, ...]) -> bytes:
    """JSON has no bare line feed: scope and body cannot flow into each other."""
    return json.dumps(scope).encode() + b"\n"


def _canonical_base64(token: str) -> bytes:
    """Decode what `encode` could have written; other spellings of the same bytes are refused."""
    if len(token) > TOKEN_LENGTH_MAX:
        raise InvalidPageToken
    try:
        data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        raise InvalidPageToken from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != token:
        raise InvalidPageToken
    return data
