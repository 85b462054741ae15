"""What user_svc reads from the environment."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from svckit.postgres import PostgresSettings
from svckit.server import ServerSettings
from svckit.settings import Secret, setting

PORT_MAX = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Where PostgreSQL is: one DSN, or its parts."""

    dsn: Secret = setting("POSTGRES_DSN", "PostgreSQL as one URL; wins over the parts", Secret())
    host: str = setting("POSTGRES_HOST", "PostgreSQL's host", "")
    port: int = setting("POSTGRES_PORT", "its port", 5432, at_least=1, at_most=PORT_MAX)
    user: str = setting("POSTGRES_USER", "its user", "newsfeed")
    password: Secret = setting("POSTGRES_PASSWORD", "its password", Secret())
    database: str = setting("POSTGRES_DB", "its database", "newsfeed")
    pool_size_max: int = setting("POSTGRES_POOL_MAX", "connections per process", 20, at_least=1)

    def postgres(self, application_name: str) -> PostgresSettings:
        dsn = self.dsn or (
            f"postgresql://{quote(self.user, '')}:{quote(self.password, '')}"
            f"@{self.host}:{self.port}/{quote(self.database, '')}"
        )
        return PostgresSettings(dsn, application_name, self.pool_size_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the program."""

    server: ServerSettings
    database: DatabaseSettings
    port: int = setting("USER_SVC_PORT", "gRPC port", 50051, at_least=0, at_most=PORT_MAX)
    metrics_port: int = setting(
        "USER_SVC_METRICS_PORT", "port of /metrics; 0 = off", 0, at_least=0, at_most=PORT_MAX
    )
    log_level: str = setting(
        "LOG_LEVEL", "from here on is logged", "info", choices=("debug", "info", "warning", "error")
    )
    user_keys_file: Path = setting(
        "USER_TOKEN_KEYS_FILE", "JWK set with the private keys that sign people's tokens"
    )
    service_keys_file: Path = setting(
        "SERVICE_JWKS_FILE", "JWK set with the public keys of all services"
    )
    page_token_key: Secret = setting(
        "PAGE_TOKEN_KEY", "signs page tokens; at least 32 characters, the same in every replica"
    )
    password_threads: int = setting(
        "PASSWORD_THREADS", "passwords hashed at once", 1, at_least=1, at_most=64
    )
    passwords_waiting_max: int = setting(
        "PASSWORDS_WAITING_MAX", "passwords that wait to be hashed", 100, at_least=0
    )
    otlp_endpoint: str = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT", "where traces go; all OTEL_* are read by the SDK", ""
    )
