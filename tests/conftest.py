"""Stores and running services for every test that asks: started when the first one needs them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from devstack import mongo, postgres, valkey
from devstack.errors import StackError
from devstack.servers import raise_open_files
from tests.ending import DEADLINE_S, RUN
from tests.stacks.content_stack import PATIENT, ContentStack, open_content_stack
from tests.stacks.databases import own_database
from tests.stacks.feed_stack import FeedStack, open_feed_stack
from tests.stacks.gateway_stack import GatewayStack, open_gateway_stack
from tests.stacks.user_stack import UserStack, open_user_stack
from tests.stores import throwaway


def pytest_configure() -> None:
    RUN.configure()
    try:
        raise_open_files()  # the servers of a test are in its own process
    except StackError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_sessionstart(session: pytest.Session) -> None:
    RUN.begin(session)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Nothing hangs for ever: a test that misses its deadline is the last one."""
    marker = item.get_closest_marker("deadline")
    with RUN.deadline(item.nodeid, marker.args[0] if marker else DEADLINE_S):
        return (yield)


@pytest.fixture(scope="session")
async def postgres_dsn() -> AsyncIterator[str]:
    """A running PostgreSQL, as a superuser: for tests that create their own databases."""
    async with throwaway(postgres.STORE) as dsn:
        yield dsn


@pytest.fixture(scope="session")
async def redis_url() -> AsyncIterator[str]:
    async with throwaway(valkey.STORE) as url:
        yield url


@pytest.fixture(scope="session")
async def mongodb_url() -> AsyncIterator[str]:
    async with throwaway(mongo.STORE) as url:
        yield url


@pytest.fixture
async def database_dsn(postgres_dsn: str) -> AsyncIterator[str]:
    """An empty database for this test alone."""
    async with own_database(postgres_dsn) as dsn:
        yield dsn


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
    """Beside the user_svc of the same file, for which it waits as long as a busy machine takes."""
    async with open_content_stack(mongodb_url, user_stack, keys_folder, limits=PATIENT) as stack:
        yield stack


@pytest.fixture(scope="module")
async def feed_stack(
    redis_url: str, content_stack: ContentStack, keys_folder: Path
) -> AsyncIterator[FeedStack]:
    """Beside the other two of the same file, on a Redis of its own."""
    async with (
        throwaway(valkey.STORE) as feed_redis_url,
        open_feed_stack(feed_redis_url, redis_url, content_stack, keys_folder) as stack,
    ):
        yield stack


@pytest.fixture(scope="module")
async def gateway_stack(feed_stack: FeedStack, keys_folder: Path) -> AsyncIterator[GatewayStack]:
    """Before all three services of the same file."""
    async with open_gateway_stack(
        keys_folder,
        USER_SVC_TARGET=feed_stack.contents.people.address,
        CONTENT_SVC_TARGET=feed_stack.contents.address,
        FEED_SVC_TARGET=feed_stack.address,
    ) as stack:
        yield stack
