"""Small things of answers: who may keep them, how they are packed, whose pages may read them."""

import asyncio
import gzip

import pytest

from gateway.cors import Cors
from gateway.exchange import Answer, Refused, Request
from gateway.problems import to_answer, to_wire
from gateway.representation import compressed, kept_by_caches, takes_gzip
from svckit.errors import InvalidArgument, ResourceExhausted, Unavailable


async def nothing() -> bytes:
    return b""


def never() -> asyncio.Future[None]:
    raise AssertionError


def request(**headers: bytes) -> Request:
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return Request("GET", b"/", b"", named, "192.0.2.1", "r-1", None, None, 0, nothing, never)


def header(answer: Answer, name: bytes) -> bytes | None:
    return dict(answer.headers).get(name)


@pytest.mark.parametrize(
    ("accepts", "takes"),
    [
        (b"gzip", True),
        (b"GZIP", True),
        (b"br, gzip", True),
        (b"gzip;q=0.5", True),
        (b"gzip ; q=1.000", True),
        (b"*", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000", False),
        (b"identity", False),
        (b"x-gzip-not", False),
        (b"", False),
    ],
)
def test_who_takes_gzip(accepts: bytes, takes: bool) -> None:  # noqa: FBT001
    assert takes_gzip(request(accept_encoding=accepts)) is takes


def test_small_answers_are_sent_as_they_are() -> None:
    small = compressed(request(accept_encoding=b"gzip"), Answer(200, b"x" * 1023))
    large = compressed(request(accept_encoding=b"gzip"), Answer(200, b"x" * 1024))
    assert (small.body, header(small, b"vary")) == (b"x" * 1023, b"accept-encoding")
    assert gzip.decompress(large.body) == b"x" * 1024
    assert len(large.body) < 100


def test_a_tag_is_of_the_content() -> None:
    first, same, other = (
        header(kept_by_caches(request(), Answer(200, body), 10), b"etag")
        for body in (b"a", b"a", b"b")
    )
    assert first == same != other
    assert first is not None
    for known in (first, b'"x", ' + first, b"*"):
        assert kept_by_caches(request(if_none_match=known), Answer(200, b"a"), 10).status == 304
    for known in (b'"x"', first[:-2], b""):
        assert kept_by_caches(request(if_none_match=known), Answer(200, b"a"), 10).status == 200


def test_any_page_may_call_where_all_may() -> None:
    headers = dict(Cors(frozenset({"*"})).headers(request(origin=b"https://x.example")))
    assert headers[b"access-control-allow-origin"] == b"*"
    assert b"vary" not in headers
    assert Cors(frozenset()).headers(request(origin=b"https://x.example")) == []


def test_known_pages_are_told_apart_in_caches_too() -> None:
    cors = Cors(frozenset({"https://app.example"}))
    known = dict(cors.headers(request(origin=b"https://app.example")))
    unknown = dict(cors.headers(request(origin=b"https://app.example.evil.example")))
    assert known[b"access-control-allow-origin"] == b"https://app.example"
    assert unknown == {b"vary": b"origin"}


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (Refused(404, "path", "nothing"), 404, "NOT_FOUND", None),
        (Refused(405, "method", "no"), 405, "UNIMPLEMENTED", None),
        (Refused(408, "body", "late"), 408, "DEADLINE_EXCEEDED", None),
        (Refused(413, "Content-Length", "long"), 413, "INVALID_ARGUMENT", None),
        (InvalidArgument.of("a.b", "is wrong"), 400, "INVALID_ARGUMENT", None),
        (ResourceExhausted(retry_after_s=0.01), 503, "RESOURCE_EXHAUSTED", b"1"),
        (Unavailable(retry_after_s=1.2), 503, "UNAVAILABLE", b"2"),
        (ValueError("secret"), 500, "INTERNAL", None),
    ],
)
def test_every_error_has_an_answer(
    error: Exception, status: int, code: str, retry_after: bytes | None
) -> None:
    answer = to_answer(error)
    assert answer.status == status
    assert f'"code":{status},"status":"{code}"'.encode() in answer.body
    assert header(answer, b"retry-after") == retry_after
    assert b"secret" not in answer.body
    assert b"google.rpc.ErrorInfo" in answer.body
    assert (b"google.rpc.BadRequest" in answer.body) is (code == "INVALID_ARGUMENT")


def test_an_answer_on_the_wire_is_whole() -> None:
    wire = to_wire(to_answer(Refused(431, "headers", "too large")), b"r-1")
    head, body = wire.split(b"\r\n\r\n", 1)
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 431 Request Header Fields Too Large"
    assert b"x-request-id: r-1" in lines
    assert b"content-length: %d" % len(body) in lines
