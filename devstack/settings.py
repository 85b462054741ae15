"""The user's choices: where the data lies, which stores are given, the programs' ports."""

from dataclasses import dataclass
from pathlib import Path

from svckit.postgres.client import PostgresSettings
from svckit.settings import PORT_MAX, Secret, setting


@dataclass(frozen=True, slots=True)
class GivenStores:
    """Stores that run already; devstack starts its own for those left empty."""

    postgres: PostgresSettings
    redis_url: Secret = setting("REDIS_URL", "Redis to use", Secret(""))
    redis_host: str = setting("REDIS_HOST", "Redis to use, in parts: host", "")
    redis_port: int = setting("REDIS_PORT", "port", 6379, at_least=1, at_most=PORT_MAX)
    bus_redis_url: Secret = setting("BUS_REDIS_URL", "Redis for events, if apart", Secret(""))
    mongodb_url: Secret = setting("MONGODB_URL", "MongoDB replica set to use", Secret(""))

    def urls(self) -> dict[str, str]:
        """The URL of each given store by the variable that the programs read."""
        redis = self.redis_url
        if not redis and self.redis_host:
            redis = Secret(f"redis://{self.redis_host}:{self.redis_port}/0")
        urls = {
            "POSTGRES_DSN": self.postgres.url(),
            "REDIS_URL": redis,
            "BUS_REDIS_URL": self.bus_redis_url,
            "MONGODB_URL": self.mongodb_url,
        }
        return {variable: url for variable, url in urls.items() if url}


@dataclass(frozen=True, slots=True)
class StackSettings:
    given: GivenStores
    data_dir: Path = setting("DATA_DIR", "data, keys, logs of the stack", Path(".data"))
    user_svc_port: int = setting(
        "USER_SVC_PORT", "gRPC port of user_svc", 50051, at_least=1, at_most=PORT_MAX
    )
    content_svc_port: int = setting(
        "CONTENT_SVC_PORT", "gRPC port of content_svc", 50052, at_least=1, at_most=PORT_MAX
    )
    feed_svc_port: int = setting(
        "FEED_SVC_PORT", "gRPC port of feed_svc", 50053, at_least=1, at_most=PORT_MAX
    )
    gateway_port: int = setting(
        "GATEWAY_PORT", "HTTP port of the gateway", 8080, at_least=1, at_most=PORT_MAX
    )
