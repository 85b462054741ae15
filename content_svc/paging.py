"""Pages of a list from which some things must be left out."""

from collections.abc import Awaitable, Callable

from content_svc.model import Page, Place, T


async def filled_page(
    fetch: Callable[[Place, int], Awaitable[Page[T]]],
    keep: Callable[[list[T]], Awaitable[list[T]]],
    before: Place,
    limit: int,
    refills_max: int,
) -> Page[T]:
    """Leaves out what `keep` does not keep and fills up, at most `refills_max` times.

    A page that could not be filled goes on where it stopped looking; only the end is the end.
    """
    page: list[T] = []
    place: Place | None = before
    refills = 0
    while place is not None and len(page) < limit and refills <= refills_max:
        found, place = await fetch(place, limit - len(page))
        page += await keep(found)
        refills += 1
    return page, place
