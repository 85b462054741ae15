"""The programs of the newsfeed: one line each, what they are given, how to know that they serve."""

import itertools
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.servers import HOST, Server
from devstack.settings import StackSettings
from svckit.auth.keys import ensure_key_file, write_public_set
from svckit.health import require_ready, require_serving

BUS_GROUPS = "content_svc,feed_svc"  # who reads the bus: kept for them before they first run


@dataclass(frozen=True, slots=True)
class Program:
    """Run as `python -m <name> <arguments>`, listening where `port_variable` says."""

    name: str
    port_variable: str
    port: int
    arguments: tuple[str, ...] = ("--role", "all")
    signs_user_tokens: bool = False
    serves_http: bool = False  # the others serve gRPC

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    async def ping(self) -> None:
        await (require_ready if self.serves_http else require_serving)(self.address)


def all_programs(settings: StackSettings) -> tuple[Program, ...]:
    """In the order in which they are started."""
    return (
        Program("user_svc", "USER_SVC_PORT", settings.user_svc_port, signs_user_tokens=True),
        Program("content_svc", "CONTENT_SVC_PORT", settings.content_svc_port),
        Program("feed_svc", "FEED_SVC_PORT", settings.feed_svc_port),
        Program("gateway", "GATEWAY_PORT", settings.gateway_port, (), serves_http=True),
    )


def as_server(program: Program, environment: Mapping[str, str], log: Path) -> Server:
    return Server(
        name=program.name,
        url=program.address,
        command=(sys.executable, "-m", program.name, *program.arguments),
        log=log,
        ping=program.ping,
        environment=environment,
    )


def environment_of(
    program: Program, programs: Sequence[Program], store_urls: Mapping[str, str], keys: Path
) -> dict[str, str]:
    """What a program is told: of other programs, where those are that start before it.

    One signs people's tokens; the others sign their own, to call services.
    """
    earlier = itertools.takewhile(lambda each: each.name != program.name, programs)
    environment = {
        **store_urls,
        program.port_variable: str(program.port),
        **{f"{each.name.upper()}_TARGET": each.address for each in earlier},
        "BUS_GROUPS": BUS_GROUPS,
        "BIND_HOST": HOST,
        "GRPC_REFLECTION": "true",
        "SERVICE_JWKS_FILE": str(keys / "services.public.json"),
        "PAGE_TOKEN_KEY": (keys / "page_token_key").read_text(encoding="ascii"),
    }
    variable = "USER_TOKEN_KEYS_FILE" if program.signs_user_tokens else "SERVICE_KEY_FILE"
    environment[variable] = str(_key_file(keys, program))
    return environment


def make_keys(keys: Path, programs: Sequence[Program]) -> None:
    """Makes the keys that are not there yet, readable by this user alone."""
    keys.mkdir(mode=0o700, exist_ok=True)
    for program in programs:
        owner = "user" if program.signs_user_tokens else program.name
        ensure_key_file(_key_file(keys, program), f"{owner}.")
    callers = [_key_file(keys, each) for each in programs if not each.signs_user_tokens]
    write_public_set(callers, keys / "services.public.json")
    page_token_key = keys / "page_token_key"
    if not page_token_key.exists():
        page_token_key.touch(mode=0o600)
        page_token_key.write_text(secrets.token_hex(32), encoding="ascii")


def _key_file(keys: Path, program: Program) -> Path:
    return keys / ("user_tokens.json" if program.signs_user_tokens else f"{program.name}.json")
