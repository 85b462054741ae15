"""The event bus in the memory of a Redis: its keys, its entries, the scripts that change them.

One stream for each partition. There are no consumer groups of Redis: a partition has one owner in
a group, which acknowledges in order, so all that a group leaves here is one position for each
partition. Publisher, consumer and dead letters (`svckit.events.redis`) are built on this.

The Redis must not evict and should append to disk. What it loses all the same is published again
from the outboxes: the last minute after a lost connection; once the epoch is another, all that the
memory may lack. The memory has another epoch after every start of its server, and is told by the
moment when it was last seen alive: a disk, a copy or a replica may have kept an old one.
"""

import asyncio
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, cast
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from svckit.errors import Unavailable
from svckit.events.bus import (
    BusMismatch,
    BusRecord,
    Epoch,
    Fence,
    GroupIsAlive,
    GroupState,
    Undecodable,
    partition_of,
)
from svckit.events.settings import BusSettings
from svckit.ids import new_id

REQUEST_TIMEOUT_S = 1.0
DEAD_LETTERS_MAX = 100_000
ERROR_TEXT_MAX = 500

START = f"{0:013d}-{0:013d}"
"""The position before the first entry. A position is an entry's id, padded to order as text."""

Argument = str | bytes | int
Entry = tuple[bytes, dict[bytes, bytes]]


class BusEmptied(Exception):
    """The memory of the bus is not the one that it was."""


class DeadLettersFull(Exception):
    """There is no room to set an event aside."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A partition of a member: where its group is, and how many events it is behind."""

    fence: Fence
    position: str
    lag: int


class RedisBus:
    """Every call ends within `REQUEST_TIMEOUT_S`; trying again is up to the caller.

    As `Groups`, and in `ping`, its errors are ours; callers of the rest translate (`bus_errors`).
    """

    def __init__(self, settings: BusSettings, redis: Redis | None = None) -> None:
        self.redis = redis or connect(settings)
        self.partitions = settings.partitions
        self._prefix = settings.prefix
        self._expected_groups = settings.expected_groups()
        self._epoch_key, self._groups_key, self._leases_key = self._keys(
            "epoch", "groups", "leases"
        )
        self._positions_key, self._tails_key, self.dead_key = self._keys("places", "tails", "dead")
        self.streams = self._keys(*map(str, range(settings.partitions)))
        self._scripts = {
            script.name.removesuffix(".lua"): self.redis.register_script(script.read_bytes())
            for script in files("svckit.events.redis").joinpath("lua").iterdir()
        }

    def _keys(self, *names: str) -> list[str]:
        return [f"{self._prefix}:{name}" for name in names]

    async def epoch(self) -> Epoch:
        """Makes an empty memory ready, with all expected groups to keep for; says it is alive."""
        keys = [self._epoch_key, *self._keys("partitions"), self._groups_key, *self._keys("life")]
        reply = await self._run(
            "open", keys, [str(new_id()), self.partitions, *self._expected_groups]
        )
        name, partitions, lacks_ms, evicts = cast(
            "tuple[bytes, int, int | None, bytes | None]", reply
        )
        if evicts:
            raise BusMismatch(f"the bus would lose events: maxmemory-policy is {evicts.decode()}")
        if partitions != self.partitions:
            raise BusMismatch(
                f"the bus has {partitions} partitions, BUS_PARTITIONS is {self.partitions}"
            )
        return Epoch(name.decode(), None if lacks_ms is None else lacks_ms / 1000)

    async def publish(self, epoch: str, records: Sequence[BusRecord]) -> None:
        arguments: list[Argument] = [epoch]
        for record in records:
            headers = json.dumps(dict(record.headers)) if record.headers else ""
            arguments += (
                partition_of(record.lane, self.partitions),
                record.event_id.bytes,
                record.lane,
                record.type,
                headers,
                record.payload,
            )
        keys = [self._epoch_key, self._tails_key, *self.streams]
        if not await self._run("publish", keys, arguments):
            raise BusEmptied

    async def read(
        self, positions: Mapping[int, str], count: int, block_s: float
    ) -> list[tuple[int, list[Entry]]]:
        """The entries behind these positions, by partition, at most `count` of each.

        Waits up to `block_s` if there is nothing at all.
        """
        numbers = {self.streams[number].encode(): number for number in positions}
        async with asyncio.timeout(block_s + REQUEST_TIMEOUT_S):
            reply = await self.redis.xread(
                {self.streams[number]: position for number, position in positions.items()},
                count=count,
                block=int(block_s * 1000) or None,
            )
        found = cast("list[tuple[bytes, list[Entry]]]", reply)
        return [(numbers[stream], entries) for stream, entries in found]

    async def hold(
        self, epoch: str, group: str, member: str, ttl_s: float, newest: int, held: Iterable[Fence]
    ) -> tuple[int, list[Lease]]:
        """Renew `held`, and take or take over what is free; tokens are above `newest`.

        From now on events are kept for the group.

        Returns the fair share of this member, and the leases that it has.
        """
        keys = [
            self._epoch_key,
            self._groups_key,
            *self._keys(f"members:{group}"),
            self._leases_key,
            self._positions_key,
            self._tails_key,
            *self.streams,
        ]
        arguments: list[Argument] = [epoch, group, member, int(ttl_s * 1000), newest]
        for fence in held:
            arguments += (fence.partition, fence.token)
        reply = cast("list[Any]", await self._run("hold", keys, arguments))
        if not reply:
            raise BusEmptied
        rows = zip(*[iter(reply[1:])] * 4, strict=True)
        return reply[0], [
            Lease(Fence(number, token), position.decode(), lag)
            for number, token, position, lag in rows
        ]

    async def acknowledge(
        self, epoch: str, group: str, positions: Sequence[tuple[Fence, str]]
    ) -> bool:
        """Move positions forward; False = not all of them were ours to move."""
        arguments: list[Argument] = [epoch]
        for fence, position in positions:
            arguments += (f"{group}/{fence.partition}", fence.token, position)
        keys = [self._epoch_key, self._leases_key, self._positions_key]
        return bool(await self._run("acknowledge", keys, arguments))

    async def release(self, group: str, fences: Sequence[Fence]) -> None:
        """Let others have them at once; harmless for what is another's."""
        arguments: list[Argument] = []
        for fence in fences:
            arguments += (f"{group}/{fence.partition}", fence.token)
        await self._run("release", [self._leases_key], arguments)

    async def leave(self, group: str, member: str) -> None:
        """The member counts no longer when partitions are shared out."""
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await self.redis.zrem(self._keys(f"members:{group}")[0], member)

    async def set_aside(self, group: str, fence: Fence, position: str, error: Exception) -> bool:
        """Copy the entry to the dead letters; False = the partition has a newer owner."""
        keys = [self._leases_key, self.streams[fence.partition], self.dead_key]
        text = str(error)[:ERROR_TEXT_MAX].encode(errors="replace")
        arguments: list[Argument] = [
            f"{group}/{fence.partition}",
            fence.token,
            position,
            group,
            type(error).__name__,
            text,
            DEAD_LETTERS_MAX,
        ]
        done = await self._run("set_aside", keys, arguments)
        if done == -1:
            raise DeadLettersFull
        return bool(done)

    async def trim(self, epoch: str, partitions: Sequence[int]) -> int:
        """Drop what every group is past; returns how many events."""
        streams = [self.streams[number] for number in partitions]
        keys = [self._epoch_key, self._groups_key, self._positions_key, *streams]
        return cast("int", await self._run("trim", keys, [epoch, *partitions]))

    async def group_states(self) -> Sequence[GroupState]:
        keys = [self._groups_key, self._positions_key, self._tails_key, *self.streams]
        with bus_errors():
            await self.epoch()
            rows = cast("list[Any]", await self._run("groups", keys, self._keys("members:")))
        triples = zip(*[iter(rows)] * 3, strict=True)
        return [GroupState(name.decode(), members, lag) for name, members, lag in triples]

    async def retire(self, group: str) -> None:
        keys = [
            self._groups_key,
            *self._keys(f"members:{group}"),
            self._leases_key,
            self._positions_key,
        ]
        with bus_errors():
            await self.epoch()
            if not await self._run("retire", keys, [group, self.partitions]):
                raise GroupIsAlive(group)

    async def ping(self) -> None:
        with bus_errors():
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await self.redis.ping()

    async def disconnect(self) -> None:
        """The next call connects anew: perhaps to another server, if ours is none to write to."""
        await self.redis.connection_pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        await self.redis.aclose()

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> object:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return cast("object", await self._scripts[script](keys=keys, args=arguments))


def connect(settings: BusSettings, **options: Any) -> Redis:
    """A client that never tries again by itself, and whose callers set the time limits.

    A call that is cut off by its limit, or cancelled, takes its connection with it.
    """
    return Redis.from_url(
        settings.redis_url,
        socket_timeout=None,
        socket_connect_timeout=REQUEST_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **options,
    )


@contextmanager
def bus_errors() -> Generator[None]:
    """The driver's errors leave the block as errors of ours."""
    try:
        yield
    except (RedisError, OSError, TimeoutError, BusEmptied) as error:
        raise Unavailable(dependency="bus") from error


def position_of(entry_id: bytes) -> str:
    ms, _, count = entry_id.decode().partition("-")
    return f"{ms:0>13}-{count:0>13}"


def decode(fields: Mapping[bytes, bytes]) -> BusRecord:
    """An entry's event, or `Undecodable`."""
    try:
        return BusRecord(
            event_id=UUID(bytes=fields[b"id"]),
            lane=fields[b"lane"].decode(),
            type=fields[b"type"].decode(),
            payload=fields[b"payload"],
            headers=_headers(fields[b"headers"]),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Undecodable(f"not an event: {error!r}") from error


def _headers(text: bytes) -> Mapping[str, str]:
    if not text:
        return {}
    headers = json.loads(text)
    if not isinstance(headers, dict):
        raise TypeError(f"headers are {type(headers).__name__}")
    return {str(name): str(value) for name, value in headers.items()}
