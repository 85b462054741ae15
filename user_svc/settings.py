"""The settings of user_svc, from the environment."""

from dataclasses import dataclass
from pathlib import Path

from svckit.events.settings import BusSettings
from svckit.postgres.client import PostgresSettings
from svckit.program import ProcessSettings
from svckit.rpc.server import ServerSettings
from svckit.service_settings import page_token_key, service_keys_file
from svckit.settings import PORT_MAX, Secret, SettingsError, setting
from user_svc.maintenance import MaintenanceSettings
from user_svc.model import GraphSettings
from user_svc.passwords import PasswordSettings
from user_svc.sessions import SessionSettings
from user_svc.store import SearchSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the program."""

    process: ProcessSettings
    server: ServerSettings
    postgres: PostgresSettings
    bus: BusSettings
    passwords: PasswordSettings
    sessions: SessionSettings
    search: SearchSettings
    graph: GraphSettings
    maintenance: MaintenanceSettings
    port: int = setting("USER_SVC_PORT", "gRPC port", 50051, at_least=0, at_most=PORT_MAX)
    user_keys_file: Path = setting(
        "USER_TOKEN_KEYS_FILE", "JWK set with the private keys that sign people's tokens"
    )
    service_keys_file: Path = service_keys_file()
    page_token_key: Secret = page_token_key()

    def __post_init__(self) -> None:
        if not self.postgres.url():
            raise SettingsError(["POSTGRES_DSN or POSTGRES_HOST: required (where PostgreSQL is)"])
