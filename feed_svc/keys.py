"""The names of all that feed_svc keeps in Redis; nothing else spells one.

All keys of a call of a function have one tag `{shard}`, so they are on one node of a cluster.
The shard of an id is its last byte modulo the number of shards. Where there is one Redis, a call
takes windows of any shards, and a partition needs its fence in one place only.
"""

from collections import defaultdict
from collections.abc import Iterable
from struct import iter_unpack

from feed_svc.model import ID_BYTES, PostId, UserId

SHARDS_MAX = 256
TIERS = b"tiers:{0}"


class Keys:
    """Keys of feeds that are spread over so many shards."""

    def __init__(self, shards: int, *, is_cluster: bool) -> None:
        self._shards_of_last_bytes = [last % shards for last in range(SHARDS_MAX)]
        self._is_cluster = is_cluster
        self.fences = [b"fence:{%d}" % shard for shard in range(shards if is_cluster else 1)]
        self._windows, self._companions = map(self._prefixes, (b"feed", b"state"))
        self._authors, self._incarnations = map(self._prefixes, (b"author", b"life"))
        self._graphs, self._posts, self._cards = map(self._prefixes, (b"graph", b"post", b"card"))

    def _prefixes(self, kind: bytes) -> list[bytes]:
        """By the last byte of an id."""
        return [b"%b:{%d}:" % (kind, shard) for shard in self._shards_of_last_bytes]

    def window(self, viewer_id: bytes) -> bytes:
        return self._windows[viewer_id[-1]] + viewer_id

    def windows(self, viewer_ids: Iterable[bytes]) -> list[bytes]:
        prefixes = self._windows
        return [prefixes[viewer_id[-1]] + viewer_id for viewer_id in viewer_ids]

    def companion(self, viewer_id: bytes) -> bytes:
        return self._companions[viewer_id[-1]] + viewer_id

    def recents(self, author_id: UserId) -> list[bytes]:
        """Posts, and the incarnation of the server that they are from."""
        last = author_id[-1]
        return [self._authors[last] + author_id, self._incarnations[last] + author_id]

    def graph(self, viewer_id: UserId) -> bytes:
        return self._graphs[viewer_id[-1]] + viewer_id

    def post(self, post_id: PostId) -> bytes:
        return self._posts[post_id[-1]] + post_id

    def card(self, user_id: UserId) -> bytes:
        return self._cards[user_id[-1]] + user_id

    def fence(self, one_id: bytes) -> bytes:
        """The one that may be in a call with keys of this id."""
        return self.fences[self._shards_of_last_bytes[one_id[-1]] if self._is_cluster else 0]

    def watching(self, fence: bytes) -> bytes:
        """The viewers who watch, of those whose keys may be in one call with this fence."""
        return fence.replace(b"fence", b"watching", 1)

    def groups(self, packed_ids: bytes) -> list[tuple[bytes, list[bytes]]]:
        """Ids whose keys may be in one call, and the fence that may be in it too."""
        ids = [one_id for (one_id,) in iter_unpack(f"{ID_BYTES}s", packed_ids)]
        if not self._is_cluster:
            return [(self.fences[0], ids)]
        groups = defaultdict(list)
        for one_id in ids:
            groups[self.fence(one_id)].append(one_id)
        return [*groups.items()]
