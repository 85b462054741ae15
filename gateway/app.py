"""The composition root: the contract compiled, everything opened in order and wired."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

from gateway.admission import Admission, Budget
from gateway.asgi import Edge
from gateway.clients import Services
from gateway.contract import Contract, load_contract
from gateway.cors import Cors
from gateway.docs import assets
from gateway.gatekeeper import Gatekeeper
from gateway.head import Proxies
from gateway.limit_store import open_limit_store
from gateway.limits import Limits
from gateway.model import Bounds
from gateway.openapi import openapi_document
from gateway.pages import Pages
from gateway.readiness import Readiness
from gateway.routes import Router
from gateway.server import HttpServer
from gateway.settings import Settings
from gateway.sse import Streams
from gateway.transcode import Times, Transcoder
from svckit.auth.keys import SigningKeys
from svckit.auth.tokens import ServiceTokenSource
from svckit.health import require_serving
from svckit.rpc.client import ServiceChannel
from svckit.rpc.identity import Identity
from svckit.rpc.server import run_until_signal, served

NAME = "gateway"


@dataclass(frozen=True, slots=True)
class App:
    server: HttpServer
    identity: Identity

    def served(self) -> AbstractAsyncContextManager[HttpServer]:
        """Serves while the block lasts."""
        return served(self.server, self.identity.background())


@asynccontextmanager
async def open_app(settings: Settings, bounds: Bounds | None = None) -> AsyncGenerator[App]:
    """Connects to nothing before it has to: it starts whatever else is there."""
    bounds = bounds or Bounds()
    contract = load_contract()
    router = Router([method for service in contract.services for method in service.methods])
    own_token = ServiceTokenSource(SigningKeys(settings.own_keys_file), NAME).token
    capacity, targets = settings.capacity, settings.targets.offered()
    async with (
        # Calls with the gateway's own token have a channel that callers' requests never take.
        ServiceChannel(settings.targets.user_svc, own_token) as own_channel,
        Services(targets, capacity.request_timeout_s, capacity.stream_timeout_s) as services,
        open_limit_store(settings.limits.full_url(), bounds.counting) as limit_store,
        Limits(limit_store, bounds.counting) as limits,
    ):
        identity = Identity(own_channel, settings.service_keys_file)
        admission = Admission(capacity.requests_max, bounds.admission)
        streams = Streams(
            capacity.streams_max, capacity.streams_per_reader_max, bounds.stream, bounds.admission
        )
        readiness = Readiness(targets, require_serving, bounds.check_every_s)
        transcoder = Transcoder(
            router.routes,
            services,
            identity.verifier,
            limits,
            settings.limits.limits(),
            admission,
            Budget(bounds.admission.bodies_bytes_max, "bodies", bounds.admission),
            streams,
            Times(
                settings.server.head_timeout_s,
                capacity.stream_timeout_s,
                settings.public_max_age_s,
            ),
            bounds,
        )
        edge = Edge(
            router,
            transcoder,
            Pages(version("newsfeed"), readiness, _documents(contract, router)),
            Cors(settings.origins()),
            Proxies(settings.proxy_networks()),
            capacity.request_timeout_s,
            settings.server.write_timeout_s,
            bounds.connection.body_bytes_max,
        )
        gatekeeper = Gatekeeper(router, admission, bounds.admission)
        server = HttpServer(
            settings.server, bounds.connection, edge, gatekeeper, readiness, streams
        )
        yield App(server, identity)


def _documents(contract: Contract, router: Router) -> Mapping[str, tuple[str, bytes]]:
    document = json.dumps(openapi_document(contract, router.routes)).encode()
    return {"/openapi.json": ("application/json", document), **assets()}


async def run(settings: Settings) -> None:
    """Serves until a signal comes."""
    async with open_app(settings) as app:
        await run_until_signal(app.served())
