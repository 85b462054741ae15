"""What user_svc reads from the environment."""

from dataclasses import dataclass
from pathlib import Path

from svckit.events.settings import BusSettings
from svckit.page_tokens import KEY_BYTES_MIN as PAGE_TOKEN_KEY_LENGTH_MIN
from svckit.postgres.client import PostgresSettings
from svckit.program import ProcessSettings
from svckit.rpc.server import ServerSettings
from svckit.settings import PORT_MAX, Secret, SettingsError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the program."""

    process: ProcessSettings
    server: ServerSettings
    postgres: PostgresSettings
    bus: BusSettings
    port: int = setting("USER_SVC_PORT", "gRPC port", 50051, at_least=0, at_most=PORT_MAX)
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

    def __post_init__(self) -> None:
        problems = []
        if not self.postgres.url():
            problems.append("POSTGRES_DSN or POSTGRES_HOST: required (where PostgreSQL is)")
        if len(self.page_token_key) < PAGE_TOKEN_KEY_LENGTH_MIN:
            problems.append(f"PAGE_TOKEN_KEY: must be at least {PAGE_TOKEN_KEY_LENGTH_MIN} long")
        if problems:
            raise SettingsError(problems)
