"""Rate limits in a real Redis, and over HTTP: who is counted as whom, and what they are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlparse

import pytest
from redis.asyncio import Redis

from gateway.limit_store import RedisLimits, open_limit_store
from gateway.model import CountingBounds, Limit
from tests.polling import until
from tests.stacks.gateway_stack import GatewayStack, open_gateway_stack
from tests.stacks.user_stack import PASSWORD, UserStack
from tests.troubles.gate import gate_before

LOGIN = "/v1/auth/login"
ME = "/v1/me"
PERSON = Limit("person", 30, 3000.0)
LOGINS = Limit("login", 3, 3000.0)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisLimits]:
    bounds = CountingBounds(store_timeout_s=2.0)  # its speed is no matter here
    async with open_limit_store(redis_url, bounds) as store:
        assert store is not None
        yield store


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
        yield redis


@pytest.mark.usefixtures("redis")
async def test_exactly_as_many_pass_however_many_ask_at_once(store: RedisLimits) -> None:
    taken = await asyncio.gather(*(store.take("ada", [PERSON]) for _ in range(100)))
    passed = [each for (each,) in taken if each.retry_after_s == 0]
    assert sorted(each.remaining for each in passed) == list(range(30))
    refused = max((each for (each,) in taken), key=lambda each: each.retry_after_s)
    assert 95 < refused.retry_after_s <= 100
    assert 2990 < refused.recovery_s <= 3000


@pytest.mark.usefixtures("redis")
async def test_a_short_interval_passes(store: RedisLimits) -> None:
    quick = Limit("person", 2, 2.0)
    for _ in range(2):
        assert (await store.take("ada", [quick]))[0].retry_after_s == 0
    assert 0 < (await store.take("ada", [quick]))[0].retry_after_s <= 1.0

    async def passes() -> bool:
        return (await store.take("ada", [quick]))[0].retry_after_s == 0

    await until(passes)


@pytest.mark.usefixtures("redis")
async def test_over_one_limit_nothing_is_taken_from_another(store: RedisLimits) -> None:
    for _ in range(3):
        await store.take("192.0.2.1", [PERSON, LOGINS])
    (refused,) = await store.take("192.0.2.1", [PERSON, LOGINS])
    assert (refused.limit, refused.remaining) == (LOGINS, 0)
    assert (await store.take("192.0.2.1", [PERSON]))[0].remaining == 26


async def test_one_round_trip_and_nothing_is_left_behind(store: RedisLimits, redis: Redis) -> None:
    await store.take("ada", [PERSON])
    before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    await store.take("ada", [PERSON, LOGINS])
    after = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after == before + 1
    keys = await redis.keys("*")
    assert sorted(keys) == [b"limit:{ada}:login", b"limit:{ada}:person"]
    for key in keys:
        assert 0 < await redis.pttl(key) <= 3_000_000


@asynccontextmanager
async def limited(
    people: UserStack, keys_folder: Path, redis_url: str, **limits: str
) -> AsyncIterator[GatewayStack]:
    environ = {"USER_SVC_TARGET": people.address, "REDIS_URL": redis_url, **limits}
    async with open_gateway_stack(keys_folder, **environ) as stack:
        yield stack


@pytest.mark.usefixtures("redis")
async def test_a_person_is_told_what_is_left_and_when_to_come_back(
    user_stack: UserStack, keys_folder: Path, redis_url: str
) -> None:
    ada, bob = await user_stack.sign_up("ada"), await user_stack.sign_up("bob")
    async with limited(user_stack, keys_folder, redis_url, RATE_LIMIT_PERSON="2/60") as stack:
        first = await stack.request("GET", ME, ada.tokens.access_token)
        told = {
            name: first.headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset")
        }
        assert told == {"limit": "2", "remaining": "1", "reset": "30"}
        await stack.request("GET", ME, ada.tokens.access_token)
        refused = await stack.request("GET", ME, ada.tokens.access_token)
        assert (refused.status, refused.reason) == (429, "RATE_LIMITED")
        assert refused.error["status"] == "RESOURCE_EXHAUSTED"
        assert refused.error["details"][0]["metadata"] == {"limit": "person"}
        assert 28 <= int(refused.headers["retry-after"]) <= 30
        assert refused.headers["ratelimit-remaining"] == "0"
        other_session = await user_stack.log_in(ada)
        assert (await stack.request("GET", ME, other_session.tokens.access_token)).status == 429
        assert (await stack.request("GET", ME, bob.tokens.access_token)).status == 200


@pytest.mark.usefixtures("redis")
async def test_who_shows_no_good_token_counts_by_address_and_a_bad_token_is_no_way_around(
    user_stack: UserStack, keys_folder: Path, redis_url: str
) -> None:
    ada = await user_stack.sign_up("ada")
    async with limited(user_stack, keys_folder, redis_url, RATE_LIMIT_ADDRESS="3/60") as stack:
        for token in (None, "nonsense", "other.nonsense.x"):
            assert (await stack.request("GET", ME, token)).status == 401
        for token in (None, "third.nonsense.x"):
            assert (await stack.request("GET", ME, token)).status == 429
        assert (await stack.request("GET", ME, ada.tokens.access_token)).status == 200
        forged = await stack.request("GET", ME, None, None, x_forwarded_for="198.51.100.7")
        assert forged.status == 429
        assert (await stack.request("GET", "/healthz")).status == 200


@pytest.mark.usefixtures("redis")
async def test_log_in_has_a_limit_of_its_own_that_a_token_does_not_lift(
    user_stack: UserStack, keys_folder: Path, redis_url: str
) -> None:
    ada = await user_stack.sign_up("ada")
    wrong = {"login": ada.user.username, "password": "not the right one"}
    right = {"login": ada.user.username, "password": PASSWORD}
    async with limited(user_stack, keys_folder, redis_url, RATE_LIMIT_LOGIN="2/60") as stack:
        assert (await stack.request("POST", LOGIN, None, wrong)).reason == "WRONG_CREDENTIALS"
        assert (await stack.request("POST", LOGIN, None, wrong)).status == 401
        for token in (None, ada.tokens.access_token):
            refused = await stack.request("POST", LOGIN, token, right)
            assert refused.error["details"][0]["metadata"] == {"limit": "login"}
        change = {"currentPassword": PASSWORD, "newPassword": f"new {PASSWORD}"}
        guess = await stack.request("POST", "/v1/auth/password", ada.tokens.access_token, change)
        assert guess.status == 429
        again = {"refreshToken": ada.tokens.refresh_token}
        assert (await stack.request("POST", "/v1/auth/refresh", None, again)).status == 200
        assert (await stack.request("GET", "/.well-known/jwks.json")).status == 200


@pytest.mark.usefixtures("redis")
async def test_two_gateways_count_together(
    user_stack: UserStack, keys_folder: Path, redis_url: str
) -> None:
    ada = await user_stack.sign_up("ada")
    limits = {"RATE_LIMIT_PERSON": "4/600"}
    async with (
        limited(user_stack, keys_folder, redis_url, **limits) as one,
        limited(user_stack, keys_folder, redis_url, **limits) as other,
    ):
        found = [
            (await stack.request("GET", ME, ada.tokens.access_token)).status
            for stack in (one, other, one, other, one, other)
        ]
    assert found == [200] * 4 + [429] * 2


@pytest.mark.parametrize("way", ["shut", "freeze"])
@pytest.mark.usefixtures("redis")
async def test_without_redis_limits_are_local_and_nobody_waits(
    user_stack: UserStack, keys_folder: Path, redis_url: str, way: str
) -> None:
    ada = await user_stack.sign_up("ada")
    port = urlparse(redis_url).port
    assert port is not None
    loop = asyncio.get_running_loop()
    async with (
        gate_before(port) as gate,
        limited(
            user_stack, keys_folder, f"redis://127.0.0.1:{gate.port}/0", RATE_LIMIT_PERSON="5/600"
        ) as stack,
        stack.connection() as connection,
    ):
        assert (await connection.request("GET", ME, ada.tokens.access_token)).status == 200
        getattr(gate, way)()
        started_s = loop.time()
        statuses = [
            (await connection.request("GET", ME, ada.tokens.access_token)).status for _ in range(7)
        ]
        assert statuses == [200] * 5 + [429] * 2
        assert loop.time() - started_s < 2
        if way == "shut":
            await gate.open()
        gate.thaw()

        async def counts_there_again() -> bool:
            reply = await connection.request("GET", ME, ada.tokens.access_token)
            return reply.status == 200

        await until(counts_there_again)
