"""An rpc that does nothing, on the server stack of the services: what other rpcs are compared with.

    python -m bench.echo    (settings of user_svc; ECHO_RESPONSE: the answer to GetUser, in hex)

GetUser, with its access rule and its messages, always answers the same.
"""

import os

import uvloop
from newsfeed.user.v1 import user_service_pb2 as pb

from svckit.keys import SigningKeys, StaticKeys
from svckit.revocations import Revocation, Revocations
from svckit.server import Server, run_until_signal
from svckit.settings import load
from svckit.tokens import TokenVerifier
from user_svc.settings import Settings

RESPONSE_VARIABLE = "ECHO_RESPONSE"


class Echo:
    def __init__(self, response: bytes) -> None:
        self._response = pb.GetUserResponse.FromString(response)

    async def GetUser(self, _: pb.GetUserRequest) -> pb.GetUserResponse:
        return self._response

    def __getattr__(self, rpc: str) -> object:
        """The table wants every rpc of the service; only one is called."""
        if rpc.startswith("_"):
            raise AttributeError(rpc)
        return self.GetUser


async def main() -> None:
    settings = load(Settings, os.environ)
    user_keys, service_keys = (
        SigningKeys(settings.user_keys_file),
        StaticKeys(settings.service_keys_file),
    )
    verifier = TokenVerifier(user_keys, service_keys, Revocations(_no_revocations))
    services = {pb.DESCRIPTOR.services_by_name["UserService"]: Echo(_response())}
    server = Server(settings.server, settings.port, verifier, services, checks=[])
    await run_until_signal(server, [])


def _response() -> bytes:
    return bytes.fromhex(os.environ[RESPONSE_VARIABLE])


async def _no_revocations(_: object) -> list[Revocation]:
    return []


if __name__ == "__main__":
    uvloop.run(main())
