"""The settings of the gateway, from the environment."""

import ipaddress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from gateway.head import Network
from gateway.model import Limit
from svckit.program import ProcessSettings
from svckit.service_settings import own_keys_file, service_keys_file, target
from svckit.settings import PORT_MAX, Secret, SettingsError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How connections are served."""

    host: str = setting("BIND_HOST", "address that HTTP listens on", "0.0.0.0")  # noqa: S104 in a container that is the only useful one
    port: int = setting("GATEWAY_PORT", "HTTP port", 8080, at_least=0, at_most=PORT_MAX)
    connections_max: int = setting("CONNECTIONS_MAX", "open connections", 4000, at_least=1)
    head_timeout_s: float = setting(
        "HEAD_TIMEOUT_S", "for a request's head to arrive, and for its body", 10.0, at_least=0.1
    )
    write_timeout_s: float = setting(
        "WRITE_TIMEOUT_S", "for a reader that takes nothing", 10.0, at_least=0.1
    )
    keep_alive_s: float = setting(
        "KEEP_ALIVE_S", "that an idle connection stays open", 75.0, at_least=1
    )
    drain_delay_s: float = setting(
        "DRAIN_DELAY_S", "pause between saying not ready and refusing connections", 0.5, at_least=0
    )
    drain_timeout_s: float = setting(
        "DRAIN_TIMEOUT_S", "time that requests in progress have to end", 20.0, at_least=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacitySettings:
    """How much is served at once."""

    requests_max: int = setting("REQUESTS_MAX", "at once, to each service", 64, at_least=1)
    request_timeout_s: float = setting("REQUEST_TIMEOUT_S", "longest request", 10.0, at_least=0.1)
    streams_max: int = setting("STREAMS_MAX", "live streams at once", 2000, at_least=0)
    streams_per_reader_max: int = setting(
        "STREAMS_PER_PERSON_MAX", "live streams of one person", 10, at_least=1
    )
    stream_timeout_s: float = setting("STREAM_TIMEOUT_S", "longest stream", 3600.0, at_least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How much one may ask for. Counted in Redis; without one in each process."""

    person: str = setting("RATE_LIMIT_PERSON", "requests/seconds of a person; 0 = off", "1500/300")
    address: str = setting(
        "RATE_LIMIT_ADDRESS", "of an address, by people who are not signed in", "300/300"
    )
    login: str = setting(
        "RATE_LIMIT_LOGIN", "of an address, for calls that take a password", "25/300"
    )
    url: Secret = setting("REDIS_URL", "Redis for the counts; wins over host and port", Secret())
    host: str = setting("REDIS_HOST", "its host", "")
    redis_port: int = setting("REDIS_PORT", "its port", 6379, at_least=1, at_most=PORT_MAX)

    def __post_init__(self) -> None:
        problems = []
        for name, value in self._values():
            try:
                _limit(name, value)
            except ValueError:
                problems.append(f"RATE_LIMIT_{name.upper()}: must be like 300/60, or 0")
        if problems:
            raise SettingsError(problems)

    def limits(self) -> dict[str, Limit]:
        """The limits that are on, by name."""
        found = {name: _limit(name, value) for name, value in self._values()}
        return {name: limit for name, limit in found.items() if limit is not None}

    def full_url(self) -> str:
        return self.url or (f"redis://{quote(self.host)}:{self.redis_port}/0" if self.host else "")

    def _values(self) -> tuple[tuple[str, str], ...]:
        return ("person", self.person), ("address", self.address), ("login", self.login)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """Where the services are; the names of the fields are theirs."""

    user_svc: str = target("user_svc", "dns:///localhost:50051")
    content_svc: str = target("content_svc")
    feed_svc: str = target("feed_svc")
    analytics_svc: str = target("analytics_svc")

    def offered(self) -> dict[str, str]:
        return {name: target for name, target in asdict(self).items() if target}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the program."""

    process: ProcessSettings
    server: ServerSettings
    capacity: CapacitySettings
    limits: LimitSettings
    targets: TargetSettings
    own_keys_file: Path = own_keys_file()
    service_keys_file: Path = service_keys_file()
    trusted_proxies: str = setting(
        "TRUSTED_PROXIES", "networks, by commas, whose X-Forwarded-For is believed", ""
    )
    cors_origins: str = setting(
        "CORS_ORIGINS", "origins, by commas, whose pages may call; * = all", ""
    )
    public_max_age_s: int = setting(
        "PUBLIC_MAX_AGE_S", "that caches keep what is public", 10, at_least=0
    )

    def __post_init__(self) -> None:
        try:
            self.proxy_networks()
        except ValueError as error:
            raise SettingsError([f"TRUSTED_PROXIES: {error}"]) from None

    def proxy_networks(self) -> list[Network]:
        return [ipaddress.ip_network(each) for each in _parts(self.trusted_proxies)]

    def origins(self) -> frozenset[str]:
        return frozenset(_parts(self.cors_origins))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _limit(name: str, text: str) -> Limit | None:
    if text == "0":
        return None
    count, period_s = (int(part) for part in text.split("/"))
    if count < 1 or period_s < 1:
        raise ValueError(text)
    return Limit(name, count, float(period_s))
