"""A part that a process needs and may be without: a store, or another program.

The first failure makes it silent. While it is silent nobody is kept waiting for it: calls are
refused at once, and a task of its own asks until it answers.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass

from svckit.errors import Unavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How a silent dependency is asked whether it is back."""

    every_s: float = 0.2
    timeout_s: float = 1.0


class Dependency:
    """`ask` returns when the dependency answers, and raises whatever it likes when it does not."""

    def __init__(
        self,
        name: str,
        ask: Callable[[], Awaitable[object]],
        settings: AskSettings | None = None,
        on_change: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._ask = ask
        self._settings = settings or AskSettings()
        self._on_change = on_change
        self._asking: asyncio.Task[None] | None = None

    @property
    def is_silent(self) -> bool:
        """It failed, and has not answered since."""
        return self._asking is not None

    def unavailable(self) -> Unavailable:
        return Unavailable(dependency=self._name)

    def require(self) -> None:
        """Raises `Unavailable` while the dependency is silent."""
        if self.is_silent:
            raise self.unavailable()

    def fall_silent(self, error: BaseException) -> None:
        """It did not answer somebody; harmless when that is known already."""
        if self._asking is None:
            told = {"dependency": self._name, "error": repr(error.__cause__ or error)}
            logger.warning("dependency_silent", extra=told)
            self._on_change(True)  # noqa: FBT003
            # In no call's context: it outlives the one that found out.
            loop = asyncio.get_running_loop()
            self._asking = loop.create_task(self._ask_until_it_answers(), context=Context())

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    async def _ask_until_it_answers(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    await self._ask()
                break
            except Exception:  # noqa: BLE001 whatever it is, it is no answer
                await asyncio.sleep(self._settings.every_s)
        self._asking = None
        logger.info("dependency_answers", extra={"dependency": self._name})
        self._on_change(False)  # noqa: FBT003
