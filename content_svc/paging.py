"""Pages of a list from which some things must be left out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from content_svc.model import Place

T = TypeVar("T")
Page = tuple[list[T], Place | None]
"""Some things, newest first, and where to go on; None = there are no more."""


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How far a list is looked through for one page."""

    refills_max: int = 3


async def filled_page(
    fetch: Callable[[Place, int], Awaitable[Page[T]]],
    keep: Callable[[list[T]], Awaitable[list[T]]],
    before: Place,
    limit: int,
    limits: PageLimits,
) -> Page[T]:
    """Leaves out what `keep` does not keep and fills up, a bounded number of times.

    A page that could not be filled goes on where it stopped looking; only the end is the end.
    """
    page: list[T] = []
    place: Place | None = before
    refills = 0
    while place is not None and len(page) < limit and refills <= limits.refills_max:
        found, place = await fetch(place, limit - len(page))
        page += await keep(found)
        refills += 1
    return page, place


def page_of(found: list[T], limit: int, place_of: Callable[[T], Place]) -> Page[T]:
    """A page from a range of an index: fewer than asked for means that there are no more."""
    return found, place_of(found[-1]) if len(found) == limit else None
