"""The head of a request, checked: what is taken from it, and the address that it comes from.

Only the headers that are named here have a meaning. Whatever else a client sends, identity above
all (`x-user-id`, `grpc-metadata-*`, method overrides), has none and goes nowhere.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from gateway.exchange import CLOSE, Gone, Headers, ReadBody, Refused, Request
from svckit.telemetry import sane_traceparent

_ONCE = frozenset(
    {
        b"access-control-request-method",
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"if-none-match",
        b"last-event-id",
        b"origin",
        b"traceparent",
        b"x-request-id",
    }
)
_TAKEN = _ONCE | {b"accept-encoding", b"transfer-encoding", b"x-forwarded-for"}
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_BEARER = b"bearer "

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_head(
    method: str,
    path: bytes,
    query: bytes,
    headers: Headers,
    http_version: str,
    address: str,
    read_body: ReadBody,
    gone: Gone,
    made_id: str,
    body_bytes_max: int,
) -> Request:
    """`made_id` becomes the id of a request that brings no sane one."""
    taken = _take(headers)
    if http_version != "1.0" and b"host" not in taken:
        raise Refused(400, "Host", "the header Host is missing")
    if b"transfer-encoding" in taken:
        message = "the body must come with its length, not in chunks"
        raise Refused(411, "Content-Length", message, [CLOSE])
    if taken.get(b"content-encoding", b"identity") != b"identity":
        raise Refused(415, "Content-Encoding", "a body must not be compressed")
    length = _content_length(taken.get(b"content-length", b"0"), body_bytes_max)
    request_id = taken.get(b"x-request-id", b"")
    traceparent = taken.get(b"traceparent", b"").decode("latin-1")
    return Request(
        method=method,
        path=path,
        query=query,
        headers=taken,
        address=address,
        request_id=request_id.decode() if _REQUEST_ID.fullmatch(request_id) else made_id,
        traceparent=sane_traceparent(traceparent),
        token=_token(taken.get(b"authorization")),
        content_length=length,
        read_body=read_body,
        gone=gone,
    )


def _take(headers: Headers) -> dict[bytes, bytes]:
    taken: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in _TAKEN:
            continue
        if name not in taken:
            taken[name] = value
        elif name in _ONCE:
            shown = name.decode().title()
            raise Refused(400, shown, f"the header {shown} must not stand twice")
        else:
            taken[name] += b"," + value
    return taken


def _content_length(value: bytes, bytes_max: int) -> int:
    if not value.isdigit() or len(value) > 15:
        raise Refused(400, "Content-Length", "must be a number")
    if (length := int(value)) > bytes_max:
        message = f"a body must be at most {bytes_max} bytes long"
        raise Refused(413, "Content-Length", message, [CLOSE])
    return length


def _token(authorization: bytes | None) -> str | None:
    """The bearer token; None without the header, and "" (no token of ours) for another scheme."""
    if authorization is None:
        return None
    if authorization[: len(_BEARER)].lower() != _BEARER:
        return ""
    return authorization[len(_BEARER) :].decode("latin-1").strip()


class Proxies:
    """Proxies that are believed when they tell for which address they ask."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted
        self._is_trusted = lru_cache(maxsize=10_000)(self._look_up)

    def client_of(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The address nearest to us that is not a trusted proxy's."""
        if not self._trusted or not self._is_trusted(peer):
            return peer
        told = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        for hop in reversed(told.decode("latin-1").split(",")):
            hop_address = hop.strip()
            if not _is_address(hop_address):
                break
            peer = hop_address
            if not self._is_trusted(hop_address):
                break
        return peer

    def _look_up(self, address: str) -> bool:
        if not _is_address(address):
            return False
        return any(ipaddress.ip_address(address) in network for network in self._trusted)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=10_000)
def subject_of(address: str) -> str:
    """The subject that limits count by: an IPv4 address, or the /64 that one customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
