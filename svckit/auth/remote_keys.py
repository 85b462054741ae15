"""The keys that another program signs with: fetched from it by one task, served from memory."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from svckit.auth.keys import JwkSet, VerifyingKey, parse_public_set
from svckit.errors import Unavailable

logger = logging.getLogger(__name__)


class RemoteKeys:
    """The public keys of another program, fetched by one task and served from memory.

    They are fetched every `interval_s`, and at once for an unknown key id unless the last fetch is
    less than `pause_s` ago: however many unknown ids come in, the rate of fetches is bounded and
    no caller waits for more than one. A failing fetch leaves the last set in force.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[JwkSet]],
        dependency: str,
        *,
        interval_s: float = 60.0,
        pause_s: float = 2.0,  # between two fetches, whatever is asked for
        timeout_s: float = 2.0,
    ) -> None:
        self._fetch = fetch
        self._dependency = dependency
        self._interval_s = interval_s
        self._pause_s = pause_s
        self._timeout_s = timeout_s
        self._keys: dict[str, VerifyingKey] | None = None
        self._wanted = asyncio.Event()
        self._attempted = asyncio.Event()
        self._resting = False
        self._failing = False

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key; raise `Unavailable` while no set was ever fetched."""
        if self._keys is None or (kid not in self._keys and not self._resting):
            self._wanted.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await self._attempted.wait()
        if self._keys is None:
            raise Unavailable(dependency=self._dependency)
        key = self._keys.get(kid)
        return key.public if key else None

    async def run(self) -> None:
        """Fetch for ever; a failure is logged once, and so is its end."""
        while True:
            self._wanted.clear()
            await self._refresh()
            self._attempted.set()
            self._attempted = asyncio.Event()
            # A caller that asks for an unknown key within the pause is answered at once.
            self._resting = True
            await asyncio.sleep(self._pause_s)
            self._resting = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s if self._failing else self._interval_s):
                    await self._wanted.wait()

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                self._keys = parse_public_set(await self._fetch())
        except Exception as error:  # noqa: BLE001 whatever it is, the last set stays in force
            if not self._failing:
                logger.warning("keys_fetch_failed", extra={"error": repr(error)})
            self._failing = True
        else:
            if self._failing:
                logger.info("keys_fetch_recovered")
            self._failing = False
