"""What the gateway takes from the head of a request, and what it believes."""

import asyncio
import ipaddress

import pytest

from gateway.exchange import Headers, Refused, Request
from gateway.head import Proxies, read_head, subject_of
from gateway.model import ConnectionBounds

MADE = "0123"
BODY_BYTES_MAX = ConnectionBounds().body_bytes_max
HOST = (b"host", b"gateway")
TRACE = b"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


async def nothing() -> bytes:
    return b""


def never() -> asyncio.Future[None]:
    raise AssertionError


def read(*headers: tuple[bytes, bytes], http_version: str = "1.1") -> Request:
    return read_all([HOST, *headers], http_version)


def read_all(taken: Headers, http_version: str) -> Request:
    return read_head(
        "GET",
        b"/",
        b"",
        taken,
        http_version,
        "192.0.2.1",
        nothing,
        never,
        MADE,
        BODY_BYTES_MAX,
    )


def test_only_headers_with_a_meaning_are_taken() -> None:
    identity = [
        (b"x-user-id", b"1"),
        (b"grpc-metadata-authorization", b"Bearer x"),
        (b"grpc-timeout", b"1S"),
        (b"x-http-method-override", b"DELETE"),
        (b"x-role", b"admin"),
    ]
    request = read(*identity)
    assert request.headers == {b"host": b"gateway"}
    assert request.token is None
    assert request.method == "GET"


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer abc", "abc"),
        (b"bearer abc", "abc"),
        (b"BEARER  abc ", "abc"),
        (b"Basic abc", ""),
        (b"Bearer", ""),
        (b"", ""),
        (b"Bearer \xff", "\xff"),
    ],
)
def test_another_scheme_is_no_token_of_ours(value: bytes, token: str) -> None:
    assert read((b"authorization", value)).token == token


@pytest.mark.parametrize("name", [b"authorization", b"content-length", b"host", b"last-event-id"])
def test_what_may_stand_once_stands_once(name: bytes) -> None:
    with pytest.raises(Refused) as refused:
        read((name, b"1"), (name, b"1"))
    assert refused.value.status == 400
    assert refused.value.field.encode().lower() == name


@pytest.mark.parametrize("request_id", [b"r-1", b"a" * 64, b"A.b_c:d-9"])
def test_a_sane_request_id_is_taken(request_id: bytes) -> None:
    assert read((b"x-request-id", request_id)).request_id == request_id.decode()


@pytest.mark.parametrize("request_id", [b"", b"a" * 65, b"a b", b'a"b', b"a\nb", b"\xff", b"r-1\n"])
def test_another_one_is_made(request_id: bytes) -> None:
    made = read((b"x-request-id", request_id)).request_id
    assert made == MADE


def test_a_trace_is_honoured_if_it_is_one() -> None:
    assert read((b"traceparent", TRACE)).traceparent == TRACE.decode()
    assert read((b"traceparent", TRACE[:-1] + b"\xff")).traceparent is None
    assert read().traceparent is None


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ((b"transfer-encoding", b"chunked"), 411),
        ((b"content-encoding", b"gzip"), 415),
        ((b"content-length", b"%d" % (BODY_BYTES_MAX + 1)), 413),
        ((b"content-length", b"+1"), 400),
        ((b"content-length", b"\xb2"), 400),
        ((b"content-length", b"1" * 16), 400),
    ],
)
def test_a_body_comes_plain_and_with_its_length(header: tuple[bytes, bytes], status: int) -> None:
    with pytest.raises(Refused) as refused:
        read(header)
    assert refused.value.status == status


def test_a_body_may_be_as_large_as_it_may_be() -> None:
    assert read((b"content-length", b"%d" % BODY_BYTES_MAX)).content_length == BODY_BYTES_MAX


def test_http_1_0_needs_no_host() -> None:
    read_all([], "1.0")
    with pytest.raises(Refused):
        read_all([], "1.1")


PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("fd00::1", ["2001:db8::7, 10.0.0.2"], "2001:db8::7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ],
)
def test_the_client_is_the_last_one_whom_a_trusted_proxy_named(
    peer: str, told: list[str], client: str
) -> None:
    headers = [(b"x-forwarded-for", each.encode()) for each in told]
    assert Proxies(PROXIES).client_of(peer, headers) == client
    assert Proxies([]).client_of(peer, headers) == peer


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_ipv6_counts_by_the_network_of_one_customer(address: str, subject: str) -> None:
    assert subject_of(address) == subject
