"""Password hashes: Argon2id, off the event loop, few at once and not many waiting."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2

from svckit.errors import ResourceExhausted

T = TypeVar("T")

# OWASP's first recommendation for Argon2id: about 20 ms and 19 MiB a hash.
MEMORY_KIB = 19_456
ITERATIONS = 2
LANES = 1
RETRY_AFTER_S = 1.0


class Passwords:
    """Hashes and checks passwords. Close it to let its threads go."""

    def __init__(self, threads: int, waiting_max: int) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=ITERATIONS, memory_cost=MEMORY_KIB, parallelism=LANES
        )
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._places = threading.BoundedSemaphore(threads + waiting_max)
        self._nobodys_hash = self._hasher.hash("the password of nobody")

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        return await self._work(lambda: self._hasher.hash(password))

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Is it the password? Without a hash (nobody has this login) the answer takes as long."""
        known = password_hash is not None
        return await self._work(lambda: self._verify(password_hash, password)) and known

    def _verify(self, password_hash: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash or self._nobodys_hash, password)
        except argon2.exceptions.VerificationError:
            return False

    async def _work(self, work: Callable[[], T]) -> T:
        """The place is given back when the thread is done, also when nobody waits any more."""
        if not self._places.acquire(blocking=False):
            raise ResourceExhausted(RETRY_AFTER_S)
        future = self._executor.submit(work)
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)
