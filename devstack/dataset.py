"""A world of people and edges, made by COPY: the same for the same size, as uneven as real ones.

One person is followed by everybody. Whom the others follow, and how many, falls off steeply; a few
have sessions, blocks and mutes. Counts equal edges.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import asyncpg

from svckit.postgres.migrations import migrate
from svckit.postgres.outbox import COMPONENT as OUTBOX_COMPONENT
from user_svc.app import COMPONENT

SEED = 20261120
START = datetime(2025, 1, 1, tzinfo=UTC)
YEAR_S = 365 * 24 * 3600
FOLLOWEES_MAX = 5_000
CHUNK_ROWS = 100_000
GIVEN = ("anna", "ben", "carla", "david", "elif", "farid", "grace", "hugo", "ines", "jonas", "kim")
FAMILY = ("adler", "brandt", "costa", "dietz", "evans", "fuchs", "gomez", "huber", "ivanov")

Row = tuple[object, ...]
Edge = tuple[UUID, UUID, datetime]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Size:
    people: int
    follows: int
    blocks: int
    mutes: int
    sessions: int


FULL = Size(people=100_001, follows=2_000_000, blocks=20_000, mutes=20_000, sessions=100_000)


class World:
    """The people of the world. `hub` is followed by all others."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.random = Random(SEED)
        self.ids = [self._id(number) for number in range(size.people)]
        self.hub = self.ids[0]
        self.followers = [0] * size.people
        self.following = [0] * size.people

    def _id(self, number: int) -> UUID:
        """As a UUIDv7 of somebody who signed up `number` minutes after the start."""
        made_ms = int(START.timestamp() + 60 * number) * 1000
        random_bits = self.random.getrandbits(62)
        return UUID(int=made_ms << 80 | 0x7 << 76 | 0b10 << 62 | random_bits)

    def people(self) -> Iterator[Row]:
        for number, user_id in enumerate(self.ids):
            given, family = self.random.choice(GIVEN), self.random.choice(FAMILY)
            username = f"{given}_{number}"
            name = f"{given.title()} {family.title()}"
            role = "moderator" if number % 1000 == 1 else "user"
            joined = START + timedelta(minutes=number)
            yield user_id, username, f"{username}@example.org", name, "Hello", "", role, joined

    def credentials(self) -> Iterator[Row]:
        """Nobody can log in with these."""
        return ((user_id, "no hash") for user_id in self.ids)

    def follows(self) -> Iterator[Edge]:
        """(followee, follower, time): all follow the hub, the rest is shared out unevenly."""
        for follower, followees in enumerate(self._followee_counts()):
            if follower:
                yield self._follow(0, follower)
            for followee in self._others(follower, followees):
                yield self._follow(followee, follower)

    def _follow(self, followee: int, follower: int) -> Edge:
        self.followers[followee] += 1
        self.following[follower] += 1
        return self.ids[followee], self.ids[follower], self._moment()

    def _followee_counts(self) -> Iterator[int]:
        """How many each person follows beside the hub; together exactly what is missing."""
        people = self.size.people
        weights = [self.random.paretovariate(1.5) for _ in range(people)]
        left, weight_left = self.size.follows - (people - 1), sum(weights)
        most = min(FOLLOWEES_MAX, people // 3)
        for person, weight in enumerate(weights):
            is_last = person == people - 1
            count = left if is_last else min(round(left * weight / weight_left), most)
            yield count
            left, weight_left = left - count, weight_left - weight

    def _others(self, person: int, count: int) -> set[int]:
        """Different people, the first ones far more often; never the hub, never oneself."""
        chosen: set[int] = set()
        people = self.size.people
        while len(chosen) < count:
            other = 1 + int((people - 1) * self.random.random() ** 2.5)
            if other != person:
                chosen.add(other)
        return chosen

    def edges(self, count: int) -> Iterator[Edge]:
        """Of random people to random people, each pair once."""
        seen: set[tuple[int, int]] = set()
        while len(seen) < count:
            pair = (self.random.randrange(len(self.ids)), self.random.randrange(len(self.ids)))
            if pair[0] != pair[1] and pair not in seen:
                seen.add(pair)
                yield self.ids[pair[0]], self.ids[pair[1]], self._moment()

    def sessions(self) -> Iterator[Row]:
        """One in fifty has been ended."""
        for number in range(self.size.sessions):
            session_id = UUID(int=self.random.getrandbits(128))
            moment = self._moment()
            user_id = self.ids[number % len(self.ids)]
            revoke_time = moment if number % 50 == 0 else None
            end = moment + timedelta(days=400)
            yield session_id, user_id, b"family", b"secret", moment, moment, end, revoke_time

    def counts(self) -> Iterator[Row]:
        return zip(self.ids, self.followers, self.following, strict=True)

    def _moment(self) -> datetime:
        return START + timedelta(seconds=self.random.randrange(YEAR_S))


async def load(dsn: str, size: Size, progress: Progress = lambda *_: None) -> World:
    """Migrates an empty database and fills it; returns who is in it. Needs a superuser."""
    await migrate(dsn, [OUTBOX_COMPONENT, COMPONENT])
    world = World(size)
    edge_time = "create_time"
    person = "user_id username email display_name bio avatar_url role create_time"
    session = (
        "session_id user_id family_hash secret_hash create_time rotate_time expire_time revoke_time"
    )
    tables: list[tuple[str, str, int, Iterable[Row]]] = [
        ("users", person, size.people, world.people()),
        ("credentials", "user_id password_hash", size.people, world.credentials()),
        ("follows", f"followee_id follower_id {edge_time}", size.follows, world.follows()),
        ("follow_counts", "user_id follower_count following_count", size.people, world.counts()),
        ("blocks", f"blocker_id blocked_id {edge_time}", size.blocks, world.edges(size.blocks)),
        ("mutes", f"muter_id muted_id {edge_time}", size.mutes, world.edges(size.mutes)),
        ("sessions", session, size.sessions, world.sessions()),
    ]
    connection = await asyncpg.connect(dsn)
    try:
        # Foreign keys hold by construction; to check each row would take most of the time.
        await connection.execute("SET session_replication_role = replica")
        for table, columns, total, rows in tables:
            reported = _reported(rows, table, total, progress)
            await connection.copy_records_to_table(table, columns=columns.split(), records=reported)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    return world


def _reported(rows: Iterable[Row], table: str, total: int, progress: Progress) -> Iterator[Row]:
    for done, row in enumerate(rows):
        if done % CHUNK_ROWS == 0:
            progress(table, done, total)
        yield row
    progress(table, total, total)


def progress_bar(table: str, done: int, total: int) -> None:
    """One line a table, on standard error."""
    width = 40
    filled = width * done // max(total, 1)
    bar = "#" * filled + "-" * (width - filled)
    sys.stderr.write(f"\r{table:<14} [{bar}] {done:>9,} / {total:,}")
    if done == total:
        sys.stderr.write("\n")
    sys.stderr.flush()


if __name__ == "__main__":
    asyncio.run(load(sys.argv[1], FULL, progress_bar))
