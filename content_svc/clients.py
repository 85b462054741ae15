"""What content_svc asks user_svc: who may see whom, and who is behind an @name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import GraphServiceStub, UserServiceStub

from content_svc.model import Mention, UserId
from svckit.client import ServiceChannel
from svckit.ids import pack_ids


@dataclass(frozen=True, slots=True)
class Standing:
    """Another person, as far as a viewer is concerned."""

    exists: bool
    is_blocked: bool  # by either of the two


class People:
    """Batch calls only: a page costs one, whatever is on it."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._users = channel.stub(UserServiceStub)
        self._graph = channel.stub(GraphServiceStub)

    async def standings(
        self, viewer_id: UserId, other_ids: Iterable[UUID]
    ) -> Mapping[UUID, Standing]:
        """Of each of the others, at most 500. One always exists for oneself."""
        asked = [each for each in dict.fromkeys(other_ids) if each != viewer_id]
        standings: dict[UUID, Standing] = {viewer_id: Standing(exists=True, is_blocked=False)}
        if asked:
            response = await self._graph.BatchGetRelationships(
                pb.BatchGetRelationshipsRequest(viewer_id=str(viewer_id), user_ids=pack_ids(asked))
            )
            for other_id, found in zip(asked, response.relationships, strict=True):
                is_blocked = found.is_blocking or found.is_blocked_by
                standings[other_id] = Standing(found.exists, is_blocked)
        return standings

    async def hidden_from(self, viewer_id: UserId, other_ids: Iterable[UUID]) -> set[UUID]:
        """Whose things a viewer does not see in lists: across a block, and of who is gone."""
        standings = await self.standings(viewer_id, other_ids)
        return {each for each, it in standings.items() if it.is_blocked or not it.exists}

    async def mentioned(self, names: Sequence[str]) -> tuple[Mention, ...]:
        """Those of the names that are somebody's, in their order."""
        if not names:
            return ()
        response = await self._users.BatchGetUsers(
            pb.BatchGetUsersRequest(usernames=[name.lower() for name in names])
        )
        ids = {user.username: UserId(UUID(user.user_id)) for user in response.users}
        return tuple(Mention(ids[name.lower()], name) for name in names if name.lower() in ids)
