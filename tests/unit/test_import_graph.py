"""The architecture as a test: which file may import what (docs/architecture.md has the table)."""

from pathlib import Path

import pytest

from tests.unit.import_rules import PROGRAM, RULES, File, broken_rules

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    path.relative_to(ROOT).as_posix()
    for package in (*PROGRAM, "devstack", "tests", "bench")
    for path in sorted((ROOT / package).rglob("*.py"))
]

PLANTED = {
    "services_share_protos_and_svckit_alone": [
        ("user_svc/graph.py", "import content_svc.model"),
        ("content_svc/posts.py", "from tests import polling"),
    ],
    "svckit_knows_no_service": [
        ("svckit/batches.py", "from feed_svc.model import Place"),
        ("svckit/batches.py", "from newsfeed.user.v1 import x"),
    ],
    "tests_need_no_bench": [("tests/unit/test_x.py", "from bench.tools import stack")],
    "drivers_stay_in_their_rooms": [
        ("feed_svc/home.py", "import redis.asyncio"),
        ("gateway/limits.py", "from redis import Redis"),
        ("svckit/events/relay.py", "import redis"),
        ("svckit/postgres/outbox.py", "from bson import ObjectId"),
        ("content_svc/like_store.py", "import motor"),
        ("user_svc/store.py", "from asyncpg import Record"),
        ("svckit/mongo/errors.py", "import grpc"),
    ],
    "engines_are_known_where_one_is_chosen": [
        ("feed_svc/app.py", "from svckit.events.redis.consumer import RedisConsumer"),
        ("user_svc/__main__.py", "import svckit.events.redis.publisher"),
        ("svckit/redrive.py", "from svckit.events import redis"),
        ("tests/stacks/feed_stack.py", "import svckit.events.redis"),
    ],
    "rooms_know_few_others": [
        ("svckit/auth/tokens.py", "from svckit.rpc.client import x"),
        ("svckit/mongo/client.py", "import svckit.rpc.status"),
        ("svckit/events/relay.py", "from svckit.postgres import outbox"),
        ("svckit/batches.py", "from svckit import auth"),
    ],
    "data_flows_in_one_direction": [
        ("feed_svc/model.py", "from svckit.rpc.limits import x"),
        ("feed_svc/window_store.py", "from feed_svc.home import Home"),
        ("content_svc/likes.py", "from content_svc.app import App"),
    ],
    "messages_end_at_the_edges": [
        ("gateway/routes.py", "from newsfeed.user.v1 import x\nx.User()"),
    ],
    "imports_are_absolute": [("gateway/routes.py", "from . import model")],
    "the_environment_is_read_in_one_place": [("gateway/routes.py", "import os\nos.getenv('X')")],
    "files_can_be_read_in_one_sitting": [("gateway/routes.py", "x = 1\n" * 401)],
    "tests_hand_values_in": [
        ("tests/unit/test_x.py", "import unittest.mock"),
        ("tests/unit/test_x.py", "def test(monkeypatch, home): monkeypatch.setattr(home, 'X', 1)"),
        ("tests/unit/test_x.py", "from feed_svc import home\nhome.X = 1"),
        ("tests/unit/test_x.py", "from feed_svc.home import Home\nHome.run.x += 1"),
        ("tests/unit/test_x.py", "import feed_svc\nsetattr(feed_svc.home, 'X', 1)"),
        ("tests/unit/test_x.py", "from feed_svc.home import X\nX['a'] = 1"),
        ("tests/unit/test_x.py", "from feed_svc.home import X\ndel X.y"),
    ],
}
"""By the rule that refuses them: files with something wrong in them."""

ALLOWED = [
    ("svckit/events/engine.py", "from svckit.events.redis.bus import RedisBus"),
    ("svckit/rpc/identity.py", "from svckit.auth.tokens import x\nfrom newsfeed.user.v1 import y"),
    ("tests/contract/redis_engine.py", "from svckit.events.redis.bus import RedisBus"),
    ("feed_svc/window_store.py", "import redis\nfrom feed_svc.model import Place"),
    ("feed_svc/hydrate.py", "from newsfeed.feed.v1 import x as pb\npb.FeedItem.POST_FIELD_NUMBER"),
    ("tests/unit/test_x.py", "from feed_svc.home import Home\nhome = Home()\nhome.x = 1"),
    ("tests/unit/test_x.py", "def test(monkeypatch): monkeypatch.setenv('X', '1')"),
    ("tests/unit/test_x.py", "def test(message): setattr(message, 'name', 1)"),
]


def planted() -> list[tuple[str, str, str]]:
    return [(rule, *file) for rule, files in PLANTED.items() for file in files]


def test_there_is_something_to_check() -> None:
    for package in (*PROGRAM, "tests"):
        assert len([name for name in FILES if name.startswith(f"{package}/")]) > 10


@pytest.mark.parametrize("name", FILES)
def test_file_keeps_the_rules(name: str) -> None:
    broken = broken_rules(File(name, (ROOT / name).read_text(encoding="utf-8")))
    assert broken == []


@pytest.mark.parametrize(("rule", "name", "source"), planted())
def test_planted_mistake_is_refused_by_its_rule(rule: str, name: str, source: str) -> None:
    assert {each.partition(":")[0] for each in broken_rules(File(name, source))} == {rule}


def test_every_rule_refuses_something() -> None:
    assert set(PLANTED) == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize(("name", "source"), ALLOWED)
def test_good_file_is_not_refused(name: str, source: str) -> None:
    assert broken_rules(File(name, source)) == []
