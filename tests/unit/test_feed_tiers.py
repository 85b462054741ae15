"""Who is pushed and who is pulled, told from followers, posts and the tier until now."""

import pytest

from feed_svc.model import Place, PostId, Source, Tier
from feed_svc.tiers import HOUR_MS, PushSettings, posts_per_hour, tier_for

NOW_MS = 1_900_000_000_000
BOUNDS = PushSettings(followers_max=100, deliveries_per_hour_max=1_000)


def place(age_ms: int) -> Place:
    return NOW_MS - age_ms, PostId(age_ms.to_bytes(16, "big"))


@pytest.mark.parametrize(
    ("followers", "rate", "was_pulled", "tier"),
    [
        (0, 0, False, Tier.PUSH),
        (99, 0, False, Tier.PUSH),
        (100, 0, False, Tier.PULL),
        (80, 0, True, Tier.PULL),
        (79, 0, True, Tier.PUSH),
        (50, 20, False, Tier.PUSH),
        (50, 20.1, False, Tier.PULL),
        (50, 16.1, True, Tier.PULL),
        (50, 16, True, Tier.PUSH),
        (79, 100, True, Tier.PULL),
        (1, 1_001, False, Tier.PULL),
    ],
)
def test_tier_for(followers: int, rate: float, tier: Tier, *, was_pulled: bool) -> None:
    assert tier_for(BOUNDS, followers, rate, was_pulled=was_pulled) is tier


def test_near_a_bound_an_author_stays_what_they_are() -> None:
    for followers in range(80, 100):
        assert tier_for(BOUNDS, followers, 0, was_pulled=False) is Tier.PUSH
        assert tier_for(BOUNDS, followers, 0, was_pulled=True) is Tier.PULL


def test_only_posts_of_the_last_hour_count() -> None:
    ages_ms = [0, 1, HOUR_MS - 1, HOUR_MS, HOUR_MS + 1]
    assert posts_per_hour(Source([place(age) for age in ages_ms], None), NOW_MS) == 3
    assert posts_per_hour(Source([], None), NOW_MS) == 0


def test_more_posts_than_are_kept_are_told_from_their_speed() -> None:
    """Otherwise nobody would seem to write more in an hour than is kept of them."""
    places = [place(age) for age in range(0, HOUR_MS // 4, HOUR_MS // 40)]
    every = Source(places, None)
    newest = Source(places, places[-1])
    assert posts_per_hour(every, NOW_MS) == len(places) == 10
    assert posts_per_hour(newest, NOW_MS) == pytest.approx(10 / (9 / 40))


def test_kept_posts_that_reach_beyond_the_hour_are_counted() -> None:
    places = [place(0), place(HOUR_MS + 1)]
    assert posts_per_hour(Source(places, places[-1]), NOW_MS) == 1


def test_a_burst_within_a_millisecond_has_a_rate() -> None:
    places = [place(0)]
    assert posts_per_hour(Source(places, places[-1]), NOW_MS) == HOUR_MS
