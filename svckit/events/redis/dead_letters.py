"""The dead letters of the Redis bus: one stream, read, put back or dropped by people."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import cast

from svckit.events.bus import DeadLetter, Undecodable
from svckit.events.delivery import for_one_group
from svckit.events.redis.bus import REQUEST_TIMEOUT_S, Entry, RedisBus, bus_errors, decode

PAGE_LETTERS = 100


class RedisDeadLetters:
    """`DeadLetters`."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus

    async def read(self) -> AsyncGenerator[DeadLetter, None]:
        first = "-"
        while True:
            with bus_errors():
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    reply = await self._bus.redis.xrange(
                        self._bus.dead_key, min=first, count=PAGE_LETTERS
                    )
            page = cast("list[Entry]", reply)
            for letter_id, fields in page:
                yield _letter(letter_id.decode(), fields)
            if len(page) < PAGE_LETTERS:
                return
            first = f"({page[-1][0].decode()}"

    async def redrive(self, letters: Sequence[DeadLetter]) -> int:
        """An event that was put back before it breaks half-way is on the bus and still here."""
        again = [(letter, letter.event) for letter in letters if letter.event is not None]
        with bus_errors():
            epoch = await self._bus.epoch()
            await self._bus.publish(
                epoch.name, [for_one_group(event, letter.group) for letter, event in again]
            )
        return await self.drop([letter for letter, _ in again])

    async def drop(self, letters: Sequence[DeadLetter]) -> int:
        if not letters:
            return 0
        ids = [letter.letter_id for letter in letters]
        with bus_errors():
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return await self._bus.redis.xdel(self._bus.dead_key, *ids)


def _letter(letter_id: str, fields: Mapping[bytes, bytes]) -> DeadLetter:
    try:
        event = decode(fields)
    except Undecodable:
        event = None
    return DeadLetter(
        letter_id=letter_id,
        group=fields[b"dead_group"].decode(),
        kind=fields[b"dead_kind"].decode(),
        text=fields[b"dead_text"].decode(errors="replace"),
        set_aside_at_ms=int(letter_id.partition("-")[0]),
        event=event,
    )
