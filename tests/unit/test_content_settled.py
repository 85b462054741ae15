"""A purge is looked after until whatever was under way at the deletion can only be over."""

from dataclasses import replace

from content_svc.app import settled_ms
from svckit.auth.revocations import RevocationSettings
from svckit.mongo.client import MongoSettings
from svckit.rpc.server import ServerSettings
from svckit.settings import load

MONGO = MongoSettings("mongodb://nowhere", "content")
SERVER = load(ServerSettings, {})
REVOCATIONS = RevocationSettings()
COMMITS_S = 2 * MONGO.call_timeout_s  # the driver tries again when nobody knows how it ended


def test_a_deletion_and_a_like_that_began_before_its_commit() -> None:
    transaction_s = MONGO.transaction_timeout_s + COMMITS_S
    assert settled_ms(MONGO, SERVER, REVOCATIONS) > 2 * transaction_s * 1000


def test_the_last_call_with_the_access_token_of_who_has_left() -> None:
    known_s = REVOCATIONS.poll_every_s + REVOCATIONS.fetch_timeout_s
    last_call_s = SERVER.call_timeout_s + COMMITS_S
    assert settled_ms(MONGO, SERVER, REVOCATIONS) > (known_s + last_call_s) * 1000


def test_it_moves_with_whatever_it_has_to_outlast() -> None:
    before_ms = settled_ms(MONGO, SERVER, REVOCATIONS)
    slow = replace(MONGO, transaction_timeout_s=MONGO.transaction_timeout_s + 10)
    assert settled_ms(slow, SERVER, REVOCATIONS) > before_ms + 10_000
    patient = replace(SERVER, call_timeout_s=SERVER.call_timeout_s + 10)
    assert settled_ms(MONGO, patient, REVOCATIONS) > before_ms + 10_000
    seldom = replace(REVOCATIONS, poll_every_s=REVOCATIONS.poll_every_s + 10)
    assert settled_ms(MONGO, SERVER, seldom) > before_ms + 10_000
