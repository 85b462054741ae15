"""Bad values for request fields, and the check that they are refused and change nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from tests.requests.refusals import refusal_of
from tests.stacks.user_stack import Client

OK = "OK"
INVALID_FIELD = "INVALID_ARGUMENT INVALID_FIELD"

# Put in the place of a good value, or (with {}) around one.
BAD = {
    "empty": "",
    "too long": "x" * 2_001,
    "1 MB": "x" * 2**20,
    "1 MB of four-byte characters": "\U0001f600" * 2**18,
    "NUL": "{}\0",
    "control character": "{}\x07{}",
    "escape sequence": "\x1b[2J{}",
    "bidirectional override": "{}\u202e{}",
    "bidirectional isolate": "\u2066{}",
    "invisible character": "{}\u200b{}",
    "byte order mark": "\ufeff{}",
    "noncharacter": "{}\uffff",
    "private use": "{}\ue000",
    "tag character": "{}\U000e0041",
    "only spaces": " " * 12,
    "only wide spaces": "\u3000" * 12,
}
NO_UTF8 = {
    "lone surrogate": b"\xed\xa0\x80",
    "NUL in two bytes": b"\xc0\x80?",
    "cut off": b"??\xf0",
    "never UTF-8": b"\xff\xfe\xfd",
}


class Stack(Protocol):
    async def call_raw(self, rpc: str, data: bytes, metadata: Any) -> bytes: ...
    async def digest(self) -> object: ...


@dataclass(frozen=True)
class Case:
    """A request with one bad value, by whom it is sent, and what comes of it."""

    name: str
    client: Client
    data: bytes
    expected: str


async def says(stack: Stack, rpc: str, case: Case, named: str) -> str:
    """The answer; an INVALID_ARGUMENT has to name the field that is wrong, and no other."""
    try:
        await stack.call_raw(rpc, case.data, case.client.metadata)
    except grpc.aio.AioRpcError as error:
        refused = refusal_of(error)
        if refused.code is grpc.StatusCode.INVALID_ARGUMENT:
            assert refused.fields == (named,), case.name
        return refused.says
    return OK


async def check(stack: Stack, rpc: str, cases: Sequence[Case], named: str) -> None:
    """Every case is answered as expected, and what is refused changes nothing."""
    refused = [case for case in cases if case.expected != OK]
    before = await stack.digest()
    answers = {case.name: await says(stack, rpc, case, named) for case in refused}
    assert answers == {case.name: case.expected for case in refused}
    assert await stack.digest() == before
    served = [case for case in cases if case.expected == OK]
    answers = {case.name: await says(stack, rpc, case, named) for case in served}
    assert answers == {case.name: OK for case in served}
