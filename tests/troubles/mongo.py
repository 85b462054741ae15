"""MongoDB whose calls do on their way what a test wants: wait, come late, fail, meet others."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from svckit.mongo.client import Mongo, Transaction

T = TypeVar("T")
Step = Callable[[], Awaitable[None]]


async def nothing() -> None:
    pass


class TroubledMongo(Mongo):
    """`before_change` is done before each transaction, `after_step` after each of its calls."""

    def __init__(self, *made_of: Any) -> None:
        super().__init__(*made_of)
        self.before_change: Step = nothing
        self.after_step: Step = nothing

    async def run(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        await self.before_change()
        return await super().run(work)

    async def do(self, call: Callable[..., Awaitable[T]], *args: object, **options: object) -> T:
        answer = await super().do(call, *args, **options)
        if isinstance(getattr(call, "__self__", None), Transaction):
            await self.after_step()
        return answer
