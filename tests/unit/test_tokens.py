import asyncio
import contextlib
import json
import logging
from datetime import UTC, datetime
from uuid import uuid4

import jwt
import pytest

from svckit.auth.keys import KeyFileError, SigningKeys, StaticKeys, public_set
from svckit.auth.remote_keys import RemoteKeys
from svckit.auth.revocations import Revocations
from svckit.auth.tokens import (
    Role,
    ServiceTokenSource,
    TokenExpired,
    TokenInvalid,
    TokenRevoked,
    TokenVerifier,
    UserTokenSigner,
)
from svckit.errors import Unauthenticated, Unavailable
from svckit.keys import main
from tests.clock import ManualClock
from tests.polling import until
from tests.troubles.forgeries import (
    REVOKED_SESSION_ID,
    assemble,
    forgeries,
    genuine,
    genuine_service,
)


class CountingKeys:
    """A key source that counts how often it is asked."""

    def __init__(self, keys):
        self.keys = keys
        self.asked = 0

    async def find(self, kid):
        self.asked += 1
        return await self.keys.find(kid)


async def nothing_revoked(_since):
    return []


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def user_keys(tmp_path, clock):
    main(["new", str(tmp_path / "user.json"), "--kid", "people.1"])
    return SigningKeys(tmp_path / "user.json", clock)


@pytest.fixture
def feed_keys(tmp_path, clock):
    main(["new", str(tmp_path / "feed.json"), "--kid", "feed_svc.1"])
    return SigningKeys(tmp_path / "feed.json", clock)


@pytest.fixture
def service_keys(tmp_path, clock, feed_keys):
    main(["new", str(tmp_path / "content.json"), "--kid", "content_svc.1"])
    content_keys = SigningKeys(tmp_path / "content.json")
    public = public_set([feed_keys.signing_key(), content_keys.signing_key()])
    (tmp_path / "services.json").write_text(json.dumps(public))
    return StaticKeys(tmp_path / "services.json", clock)


@pytest.fixture
def revocations(clock):
    revocations = Revocations(nothing_revoked, clock)
    revocations.add(REVOKED_SESSION_ID)
    return revocations


@pytest.fixture
def counted(user_keys):
    return CountingKeys(user_keys)


@pytest.fixture
def verifier(counted, service_keys, revocations, clock):
    return TokenVerifier(counted, service_keys, revocations, clock=clock)


@pytest.fixture
def signer(user_keys, clock):
    return UserTokenSigner(user_keys, clock=clock)


@pytest.mark.parametrize("role", [Role.USER, Role.MODERATOR, Role.ADMIN])
async def test_a_person_is_known_by_their_token(verifier, signer, role):
    user_id, session_id = uuid4(), uuid4()
    token, expire_time = signer.sign(user_id, session_id, role)
    caller = await verifier.verify(token)
    assert (caller.role, caller.user_id, caller.session_id) == (role, user_id, session_id)
    assert caller.service_name is None
    assert caller.expire_time == expire_time == datetime.fromtimestamp(1_800_000_900, UTC)
    assert await verifier.verify(token) == caller


async def test_a_service_is_known_by_its_token(verifier, feed_keys, clock):
    caller = await verifier.verify(ServiceTokenSource(feed_keys, "feed_svc", clock=clock).token())
    assert (caller.role, caller.service_name) == (Role.SERVICE, "feed_svc")
    assert (caller.user_id, caller.session_id) == (None, None)


def test_a_token_says_what_the_contract_promises(signer):
    token, _ = signer.sign(uuid4(), uuid4(), Role.USER)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert set(claims) == {"iss", "aud", "sub", "iat", "exp", "jti", "sid", "role"}
    assert claims["exp"] - claims["iat"] == 900
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "kid": "people.1", "typ": "at+jwt"}


def test_every_token_has_its_own_id(signer):
    user_id, session_id = uuid4(), uuid4()
    assert len({signer.sign(user_id, session_id, Role.USER)[0] for _ in range(9)}) == 9


async def test_every_forgery_is_refused(verifier, user_keys, feed_keys, clock):
    assert (await verifier.verify(genuine(user_keys, clock()))).role is Role.ADMIN
    assert (await verifier.verify(genuine_service(feed_keys, clock()))).role is Role.SERVICE
    forged = forgeries(user_keys, feed_keys, clock())
    assert len(set(forged.values())) == len(forged) > 150
    expected = dict.fromkeys(forged, TokenInvalid) | {
        "expired": TokenExpired,
        "expired this second": TokenExpired,
        "revoked session": TokenRevoked,
    }
    answers = {}
    for name, token in forged.items():
        try:
            answers[name] = await verifier.verify(token)
        except Unauthenticated as error:
            answers[name] = type(error)
    assert answers == expected


async def test_forgeries_can_travel_in_a_header(user_keys, feed_keys, clock):
    for name, token in forgeries(user_keys, feed_keys, clock()).items():
        assert token.isascii(), name
        assert token.isprintable(), name
        assert token.strip() == token, name


@pytest.mark.parametrize(
    "spoil",
    [
        "{}\n".format,
        "\n{}".format,
        " {}".format,
        "{} ".format,
        "{}\0".format,
        "\ufeff{}".format,
        "{}\ud800".format,
        lambda token: token.replace("e", "\u0435", 1),
        lambda token: token.replace("e", "\uff45", 1),
        lambda token: token.replace(".", "\u3002"),
        lambda _: "",
        lambda _: "x" * 1_000_000,
        lambda token: token * 100_000,
    ],
)
async def test_text_that_no_header_carries_is_refused(verifier, user_keys, clock, spoil):
    with pytest.raises(TokenInvalid):
        await verifier.verify(spoil(genuine(user_keys, clock())))


async def test_a_long_token_is_refused_before_it_is_read(verifier, counted, user_keys, clock):
    with pytest.raises(TokenInvalid):
        await verifier.verify(genuine(user_keys, clock()) + "A" * 4096)
    assert counted.asked == 0


async def test_why_a_token_is_refused_is_not_told(verifier):
    with pytest.raises(TokenInvalid) as caught:
        await verifier.verify("x.y.z")
    assert caught.value.metadata == {}


async def test_a_remembered_token_costs_no_look_at_the_keys(verifier, counted, signer):
    token, _ = signer.sign(uuid4(), uuid4(), Role.USER)
    for _ in range(5):
        await verifier.verify(token)
    assert counted.asked == 1


async def test_a_remembered_token_expires(verifier, signer, clock):
    token, expire_time = signer.sign(uuid4(), uuid4(), Role.USER)
    clock.now_s = expire_time.timestamp() - 10
    await verifier.verify(token)
    clock.now_s = expire_time.timestamp() - 0.001
    await verifier.verify(token)
    clock.now_s = expire_time.timestamp()
    for _ in range(2):
        with pytest.raises(TokenExpired):
            await verifier.verify(token)


async def test_a_remembered_token_is_revoked_at_once(verifier, signer, revocations):
    session_id = uuid4()
    token, _ = signer.sign(uuid4(), session_id, Role.USER)
    await verifier.verify(token)
    revocations.add(session_id)
    with pytest.raises(TokenRevoked):
        await verifier.verify(token)


async def test_a_remembered_token_falls_with_its_key(verifier, signer, user_keys, clock, tmp_path):
    token, _ = signer.sign(uuid4(), uuid4(), Role.USER)
    await verifier.verify(token)
    file = str(tmp_path / "user.json")
    main(["add", file, "--kid", "people.2"])
    main(["promote", file, "people.2"])
    clock.now_s += 61
    await verifier.verify(token)
    assert user_keys.signing_key().kid == "people.2"
    main(["remove", file, "people.1"])
    clock.now_s += 61
    with pytest.raises(TokenInvalid):
        await verifier.verify(token)


async def test_only_so_many_tokens_are_remembered(
    counted, service_keys, revocations, clock, signer
):
    verifier = TokenVerifier(
        counted, service_keys, revocations, verified_entries_max=3, clock=clock
    )
    first, second, *others = [signer.sign(uuid4(), uuid4(), Role.USER)[0] for _ in range(4)]
    for token in (first, second, others[0], first, others[1]):  # the last drives out `second`
        await verifier.verify(token)
    assert counted.asked == 4
    await verifier.verify(first)
    assert counted.asked == 4
    await verifier.verify(second)
    assert counted.asked == 5
    assert len(verifier._verified) == 3


async def test_refused_tokens_are_not_remembered(verifier, user_keys, feed_keys, clock):
    for name, token in forgeries(user_keys, feed_keys, clock()).items():
        if "expired" not in name and "revoked" not in name:
            with pytest.raises(Unauthenticated):
                await verifier.verify(token)
    assert len(verifier._verified) <= 3


@pytest.mark.parametrize(("ahead_s", "accepted"), [(30, True), (31, False)])
@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_clocks_may_differ_by_30_s(verifier, user_keys, clock, claim, ahead_s, accepted):
    key = user_keys.signing_key()
    claims = jwt.decode(genuine(user_keys, clock()), options={"verify_signature": False})
    claims |= {claim: int(clock()) + ahead_s}
    header = {"alg": "EdDSA", "kid": key.kid, "typ": "at+jwt"}
    token = assemble(header, claims, key.private.sign)
    clock.now_s = float(int(clock()))
    with contextlib.nullcontext() if accepted else pytest.raises(TokenInvalid):
        await verifier.verify(token)


def test_a_person_cannot_be_made_a_service(signer):
    with pytest.raises(ValueError, match="no service"):
        signer.sign(uuid4(), uuid4(), Role.SERVICE)


async def test_a_service_token_is_kept_until_its_last_minute(feed_keys, verifier, clock):
    source = ServiceTokenSource(feed_keys, "feed_svc", clock=clock)
    first = source.token()
    clock.now_s += 239
    assert source.token() == first
    clock.now_s += 2
    second = source.token()
    assert second != first
    await verifier.verify(first)
    clock.now_s += 239
    await verifier.verify(second)


def test_a_service_cannot_start_with_the_key_of_another(feed_keys, user_keys):
    for keys, name in ((feed_keys, "content_svc"), (user_keys, "feed_svc"), (feed_keys, "")):
        with pytest.raises(KeyFileError, match="not one of"):
            ServiceTokenSource(keys, name)


class Remote:
    """GetJwks of user_svc: counts fetches, fails when told to, answers when let."""

    def __init__(self, keys):
        self.keys = keys
        self.fetches = 0
        self.fetched: asyncio.Queue[None] = asyncio.Queue()
        self.failing = False
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self):
        self.fetches += 1
        self.fetched.put_nowait(None)
        await self.open.wait()
        if self.failing:
            raise Unavailable(dependency="user_svc")
        return public_set(self.keys)

    async def fetch_times(self, times):
        async with asyncio.timeout(5):
            for _ in range(times):
                await self.fetched.get()


@contextlib.asynccontextmanager
async def running(keys):
    task = asyncio.create_task(keys.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def remote(user_keys):
    return Remote([user_keys.signing_key()])


async def test_remote_keys_are_fetched_once_for_all_who_wait(remote):
    keys = RemoteKeys(remote.fetch, "user_svc")
    remote.open.clear()
    async with running(keys), asyncio.TaskGroup() as group:
        finds = [group.create_task(keys.find("people.1")) for _ in range(20)]
        await asyncio.sleep(0)
        remote.open.set()
    assert all(find.result() for find in finds)
    assert remote.fetches == 1


async def test_unknown_key_ids_do_not_multiply_fetches(remote):
    keys = RemoteKeys(remote.fetch, "user_svc", pause_s=60)
    async with running(keys):
        assert await keys.find("people.1")
        for number in range(100):
            assert await keys.find(f"unknown.{number}") is None
    assert remote.fetches == 1


async def test_a_new_key_is_fetched_when_its_first_token_comes(remote, tmp_path):
    keys = RemoteKeys(remote.fetch, "user_svc", pause_s=0)
    main(["new", str(tmp_path / "next.json"), "--kid", "people.2"])
    async with running(keys):
        assert await keys.find("people.1")
        remote.keys = [SigningKeys(tmp_path / "next.json").signing_key()]
        await until(lambda: not keys._resting)
        assert await keys.find("people.2")
        assert await keys.find("people.1") is None
    assert remote.fetches == 2


async def test_keys_are_fetched_again_without_being_asked_for(remote):
    async with running(RemoteKeys(remote.fetch, "user_svc", interval_s=0.001, pause_s=0)):
        await remote.fetch_times(3)


async def test_old_keys_serve_while_fetches_fail(remote, caplog):
    caplog.set_level(logging.INFO)
    keys = RemoteKeys(remote.fetch, "user_svc", interval_s=0.001, pause_s=0.001)
    async with running(keys):
        assert await keys.find("people.1")
        remote.failing = True
        await remote.fetch_times(5)
        assert await keys.find("people.1")
        assert await keys.find("unknown") is None
        remote.failing = False
        await remote.fetch_times(3)
    events = [record.message for record in caplog.records]
    assert events == ["keys_fetch_failed", "keys_fetch_recovered"]


async def test_without_any_keys_nobody_is_told_that_their_token_is_bad(
    remote, service_keys, revocations, user_keys, clock
):
    remote.failing = True
    keys = RemoteKeys(remote.fetch, "user_svc", timeout_s=0.01)
    verifier = TokenVerifier(keys, service_keys, revocations, clock=clock)
    async with running(keys):
        with pytest.raises(Unavailable):
            await verifier.verify(genuine(user_keys, clock()))


async def test_a_fetch_that_hangs_holds_nobody_for_long(remote):
    keys = RemoteKeys(remote.fetch, "user_svc", timeout_s=0.05, pause_s=0.001)
    remote.open.clear()
    async with running(keys):
        with pytest.raises(Unavailable):
            await keys.find("people.1")
        remote.open.set()
        await until(lambda: keys._keys is not None)
        assert await keys.find("people.1")
