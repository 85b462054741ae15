"""The programs of the newsfeed: the one list of them, and what they are told.

Other files read this list, or tests/unit/test_programs.py holds them against it.
"""

import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from devstack.servers import HOST, Server
from devstack.settings import StackSettings
from svckit.auth.keys import ensure_key_file, write_public_set
from svckit.health import require_ready, require_serving


@dataclass(frozen=True, slots=True)
class Program:
    """Run as `python -m <name> <arguments>`, listening where `port_variable` says."""

    name: str
    port: int
    arguments: tuple[str, ...] = ("--role", "all")
    signs_user_tokens: bool = False
    serves_http: bool = False  # the others serve gRPC
    reads_bus: bool = False  # events are kept for it, also before it first runs

    @property
    def port_variable(self) -> str:
        return f"{self.name.upper()}_PORT"

    @property
    def target_variable(self) -> str:
        """Where its callers look for its address."""
        return f"{self.name.upper()}_TARGET"

    @property
    def key_file(self) -> str:
        return "user_tokens.json" if self.signs_user_tokens else f"{self.name}.json"

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    async def ping(self) -> None:
        await (require_ready if self.serves_http else require_serving)(self.address)


USER_SVC = Program("user_svc", 50051, signs_user_tokens=True)
CONTENT_SVC = Program("content_svc", 50052, reads_bus=True)
FEED_SVC = Program("feed_svc", 50053, reads_bus=True)
GATEWAY = Program("gateway", 8080, arguments=(), serves_http=True)

# In the order in which they are started.
PROGRAMS = (USER_SVC, CONTENT_SVC, FEED_SVC, GATEWAY)
BUS_GROUPS = ",".join(program.name for program in PROGRAMS if program.reads_bus)


def all_programs(settings: StackSettings) -> tuple[Program, ...]:
    """On the ports that the settings give them."""
    return tuple(
        replace(program, port=getattr(settings, f"{program.name}_port")) for program in PROGRAMS
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
    """The environment of a program: it is told of all others that serve gRPC.

    One signs people's tokens; the others sign their own, to call services.
    """
    others = [each for each in programs if each.name != program.name and not each.serves_http]
    key_variable = "USER_TOKEN_KEYS_FILE" if program.signs_user_tokens else "SERVICE_KEY_FILE"
    return {
        **store_urls,
        program.port_variable: str(program.port),
        **{each.target_variable: each.address for each in others},
        "BUS_GROUPS": BUS_GROUPS,
        "BIND_HOST": HOST,
        "GRPC_REFLECTION": "true",
        "SERVICE_JWKS_FILE": str(keys / "services.public.json"),
        "PAGE_TOKEN_KEY": (keys / "page_token_key").read_text(encoding="ascii"),
        key_variable: str(keys / program.key_file),
    }


def make_keys(keys: Path, programs: Sequence[Program]) -> None:
    """Makes the keys that are not there yet, readable by this user alone."""
    keys.mkdir(mode=0o700, exist_ok=True)
    for program in programs:
        owner = "user" if program.signs_user_tokens else program.name
        ensure_key_file(keys / program.key_file, f"{owner}.")
    callers = [keys / each.key_file for each in programs if not each.signs_user_tokens]
    write_public_set(callers, keys / "services.public.json")
    page_token_key = keys / "page_token_key"
    if not page_token_key.exists():
        page_token_key.touch(mode=0o600)
        page_token_key.write_text(secrets.token_hex(32), encoding="ascii")
