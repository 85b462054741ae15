"""The settings of content_svc, from the environment."""

from dataclasses import dataclass
from pathlib import Path

from svckit.events.settings import BusSettings
from svckit.program import ProcessSettings
from svckit.rpc.server import ServerSettings
from svckit.service_settings import own_keys_file, page_token_key, service_keys_file, target
from svckit.settings import PORT_MAX, Secret, setting


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the program."""

    process: ProcessSettings
    server: ServerSettings
    database: DatabaseSettings
    bus: BusSettings
    port: int = setting("CONTENT_SVC_PORT", "gRPC port", 50052, at_least=0, at_most=PORT_MAX)
    user_svc_target: str = target("user_svc", "dns:///localhost:50051")
    own_keys_file: Path = own_keys_file()
    service_keys_file: Path = service_keys_file()
    page_token_key: Secret = page_token_key()
    media_base_url: str = setting(
        "MEDIA_CDN_BASE_URL", "where media given as a path are served; empty = nowhere", ""
    )
