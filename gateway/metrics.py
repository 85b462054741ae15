"""Every figure that the gateway exports, beside those of svckit."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "newsfeed_http_requests",
    "Requests that were answered, by route and status",
    ["route", "status"],
)
REQUEST_SECONDS = Histogram(
    "newsfeed_http_seconds",
    "Seconds from a request's head to the end of its answer, without streams",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
IN_PROGRESS = Gauge("newsfeed_http_in_progress", "Requests that are being served", ["service"])
OVERLOADED = Counter(
    "newsfeed_http_overloaded", "Requests refused for want of room, by what", ["what"]
)
CONNECTIONS = Gauge("newsfeed_http_connections", "Open connections")
STREAMS = Gauge("newsfeed_http_streams", "Open live streams")
STREAMS_CUT = Counter(
    "newsfeed_http_streams_cut", "Live streams cut off: their reader was too slow"
)
LIMITED = Counter("newsfeed_http_limited", "Requests over a rate limit, by limit", ["limit"])
LIMITS_LOCAL = Gauge("newsfeed_http_limits_local", "1 = each process counts limits for itself")
