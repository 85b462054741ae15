"""Changes that met another transaction are done again: callers see nothing of it."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import MethodOptions
from newsfeed.user.v1 import user_service_pb2 as pb

import user_svc
from tests.requests.sensible_requests import REQUESTS
from tests.stacks.user_stack import PASSWORD, UserStack, open_user_stack
from tests.troubles.outrun import outrun_in_postgres, use_cases_that_write

WRITES = [
    f"{service.name}.{method.name}"
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if method.GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS
]
# What there has to be before it can be taken away.
BEFORE = {
    "GraphService.UnfollowUser": "GraphService.FollowUser",
    "GraphService.UnblockUser": "GraphService.BlockUser",
    "GraphService.UnmuteUser": "GraphService.MuteUser",
}


@pytest.fixture(scope="module")
def tries() -> Counter[str]:
    """How often the work of each use case was done."""
    return Counter()


@pytest.fixture(scope="module")
async def outrun_stack(
    postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory, tries: Counter[str]
) -> AsyncIterator[UserStack]:
    """Every first try of a change fails in it."""
    folder = tmp_path_factory.mktemp("outrun")
    async with open_user_stack(
        postgres_dsn, folder, unit_of_work=outrun_in_postgres(tries)
    ) as stack:
        await stack.sign_up_with_role(pb.ROLE_ADMIN, "keeper")
        yield stack


async def test_every_change_of_user_svc_is_done_again_and_counts_once(
    user_stack: UserStack, outrun_stack: UserStack, tries: Counter[str]
) -> None:
    await user_stack.sign_up_with_role(pb.ROLE_ADMIN, "keeper")
    for rpc in WRITES:
        expected = await effect(user_stack, rpc)
        before = tries.total()
        assert await effect(outrun_stack, rpc) == expected, rpc
        assert tries.total() > before, rpc
    admin = await outrun_stack.app.accounts.create_admin("boss", "boss@example.com", PASSWORD)
    assert await outrun_stack.app.accounts.get_by_username("boss") == admin

    assert set(tries) == use_cases_that_write(Path(user_svc.__file__).parent)
    assert all(count % 2 == 0 for count in tries.values()), tries


async def effect(stack: UserStack, rpc: str) -> tuple[dict[str, int], list[str | None]]:
    """By how many rows each table grows with the call, and the events that tell of it."""
    caller = await stack.sign_up_with_role(pb.ROLE_ADMIN)
    request = (await REQUESTS[rpc](stack, caller)).SerializeToString()
    if rpc in BEFORE:
        await stack.call_raw(BEFORE[rpc], request, caller.metadata)
    before, rows_before = await stack.digest(), await stack.row_counts()
    async with stack.emitted() as events:
        await stack.call_raw(rpc, request, caller.metadata)
    assert await stack.digest() != before
    rows = await stack.row_counts()
    grown = {table: count - rows_before[table] for table, count in rows.items()}
    return grown, [event.WhichOneof("payload") for event in events]
