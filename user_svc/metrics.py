"""Every figure that user_svc exports, beside those of svckit."""

from prometheus_client import Counter

SIGN_UPS = Counter("newsfeed_user_sign_ups", "Accounts made")
LOG_INS = Counter("newsfeed_user_log_ins", "Log-ins, by outcome: ok or refused", ["outcome"])
REFRESHES = Counter(
    "newsfeed_user_refreshes",
    "Refresh tokens sent, by outcome: rotated, repeated (within the grace) or reused (ended)",
    ["outcome"],
)
COUNTS_FOLDED = Counter("newsfeed_user_counts_folded", "Deltas of counts folded in")
PURGE_BATCHES = Counter("newsfeed_user_purge_batches", "Batches of edges of deleted people purged")
