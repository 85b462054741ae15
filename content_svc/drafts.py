"""From what a client sends to a post: to a new one, and to a change of one."""

from collections.abc import Callable

from newsfeed.content.v1 import content_service_pb2 as pb

from content_svc import model
from content_svc.events import MEDIA_KINDS
from content_svc.model import Location, Media, Post
from content_svc.posts import Draft
from content_svc.texts import check_tags
from svckit.errors import InvalidArgument
from svckit.validation import Fields, normal_text

_KINDS_BY_NUMBER = {number: kind for kind, number in MEDIA_KINDS.items()}
_METADATA_PATHS = ("metadata.tags", "metadata.location", "metadata.media")
_PATHS = ("content", "metadata", *_METADATA_PATHS)


def draft_of(
    fields: Fields,
    content: str,
    metadata: pb.PostMetadata,
    paths_are_served: bool,  # noqa: FBT001
) -> Draft:
    return Draft(
        content=normal_text(content, multiline=True),
        given_tags=check_tags(fields, metadata.tags),
        location=_location(metadata),
        media=_media(fields, metadata, paths_are_served),
    )


def merger_of(
    fields: Fields,
    request: pb.UpdatePostRequest,
    paths_are_served: bool,  # noqa: FBT001
) -> Callable[[Post], Draft]:
    """The request as a change of a post: the fields that it means are new, the others stay."""
    meant = _meant_paths(fields, request)
    sent = draft_of(fields, request.content, request.metadata, paths_are_served)

    def merge(post: Post) -> Draft:
        draft = Draft(
            content=sent.content if "content" in meant else post.content,
            given_tags=sent.given_tags if "metadata.tags" in meant else post.given_tags,
            location=sent.location if "metadata.location" in meant else post.location,
            media=sent.media if "metadata.media" in meant else post.media,
        )
        if not (draft.content or draft.media or post.shared_post_id):
            raise InvalidArgument.of("content", "must not be empty without media")
        return draft

    return merge


def _meant_paths(fields: Fields, request: pb.UpdatePostRequest) -> set[str]:
    """The mask; without one, the fields that are present."""
    if request.HasField("update_mask"):
        paths = set(request.update_mask.paths)
        if not paths <= set(_PATHS):
            fields.refuse("update_mask", f"may name {', '.join(_PATHS)} only")
    else:
        paths = {name for name in ("content", "metadata") if request.HasField(name)}
    return paths | (set(_METADATA_PATHS) if "metadata" in paths else set())


def _location(metadata: pb.PostMetadata) -> Location | None:
    if not metadata.HasField("location"):
        return None
    sent = metadata.location
    return Location(sent.latitude, sent.longitude, normal_text(sent.name))


def _media(
    fields: Fields,
    metadata: pb.PostMetadata,
    paths_are_served: bool,  # noqa: FBT001
) -> tuple[Media, ...]:
    for index, sent in enumerate(metadata.media):
        if not model.is_media_url(sent.url, paths_are_served=paths_are_served):
            or_path = ", or a path such as photos/1.jpg" if paths_are_served else ""
            described = f"must be an https URL of a public host by its name{or_path}"
            fields.refuse(f"metadata.media[{index}].url", described)
    return tuple(
        Media(
            url=sent.url,
            kind=_KINDS_BY_NUMBER[sent.kind],
            width=sent.width,
            height=sent.height,
            alt=normal_text(sent.alt, multiline=True),
        )
        for sent in metadata.media
    )
