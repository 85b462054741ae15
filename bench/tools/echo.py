"""An rpc that does nothing, on the server stack of the services: what other rpcs are compared with.

    python -m bench.tools.echo    (settings of user_svc; ECHO_RPC: its name, such as
                                  UserService/GetUser; ECHO_RESPONSE: its answer, in hex)

The rpc, with its access rule and its messages, always answers the same.
"""

import os

from google.protobuf import message_factory
from google.protobuf.message import Message

from svckit.auth.keys import SigningKeys, StaticKeys
from svckit.auth.revocations import Revocation, Revocations
from svckit.auth.tokens import TokenVerifier
from svckit.call import contract_methods
from svckit.program import run
from svckit.rpc.server import Server, run_until_signal, served
from svckit.settings import load
from user_svc.settings import Settings

RPC_VARIABLE = "ECHO_RPC"
RESPONSE_VARIABLE = "ECHO_RESPONSE"


class Echo:
    """Has every rpc of the service, as the table wants it; only one is called."""

    def __init__(self, response: Message) -> None:
        self._response = response

    async def answer(self, _: Message) -> Message:
        return self._response

    def __getattr__(self, rpc: str) -> object:
        return self.answer


async def main() -> None:
    settings = load(Settings, os.environ)
    user_keys, service_keys = (
        SigningKeys(settings.user_keys_file),
        StaticKeys(settings.service_keys_file),
    )
    verifier = TokenVerifier(user_keys, service_keys, Revocations(_no_revocations))
    rpc = contract_methods()[os.environ[RPC_VARIABLE]]
    response_class = message_factory.GetMessageClass(rpc.output_type)
    response = response_class.FromString(bytes.fromhex(os.environ[RESPONSE_VARIABLE]))
    services = {rpc.containing_service: Echo(response)}
    server = Server(settings.server, settings.port, verifier, services, checks=[])
    await run_until_signal(served(server, []))


async def _no_revocations(_: object) -> list[Revocation]:
    return []


if __name__ == "__main__":
    run(main())
