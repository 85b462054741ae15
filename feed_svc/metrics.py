"""Every figure that feed_svc exports, beside those of svckit: are feeds fresh, are reads hot?

How far the fan-out is behind, lane by lane, is svckit's `newsfeed_bus_lag_events`.
"""

from prometheus_client import Counter, Gauge, Histogram

READS = Counter(
    "newsfeed_feed_reads",
    "Looks for posts to show, by where: window (hot), below (cold, under the floor of a window), "
    "missing or building (cold, no window yet), down (cold, Redis does not answer)",
    ["where"],
)
PAGES_DEGRADED = Counter("newsfeed_feed_pages_degraded", "Pages served while a part was missing")
REFILLS = Counter("newsfeed_feed_refills", "Further looks, as things had to be left out of a page")
REBUILDS = Counter(
    "newsfeed_feed_rebuilds",
    "Rebuilds of windows, by outcome: built, busy (another one runs), lost, gone or failed",
    ["outcome"],
)
REBUILD_SECONDS = Histogram(
    "newsfeed_feed_rebuild_seconds",
    "Seconds that a rebuild took",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
DELIVERIES = Counter("newsfeed_feed_deliveries", "Posts put into windows")
DELIVERY_AGE = Histogram(
    "newsfeed_feed_delivery_age_seconds",
    "Seconds from a post's publication until it is in the windows of all its followers",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)
STREAMS = Gauge("newsfeed_feed_live_streams", "Live streams that are open")
POKES = Counter("newsfeed_feed_live_pokes", "Times that a live stream was told to look")
LOOKS = Counter("newsfeed_feed_live_looks", "Looks for what a live stream has to send")
RESETS = Counter("newsfeed_feed_live_resets", "Messages that say to read the feed anew")
LIVE_AGE = Histogram(
    "newsfeed_feed_live_age_seconds",
    "Seconds from a post's publication until it was sent on a live stream",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
TIER_CHANGES = Counter("newsfeed_feed_tier_changes", "Authors that changed tier, by which", ["to"])
BACKFILLS = Counter("newsfeed_feed_backfills", "Windows filled with an author's posts on a follow")
PURGES = Counter("newsfeed_feed_purges", "Windows rid of an author's posts, or dropped to be so")
