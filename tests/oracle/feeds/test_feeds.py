"""Every home feed is the truth: see `machine`. ORACLE_SECONDS says how long to look for others."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devstack import valkey
from tests.oracle.feeds.hunt import FIND_AND_SHRINK, hunt
from tests.oracle.feeds.system import Stores, open_system
from tests.oracle.feeds.world import World
from tests.stores import throwaway

SECONDS = float(os.environ.get("ORACLE_SECONDS", "150"))


@pytest.fixture
async def world(postgres_dsn: str, mongodb_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """With a bus of its own, and a Redis for feeds alone, as it is emptied again and again."""
    async with throwaway(valkey.STORE) as feed_url, throwaway(valkey.STORE) as bus_url:
        stores = Stores(postgres_dsn, mongodb_url, feed_url, bus_url)
        async with open_system(stores, tmp_path) as system:
            yield World(system)


@pytest.mark.deadline(SECONDS + 900)
async def test_home_feeds_are_the_truth(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    told = await hunt(world, SECONDS, FIND_AND_SHRINK)
    with capsys.disabled():
        sys.stdout.write(f"\noracle: {told}\n")
