"""A running user_svc and content_svc for the tests of what they answer."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.content_stack import ContentStack, open_content_stack
from tests.support.user_stack import UserStack, open_user_stack


@pytest.fixture(scope="module")
def keys_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
async def user_stack(postgres_dsn: str, keys_folder: Path) -> AsyncIterator[UserStack]:
    """Shared by the tests of a file, which keep out of each other's way by new people."""
    async with open_user_stack(postgres_dsn, keys_folder) as stack:
        yield stack


@pytest.fixture(scope="module")
async def content_stack(
    mongodb_url: str, user_stack: UserStack, keys_folder: Path
) -> AsyncIterator[ContentStack]:
    """Beside the user_svc of the same file."""
    async with open_content_stack(mongodb_url, user_stack, keys_folder) as stack:
        yield stack
