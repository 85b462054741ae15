"""A post that is as large as a post can be."""

from typing import Any

from newsfeed.content.v1 import content_service_pb2 as pb

WORD = "large"
"""Its first word and its first tag."""
SIGN = "\U0001f600"  # four bytes


def largest() -> dict[str, Any]:
    """Fields for `publish`."""
    tags = [WORD, *(f"{number}".ljust(50, "\U00020000") for number in range(9))]
    media = [
        pb.Media(
            url="https://example.com/".ljust(2_000, "x"),
            kind=pb.MEDIA_KIND_IMAGE,
            width=65_535,
            height=65_535,
            alt=SIGN * 1_000,
        )
    ] * 10
    location = pb.Location(latitude=-1.5, longitude=-1.5, name=SIGN * 100)
    metadata = pb.PostMetadata(tags=tags, location=location, media=media)
    return {"content": f"{WORD} ".ljust(5_000, SIGN), "metadata": metadata}
