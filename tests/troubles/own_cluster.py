"""A Redis Cluster of three local nodes, without replicas: a third of the slots on each."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from redis.asyncio import Redis

from devstack import valkey
from devstack.servers import HOST, Server, free_port
from devstack.store import StoreHome
from tests.polling import until
from tests.troubles.own_store import OwnStore, own_store

SLOTS = 16_384
NODES = 3


@dataclass(frozen=True, slots=True)
class OwnCluster:
    """The URL is that of one node, which knows the others."""

    url: str
    processes: Sequence[psutil.Process]


@asynccontextmanager
async def own_cluster(folder: Path) -> AsyncIterator[OwnCluster]:
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(_node(folder / str(number))) for number in range(NODES)
        ]
        bounds = [SLOTS * number // NODES for number in range(NODES + 1)]
        for node, first, behind in zip(nodes, bounds, bounds[1:], strict=False):
            await node.client.execute_command("CLUSTER ADDSLOTSRANGE", first, behind - 1)
            if node is not nodes[0]:
                await node.client.execute_command(
                    "CLUSTER MEET", HOST, nodes[0].port, nodes[0].bus_port
                )
        for node in nodes:
            await until(node.is_in_order, timeout_s=20.0)
        yield OwnCluster(nodes[0].url, [node.process for node in nodes])


class _Node:
    def __init__(self, server: OwnStore, bus_port: int) -> None:
        self.url = server.url
        self.process = psutil.Process(server.pid)
        self.port = server.port
        self.bus_port = bus_port
        self.client = Redis.from_url(server.url)

    async def is_in_order(self) -> bool:
        info: dict[str, str] = await self.client.execute_command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(NODES)


@asynccontextmanager
async def _node(folder: Path) -> AsyncIterator[_Node]:
    bus_port = free_port()

    async def prepare(home: StoreHome) -> Server:
        server = await valkey.prepare(home)
        options = ("--cluster-enabled", "yes", "--cluster-port", str(bus_port))
        return replace(server, command=(*server.command, *options))

    async with own_store(replace(valkey.STORE, prepare=prepare), folder, durable=False) as server:
        node = _Node(server, bus_port)
        try:
            yield node
        finally:
            await node.client.aclose()
