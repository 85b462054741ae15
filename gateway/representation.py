"""How an answer is sent: who may keep it, whether it is sent at all, and how small.

Answers to PUBLIC reads without a token are the same for everybody: caches may keep them for a
moment, and an `ETag` saves sending them again. Everything else is nobody's to keep. Only reads are
compressed: answers to writes may carry secrets, whose size must tell nothing.
"""

import zlib
from hashlib import blake2b

from gateway.exchange import Answer, Request

GZIP_BYTES_MIN = 1024
GZIP_LEVEL = 1
_GZIP_FORMAT = 31  # window of 32 KiB, with gzip's header
NOT_STORED = (b"cache-control", b"no-store")


def kept_by_caches(request: Request, answer: Answer, max_age_s: int) -> Answer:
    """The answer, or 304 to who has it already."""
    tag = b'W/"%b"' % blake2b(answer.body, digest_size=12).hexdigest().encode()
    keep = b"public, max-age=%d, stale-while-revalidate=%d" % (max_age_s, 3 * max_age_s)
    headers = [(b"etag", tag), (b"cache-control", keep)]
    known = request.headers.get(b"if-none-match", b"")
    if known.strip() == b"*" or tag in (each.strip() for each in known.split(b",")):
        return Answer(304, headers=headers)
    answer.headers += headers
    return answer


def compressed(request: Request, answer: Answer) -> Answer:
    """With gzip, if the client takes it and it is worth it."""
    answer.headers.append((b"vary", b"accept-encoding"))
    if len(answer.body) >= GZIP_BYTES_MIN and takes_gzip(request):
        answer.body = gzipped(answer.body, GZIP_LEVEL)
        answer.headers.append((b"content-encoding", b"gzip"))
    return answer


def takes_gzip(request: Request) -> bool:
    for each in request.headers.get(b"accept-encoding", b"").lower().split(b","):
        coding, _, weight = each.replace(b" ", b"").partition(b";q=")
        if coding in {b"gzip", b"*"}:
            return weight.strip(b"0.") != b"" or not weight
    return False


def gzipped(body: bytes, level: int) -> bytes:
    compressor = zlib.compressobj(level, wbits=_GZIP_FORMAT)
    return compressor.compress(body) + compressor.flush()
