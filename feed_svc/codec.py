"""Places as Redis keeps them: members and scores (feed_svc/lua/places.lua says why)."""

from collections.abc import Sequence
from typing import TypeAlias

from feed_svc.model import ID_BYTES, Place, PostId, Source

Pairs: TypeAlias = Sequence[bytes]
"""Members, each followed by its score."""

_BITS_TURNED = bytes(range(255, -1, -1))


def arguments_of(place: Place) -> tuple[int, bytes]:
    """A place as the functions know it: score and member."""
    return -place[0], member_of(place[1])


def member_of(post_id: PostId) -> bytes:
    return post_id.translate(_BITS_TURNED)


def arguments_of_source(source: Source, entries_max: int) -> list[bytes | int]:
    """No more of it than the set takes: if that is all, the set runs over, and has a floor then."""
    places = source.places[:entries_max]
    floor = arguments_of(source.floor) if source.floor else (b"", b"")
    told = [each for place in places for each in arguments_of(place)]
    return [*floor, len(places), *told]


def places_of(pairs: Pairs) -> list[Place]:
    """From members and scores, without the sentinel."""
    return [
        (-int(score), PostId(member.translate(_BITS_TURNED)))
        for member, score in zip(pairs[::2], pairs[1::2], strict=True)
        if member
    ]


def packed_places_of(members: bytes, scores: bytes) -> list[Place]:
    """From members one after another, and scores between spaces."""
    ids = members.translate(_BITS_TURNED)
    return [
        (-int(score), PostId(ids[at : at + ID_BYTES]))
        for at, score in zip(range(0, len(ids), ID_BYTES), scores.split(), strict=True)
    ]
