"""What the user may choose: where the data lies, which stores are given, the programs' ports."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from svckit.settings import Secret, setting

PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class GivenStores:
    """Stores that run already; devstack starts its own for those left empty."""

    postgres_dsn: Secret = setting("POSTGRES_DSN", "PostgreSQL to use", Secret(""))
    postgres_host: str = setting("POSTGRES_HOST", "PostgreSQL to use, in parts: host", "")
    postgres_port: int = setting("POSTGRES_PORT", "port", 5432, at_least=1, at_most=PORT_MAX)
    postgres_user: str = setting("POSTGRES_USER", "user", "newsfeed")
    postgres_password: Secret = setting("POSTGRES_PASSWORD", "password", Secret(""))
    postgres_db: str = setting("POSTGRES_DB", "database", "newsfeed")
    redis_url: Secret = setting("REDIS_URL", "Redis to use", Secret(""))
    redis_host: str = setting("REDIS_HOST", "Redis to use, in parts: host", "")
    redis_port: int = setting("REDIS_PORT", "port", 6379, at_least=1, at_most=PORT_MAX)
    bus_redis_url: Secret = setting("BUS_REDIS_URL", "Redis for events, if apart", Secret(""))
    mongodb_url: Secret = setting("MONGODB_URL", "MongoDB replica set to use", Secret(""))

    def urls(self) -> dict[str, str]:
        """The URL of each given store by the variable that the programs read."""
        postgres = self.postgres_dsn
        if not postgres and self.postgres_host:
            login = f"{quote(self.postgres_user, safe='')}:{quote(self.postgres_password, safe='')}"
            address = f"{self.postgres_host}:{self.postgres_port}"
            postgres = Secret(f"postgresql://{login}@{address}/{quote(self.postgres_db, safe='')}")
        redis = self.redis_url
        if not redis and self.redis_host:
            redis = Secret(f"redis://{self.redis_host}:{self.redis_port}/0")
        urls = {
            "POSTGRES_DSN": postgres,
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
