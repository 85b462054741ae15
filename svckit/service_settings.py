"""Settings that several services have, each with one name, one meaning and one check.

They are fields of the services' own `Settings`, made like those of `svckit.settings.setting`.
"""

from typing import Any

from svckit.page_tokens import KEY_BYTES_MIN
from svckit.settings import setting


def own_keys_file() -> Any:
    return setting("SERVICE_KEY_FILE", "JWK set with the private key of this service")


def service_keys_file() -> Any:
    return setting("SERVICE_JWKS_FILE", "JWK set with the public keys of all services")


def page_token_key() -> Any:
    about = f"signs page tokens; at least {KEY_BYTES_MIN} characters, the same in every replica"
    return setting("PAGE_TOKEN_KEY", about, length_at_least=KEY_BYTES_MIN)


def target(service: str, default: str = "") -> Any:
    """Where another service is; without a default it may be left empty."""
    about = f"where {service} is, as gRPC names it"
    if not default:
        about += "; empty = its calls are not offered"
    return setting(f"{service.upper()}_TARGET", about, default)
