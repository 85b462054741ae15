"""Following, blocking and muting: each change is one transaction of edge, counts and events.

The clock is read when both people are locked, so that the times of what happens between two people
are in its order; an attempt that is done again has a time of its own.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from uuid import UUID

from svckit.auth.tokens import TokenRevoked
from svckit.events.outbox import OutboxRecord
from svckit.ids import ID_BYTES
from svckit.postgres.changes import Change, Changes
from user_svc import events
from user_svc.graph_store import EdgeState, GraphStore
from user_svc.model import (
    Blocked,
    EdgeKind,
    EdgeLimitReached,
    GraphSettings,
    Relationship,
    SelfTarget,
    User,
    UserId,
    UserNotFound,
    ViewerGraph,
)
from user_svc.store import PeopleStore

ApplyEdge = Callable[[Change, UserId, UserId, datetime], Awaitable[None]]
RemovedEdge = Callable[[UserId, UserId, datetime], OutboxRecord]


class Graph:
    """Use cases of GraphService."""

    def __init__(
        self,
        changes: Changes,
        store: GraphStore,
        people: PeopleStore,
        clock: Callable[[], datetime],
        settings: GraphSettings,
    ) -> None:
        self._changes = changes
        self._store = store
        self._people = people
        self._clock = clock
        self._settings = settings

    async def follow(self, actor_id: UserId, target_id: UserId) -> Relationship:
        return await self._add(EdgeKind.FOLLOW, actor_id, target_id, self._apply_follow)

    async def unfollow(self, actor_id: UserId, target_id: UserId) -> Relationship:
        return await self._remove(EdgeKind.FOLLOW, actor_id, target_id, events.follow_removed)

    async def block(self, actor_id: UserId, target_id: UserId) -> Relationship:
        return await self._add(EdgeKind.BLOCK, actor_id, target_id, self._apply_block)

    async def unblock(self, actor_id: UserId, target_id: UserId) -> Relationship:
        return await self._remove(EdgeKind.BLOCK, actor_id, target_id, events.block_removed)

    async def mute(self, actor_id: UserId, target_id: UserId) -> Relationship:
        return await self._add(EdgeKind.MUTE, actor_id, target_id, self._apply_mute)

    async def unmute(self, actor_id: UserId, target_id: UserId) -> Relationship:
        return await self._remove(EdgeKind.MUTE, actor_id, target_id, events.mute_removed)

    async def _add(
        self, kind: EdgeKind, actor_id: UserId, target_id: UserId, apply: ApplyEdge
    ) -> Relationship:
        async def add(change: Change) -> None:
            state = await self._lock(change, kind, actor_id, target_id)
            if state.is_blocked and kind is EdgeKind.FOLLOW:
                raise Blocked(user_id=str(target_id))
            if not state.exists:
                if state.is_full:
                    raise EdgeLimitReached(kind=kind, limit=str(self._settings.edges_max))
                await apply(change, actor_id, target_id, self._clock())

        await self._changes.run(add)
        return await self.relationship(actor_id, target_id)

    async def _remove(
        self, kind: EdgeKind, actor_id: UserId, target_id: UserId, removed: RemovedEdge
    ) -> Relationship:
        async def remove(change: Change) -> None:
            state = await self._lock(change, kind, actor_id, target_id)
            if state.exists:
                await self._store.remove_edge(change, kind, actor_id, target_id)
                change.emit(removed(actor_id, target_id, self._clock()))

        await self._changes.run(remove)
        return await self.relationship(actor_id, target_id)

    async def _lock(
        self, change: Change, kind: EdgeKind, actor_id: UserId, target_id: UserId
    ) -> EdgeState:
        if actor_id == target_id:
            raise SelfTarget
        state = await self._store.lock_edge(change, kind, actor_id, target_id)
        if not state.actor_exists:
            raise TokenRevoked  # deleted a moment ago
        if not state.target_exists:
            raise UserNotFound(user_id=str(target_id))
        return state

    async def _apply_follow(
        self, change: Change, actor_id: UserId, target_id: UserId, now: datetime
    ) -> None:
        await self._store.add_edge(change, EdgeKind.FOLLOW, actor_id, target_id, now)
        change.emit(*events.follow_added(actor_id, target_id, now))

    async def _apply_block(
        self, change: Change, actor_id: UserId, target_id: UserId, now: datetime
    ) -> None:
        was_following = await self._store.remove_edge(change, EdgeKind.FOLLOW, actor_id, target_id)
        was_followed = await self._store.remove_edge(change, EdgeKind.FOLLOW, target_id, actor_id)
        await self._store.add_edge(change, EdgeKind.BLOCK, actor_id, target_id, now)
        change.emit(
            *events.block_added(
                actor_id, target_id, now, was_following=was_following, was_followed=was_followed
            )
        )

    async def _apply_mute(
        self, change: Change, actor_id: UserId, target_id: UserId, now: datetime
    ) -> None:
        await self._store.add_edge(change, EdgeKind.MUTE, actor_id, target_id, now)
        change.emit(events.mute_added(actor_id, target_id, now))

    async def relationship(self, viewer_id: UserId, other_id: UserId) -> Relationship:
        (found,) = await self._store.relationships(viewer_id, [other_id])
        if not found.exists:
            raise UserNotFound(user_id=str(other_id))
        return found

    async def relationships(
        self, viewer_id: UserId, other_ids: Sequence[UUID]
    ) -> list[Relationship]:
        """One for each of the others, in their order; those who do not exist say so."""
        return await self._store.relationships(viewer_id, other_ids)

    async def list_followers(
        self, user_id: UserId, before: tuple[datetime, UUID], limit: int
    ) -> list[tuple[User, datetime]]:
        await self._require(user_id)
        return await self._store.list_followers(user_id, before, limit)

    async def list_edges(
        self, kind: EdgeKind, user_id: UserId, before: tuple[datetime, UUID], limit: int
    ) -> list[tuple[User, datetime]]:
        """Whom a person follows, blocks or mutes, newest first."""
        await self._require(user_id)
        return await self._store.list_edges(kind, user_id, before, limit)

    async def _require(self, user_id: UserId) -> None:
        if await self._people.user(user_id) is None:
            raise UserNotFound(user_id=str(user_id))

    async def suggestions(
        self, viewer_id: UserId, before: tuple[int, UUID], limit: int
    ) -> list[tuple[User, int]]:
        """People with the number of the viewer's followees who follow them, best first."""
        return await self._store.suggestions(viewer_id, before, limit)

    async def stream_follower_ids(self, user_id: UserId, after: UUID) -> AsyncIterator[bytes]:
        """All ids above `after`, ascending, in packed chunks.

        One chunk is held at a time, and no connection between them: a slow reader costs nothing.
        """
        chunk_ids = self._settings.stream_chunk_ids
        while packed := await self._store.follower_ids(user_id, after, chunk_ids):
            yield packed
            if len(packed) < chunk_ids * ID_BYTES:
                return
            after = UUID(bytes=packed[-ID_BYTES:])

    async def followee_ids(self, user_id: UserId) -> bytes:
        return await self._store.followee_ids(user_id)

    async def hidden_ids(self, viewer_ids: Sequence[UUID]) -> list[bytes | None]:
        """The people hidden from each of the viewers, in their order; None = more than can be told.

        In a large batch less can be told of each, so that the answer fits into a message.
        """
        share = self._settings.hidden_ids_per_answer_max // max(len(viewer_ids), 1)
        return await self._store.hidden_ids(viewer_ids, min(self._settings.hidden_ids_max, share))

    async def viewer_graph(self, viewer_id: UserId) -> ViewerGraph:
        return await self._store.viewer_graph(viewer_id)
