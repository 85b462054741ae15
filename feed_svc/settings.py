"""What feed_svc reads from the environment."""

from dataclasses import dataclass
from pathlib import Path

from feed_svc.store import StoreSettings
from feed_svc.tiers import PushSettings
from svckit.events.settings import BusSettings
from svckit.page_tokens import KEY_BYTES_MIN as PAGE_TOKEN_KEY_LENGTH_MIN
from svckit.program import ProcessSettings
from svckit.rpc.server import ServerSettings
from svckit.settings import PORT_MAX, Secret, SettingsError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the program."""

    process: ProcessSettings
    server: ServerSettings
    store: StoreSettings
    bus: BusSettings
    push: PushSettings
    port: int = setting("FEED_SVC_PORT", "gRPC port", 50053, at_least=0, at_most=PORT_MAX)
    user_svc_target: str = setting(
        "USER_SVC_TARGET", "where user_svc is, as gRPC names it", "dns:///localhost:50051"
    )
    content_svc_target: str = setting(
        "CONTENT_SVC_TARGET", "where content_svc is, as gRPC names it", "dns:///localhost:50052"
    )
    live_look_every_s: float = setting(
        *("LIVE_LOOK_EVERY_S", "a live stream looks for itself, and gives a sign of life", 15.0),
        at_least=0.1,
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

    def __post_init__(self) -> None:
        if len(self.page_token_key) < PAGE_TOKEN_KEY_LENGTH_MIN:
            raise SettingsError(
                [f"PAGE_TOKEN_KEY: must be {PAGE_TOKEN_KEY_LENGTH_MIN} long or more"]
            )
