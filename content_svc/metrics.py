"""Every figure that content_svc exports, beside those of svckit."""

from prometheus_client import Counter, Gauge

POSTS_CREATED = Counter("newsfeed_content_posts_created", "Posts and shares published")
PURGED = Counter("newsfeed_content_purged", "Things removed after a deletion, by kind", ["kind"])
PURGES_WAITING = Gauge("newsfeed_content_purges_waiting", "Purges found due, up to a bound")
PURGES_FAILED = Counter(
    "newsfeed_content_purges_failed", "Steps of purges that failed, by kind", ["kind"]
)
