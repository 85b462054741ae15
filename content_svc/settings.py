"""What content_svc reads from the environment."""

from dataclasses import dataclass
from pathlib import Path

from svckit.events.settings import BusSettings
from svckit.mongo.client import MongoSettings
from svckit.page_tokens import KEY_BYTES_MIN as PAGE_TOKEN_KEY_LENGTH_MIN
from svckit.program import ProcessSettings
from svckit.rpc.server import ServerSettings
from svckit.settings import PORT_MAX, Secret, SettingsError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Where MongoDB is."""

    url: Secret = setting("MONGODB_URL", "MongoDB: a replica set, or sharded")
    database: str = setting("CONTENT_MONGODB_DB", "its database for content", "newsfeed_content")
    pool_size_max: int = setting(
        "MONGODB_POOL_MAX",
        "connections per process; more than 5 a CPU are not used",
        20,
        at_least=1,
    )

    def mongo(self, application_name: str) -> MongoSettings:
        return MongoSettings(self.url, self.database, application_name, self.pool_size_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the program."""

    process: ProcessSettings
    server: ServerSettings
    database: DatabaseSettings
    bus: BusSettings
    port: int = setting("CONTENT_SVC_PORT", "gRPC port", 50052, at_least=0, at_most=PORT_MAX)
    user_svc_target: str = setting(
        "USER_SVC_TARGET", "where user_svc is, as gRPC names it", "dns:///localhost:50051"
    )
    own_keys_file: Path = setting(
        "SERVICE_KEY_FILE", "JWK set with the private key of this service"
    )
    service_keys_file: Path = setting(
        "SERVICE_JWKS_FILE", "JWK set with the public keys of all services"
    )
    page_token_key: Secret = setting(
        "PAGE_TOKEN_KEY", "signs page tokens; at least 32 characters, the same in every replica"
    )
    media_base_url: str = setting(
        "MEDIA_CDN_BASE_URL", "where media given as a path are served; empty = nowhere", ""
    )

    def __post_init__(self) -> None:
        if len(self.page_token_key) < PAGE_TOKEN_KEY_LENGTH_MIN:
            raise SettingsError(
                [f"PAGE_TOKEN_KEY: must be {PAGE_TOKEN_KEY_LENGTH_MIN} long or more"]
            )
