"""The call that is being served, carried in a context variable.

The server sets it once a call; logs, outgoing calls and use cases read it. Work that no caller
waits for (relays, folding, purges) runs without one.
"""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

from svckit.auth.tokens import Caller
from svckit.errors import Unauthenticated


@dataclass(slots=True)
class Call:
    """One call in progress. `deadline_s` is on the monotonic clock."""

    method: str
    request_id: str
    deadline_s: float
    traceparent: str | None = None
    caller: Caller | None = None
    token: str | None = None

    def remaining_s(self) -> float:
        return self.deadline_s - time.monotonic()


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)


def current_caller() -> Caller:
    """The caller. The access rule of every rpc that is not PUBLIC guarantees that there is one."""
    call = current_call.get()
    if call is None or call.caller is None:
        raise Unauthenticated
    return call.caller


def calling_user_id() -> UUID:
    """The person who calls; an rpc for people has one."""
    user_id = current_caller().user_id
    assert user_id is not None
    return user_id
