"""Questions to user_svc: may one person see another, and whose is an @name?

Writes need an answer. Lists ask for each page, so that a block acts at once; when no answer comes
soon, those who were hidden from the viewer at their last page serve, for an hour at most. They are
known all together (whom the viewer blocked or muted, who blocked the viewer), so strangers are
shown as ever. Of a viewer who was not heard of nothing can be told, and the page is refused: one
that lacked half of what there is would look whole.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import GraphServiceStub, UserServiceStub

from content_svc.model import Mention, UserId
from svckit.batches import Coalescer
from svckit.errors import Unavailable
from svckit.ids import ID_BYTES, Clock, pack_ids, unpack_ids
from svckit.last_known import LastKnown, LastKnownSettings
from svckit.patience import Patience
from svckit.rpc.client import ServiceChannel


@dataclass(frozen=True, slots=True)
class PeopleLimits:
    """How long user_svc is waited for, and how much of what it said is kept."""

    page_timeout_s: float = 0.3
    answer_timeout_s: float = 1.5  # where nothing can be done without the answer
    last_known: LastKnownSettings = field(default_factory=LastKnownSettings)


@dataclass(frozen=True, slots=True)
class Relation:
    """Another person, as far as a viewer is concerned."""

    exists: bool
    is_blocked: bool  # by either of the two


class People:
    """Batch calls only: a page costs one of each kind, whatever is on it."""

    def __init__(
        self,
        channel: ServiceChannel,
        clock_s: Clock,
        limits: PeopleLimits,
    ) -> None:
        self._limits = limits
        self._users = channel.stub(UserServiceStub)
        self._graph = channel.stub(GraphServiceStub)
        self._patience = Patience("user_svc")
        self._hidden = Coalescer(self._load_hidden)
        # Packed ids of the people who are hidden from a viewer.
        self._known: LastKnown[UserId, bytes] = LastKnown(
            lambda hidden: len(hidden) // ID_BYTES, limits.last_known, clock_s
        )

    async def relations(
        self, viewer_id: UserId, other_ids: Collection[UUID]
    ) -> Mapping[UUID, Relation]:
        """Of each of the others, at most 500. One always exists for oneself."""
        asked = [each for each in dict.fromkeys(other_ids) if each != viewer_id]
        relations: dict[UUID, Relation] = {viewer_id: Relation(exists=True, is_blocked=False)}
        if asked:
            request = pb.BatchGetRelationshipsRequest(
                viewer_id=str(viewer_id), user_ids=pack_ids(asked)
            )
            async with self._patience.limit(self._limits.answer_timeout_s):
                response = await self._graph.BatchGetRelationships(request)
            for other_id, found in zip(asked, response.relationships, strict=True):
                is_blocked = found.is_blocking or found.is_blocked_by
                relations[other_id] = Relation(found.exists, is_blocked)
        return relations

    async def mentioned(self, names: Sequence[str]) -> tuple[Mention, ...]:
        """The names that are somebody's, in their order."""
        if not names:
            return ()
        async with self._patience.limit(self._limits.answer_timeout_s):
            response = await self._users.BatchGetUsers(
                pb.BatchGetUsersRequest(usernames=[name.lower() for name in names])
            )
        ids = {user.username: UserId(UUID(user.user_id)) for user in response.users}
        return tuple(Mention(ids[name.lower()], name) for name in names if name.lower() in ids)

    async def relations_for_page(
        self, viewer_id: UserId, other_ids: Collection[UUID]
    ) -> Mapping[UUID, Relation]:
        """And keeps in mind who is hidden from the viewer."""
        async with self._patience.limit(self._limits.page_timeout_s):
            relations, _ = await asyncio.gather(
                self.relations(viewer_id, other_ids), self._learn(viewer_id)
            )
        return relations

    def known_hidden(self, viewer_id: UserId) -> frozenset[UUID] | None:
        """The people hidden at the last answer about the viewer; None = that is too long ago."""
        hidden = self._known.get(viewer_id)
        return None if hidden is None else frozenset(unpack_ids(hidden, "user_ids"))

    async def _learn(self, viewer_id: UserId) -> None:
        with suppress(Unavailable):
            hidden = await self._hidden.get(viewer_id)
            if hidden is None or hidden.truncated:
                self._known.forget(viewer_id)
            else:
                self._known.hear(viewer_id, hidden.user_ids)

    async def _load_hidden(self, viewer_ids: Sequence[UserId]) -> Mapping[UserId, pb.HiddenIds]:
        request = pb.BatchGetHiddenIdsRequest(viewer_ids=pack_ids(viewer_ids))
        async with self._patience.limit(self._limits.page_timeout_s):
            response = await self._graph.BatchGetHiddenIds(request)
        return dict(zip(viewer_ids, response.hidden, strict=True))


class Viewer:
    """The reader of one page of a list. After a call without an answer the others do not wait."""

    def __init__(self, people: People, viewer_id: UserId) -> None:
        self._people = people
        self._viewer_id = viewer_id
        self._known_hidden: frozenset[UUID] | None = None

    async def relations(self, other_ids: Collection[UUID]) -> Mapping[UUID, Relation]:
        """Of each of the others. As far as is known from before everybody exists."""
        if self._known_hidden is None and {*other_ids} - {self._viewer_id}:
            try:
                return await self._people.relations_for_page(self._viewer_id, other_ids)
            except Unavailable:
                self._known_hidden = self._people.known_hidden(self._viewer_id)
                if self._known_hidden is None:
                    raise
        hidden = self._known_hidden or frozenset()
        return {each: Relation(exists=True, is_blocked=each in hidden) for each in other_ids}

    async def hidden(self, other_ids: Collection[UUID]) -> set[UUID]:
        """The people of whom nothing is shown: those across a block, and those who are gone."""
        relations = await self.relations(other_ids)
        return {each for each, it in relations.items() if it.is_blocked or not it.exists}
