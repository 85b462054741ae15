"""Password hashes: Argon2id, off the event loop, few at once and not many waiting."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import argon2

from svckit.errors import ResourceExhausted
from svckit.settings import setting

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordSettings:
    """How hard hashing is, and how much of it there may be at once."""

    threads: int = setting(
        "PASSWORD_THREADS", "passwords hashed at once", 1, at_least=1, at_most=64
    )
    waiting_max: int = setting(
        "PASSWORDS_WAITING_MAX", "passwords that wait to be hashed", 100, at_least=0
    )
    # OWASP's first recommendation for Argon2id: about 20 ms and 19 MiB a hash.
    memory_kib: int = 19_456
    iterations: int = 2
    lanes: int = 1
    retry_after_s: float = 1.0  # for a caller that is refused


class Passwords:
    """Hashes and checks passwords. Close it to let its threads go."""

    def __init__(self, settings: PasswordSettings) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.iterations,
            memory_cost=settings.memory_kib,
            parallelism=settings.lanes,
        )
        self._executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="passwords")
        self._slots = threading.BoundedSemaphore(settings.threads + settings.waiting_max)
        self._retry_after_s = settings.retry_after_s
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
        """The slot is given back when the thread is done, also when nobody waits any more."""
        if not self._slots.acquire(blocking=False):
            raise ResourceExhausted(self._retry_after_s)
        future = self._executor.submit(work)
        future.add_done_callback(lambda _: self._slots.release())
        return await asyncio.wrap_future(future)
