"""The settings of feed_svc, from the environment."""

from dataclasses import dataclass
from pathlib import Path

from feed_svc.redis_store import StoreSettings
from feed_svc.tiers import PushSettings
from svckit.events.settings import BusSettings
from svckit.program import ProcessSettings
from svckit.rpc.server import ServerSettings
from svckit.service_settings import own_keys_file, page_token_key, service_keys_file, target
from svckit.settings import PORT_MAX, Secret, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the program."""

    process: ProcessSettings
    server: ServerSettings
    store: StoreSettings
    bus: BusSettings
    push: PushSettings
    port: int = setting("FEED_SVC_PORT", "gRPC port", 50053, at_least=0, at_most=PORT_MAX)
    user_svc_target: str = target("user_svc", "dns:///localhost:50051")
    content_svc_target: str = target("content_svc", "dns:///localhost:50052")
    live_look_every_s: float = setting(
        "LIVE_LOOK_EVERY_S",
        "a live stream looks for itself, and gives a sign of life",
        15.0,
        at_least=0.1,
    )
    own_keys_file: Path = own_keys_file()
    service_keys_file: Path = service_keys_file()
    page_token_key: Secret = page_token_key()
