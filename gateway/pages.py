"""Pages of the gateway itself: its name, health and figures, and the documents of the API."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import prometheus_client

from gateway.exchange import JSON_TYPE, Answer, Headers, Request
from gateway.readiness import Readiness
from gateway.representation import GZIP_BYTES_MIN, gzipped, takes_gzip

_ASSET_MAX_AGE_S = 300
_ASSET_GZIP_LEVEL = 6
# The documents run scripts and styles of ours, and ask this server; nothing from elsewhere.
_DOCUMENT_POLICY = (
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    b" font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Page:
    """`is_quiet`: asked for by machines every few seconds."""

    answer: Callable[[Request], Answer]
    is_quiet: bool = False


class Pages:
    def __init__(
        self, version: str, readiness: Readiness, documents: Mapping[str, tuple[str, bytes]]
    ) -> None:
        about = {
            "name": "newsfeed",
            "version": version,
            "docs": "/docs",
            "openapi": "/openapi.json",
        }
        self._pages = {
            "/": Page(lambda _: _json(200, about)),
            "/healthz": Page(lambda _: _json(200, {"status": "alive"}), is_quiet=True),
            "/readyz": Page(
                lambda _: _json(200 if readiness.is_ready else 503, readiness.report()),
                is_quiet=True,
            ),
            "/metrics": Page(_metrics, is_quiet=True),
            **{path: _document(kind, body) for path, (kind, body) in documents.items()},
        }

    def find(self, request: Request) -> Page | None:
        if request.method not in {"GET", "HEAD"}:
            return None
        return self._pages.get(request.path.decode("latin-1"))


def _json(status: int, document: object) -> Answer:
    return Answer(status, json.dumps(document).encode(), [(b"content-type", JSON_TYPE)])


def _metrics(_: Request) -> Answer:
    kind = prometheus_client.CONTENT_TYPE_LATEST.encode()
    return Answer(200, prometheus_client.generate_latest(), [(b"content-type", kind)])


def _document(kind: str, body: bytes) -> Page:
    headers: Headers = [
        (b"content-type", kind.encode()),
        (b"cache-control", b"public, max-age=%d" % _ASSET_MAX_AGE_S),
        (b"content-security-policy", _DOCUMENT_POLICY),
        (b"vary", b"accept-encoding"),
    ]
    zipped = gzipped(body, _ASSET_GZIP_LEVEL) if len(body) >= GZIP_BYTES_MIN else None

    def answer(request: Request) -> Answer:
        if zipped is not None and takes_gzip(request):
            return Answer(200, zipped, [*headers, (b"content-encoding", b"gzip")])
        return Answer(200, body, headers)

    return Page(answer)
