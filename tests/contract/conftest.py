"""A running user_svc for the tests of what it answers."""

from collections.abc import AsyncIterator

import pytest

from tests.support.user_stack import UserStack, open_user_stack


@pytest.fixture(scope="module")
async def user_stack(
    postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[UserStack]:
    """Shared by the tests of a file, which keep out of each other's way by new people."""
    async with open_user_stack(postgres_dsn, tmp_path_factory.mktemp("keys")) as stack:
        yield stack
