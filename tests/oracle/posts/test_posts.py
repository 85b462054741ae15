"""content_svc and its events are what they have to be: see `play`.

ORACLE_SECONDS says how long to look, CONTENT_ORACLE_SEED for what.
"""

import os
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devstack import valkey
from tests.oracle.posts.play import Play
from tests.oracle.posts.system import System, open_system
from tests.stores import throwaway

SECONDS = float(os.environ.get("ORACLE_SECONDS", "40"))
SEED = int(os.environ.get("CONTENT_ORACLE_SEED", "0")) or random.randrange(1, 1_000_000)


@pytest.fixture
async def system(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[System]:
    async with (
        throwaway(valkey.STORE) as bus_url,
        open_system(postgres_dsn, bus_url, tmp_path) as system,
    ):
        yield system


@pytest.mark.deadline(SECONDS + 900)
async def test_content_is_what_its_events_tell(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    began_s = time.monotonic()
    play = Play(system, SEED)
    try:
        await play.begin()
        while time.monotonic() < began_s + SECONDS:
            await play.round()
    except BaseException as error:
        error.add_note(play.story.told(error))
        error.add_note(f"CONTENT_ORACLE_SEED={SEED}, after {time.monotonic() - began_s:.0f} s")
        raise
    with capsys.disabled():
        sys.stdout.write(
            f"\noracle of content: seed {SEED}, {play.rounds} rounds, {play.deeds} deeds of which "
            f"{play.acknowledged} were acknowledged, mongod killed {system.kills} times\n"
        )
