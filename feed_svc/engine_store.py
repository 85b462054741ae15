"""The clients of one Redis and of a Redis Cluster, alike to those who use them.

Neither tries again by itself, nor ends a call that takes long: whoever calls sets a time limit, and
a call that is cut off takes its connection with it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

Argument: TypeAlias = bytes | str | int
Command: TypeAlias = Sequence[Argument]

CONNECT_TIMEOUT_S = 0.25
FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)

_OPTIONS: dict[str, Any] = {
    "protocol": 2,
    "socket_timeout": None,  # whoever calls sets one; a call that is cut off drops its connection
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "retry": Retry(NoBackoff(), 0),
}


class Engine(Protocol):
    """Replies that are errors of Redis are returned as such."""

    async def run(self, commands: Sequence[Command]) -> list[object]: ...
    async def load(self, library: str) -> None: ...
    async def ping(self) -> None: ...
    async def reset(self) -> None: ...
    async def setting(self, name: str) -> int: ...
    async def close(self) -> None: ...


class OneRedis:
    """One Redis."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(url, **_OPTIONS)

    async def run(self, commands: Sequence[Command]) -> list[object]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute(raise_on_error=False)

    async def load(self, library: str) -> None:
        await self._client.function_load(library, replace=True)

    async def ping(self) -> None:
        await self._client.ping()

    async def reset(self) -> None:
        await self._client.connection_pool.disconnect(inuse_connections=False)

    async def setting(self, name: str) -> int:
        found = cast("Mapping[str, str]", await self._client.config_get(name))
        return int(found[name])

    async def close(self) -> None:
        await self._client.aclose()


class Cluster:
    """All nodes answer, or none does."""

    def __init__(self, url: str) -> None:
        self._client = RedisCluster.from_url(url, **_OPTIONS)

    async def run(self, commands: Sequence[Command]) -> list[object]:
        await self._client.initialize()
        nodes = self._client.nodes_manager
        pipeline = self._client.pipeline()
        for command in commands:
            # By itself the client would ask a node for the keys of every call of a function.
            key = command[3] if command[0] == "FCALL" else command[1]
            node = nodes.get_node_from_slot(self._client.keyslot(key))
            pipeline.execute_command(*command, target_nodes=node)
        return await pipeline.execute(raise_on_error=False)

    async def load(self, library: str) -> None:
        await self._client.execute_command(
            "FUNCTION LOAD", "REPLACE", library, target_nodes=RedisCluster.PRIMARIES
        )

    async def ping(self) -> None:
        await self._client.initialize()
        await self._client.execute_command("PING", target_nodes=RedisCluster.PRIMARIES)

    async def reset(self) -> None:
        await self._client.aclose()  # opens again by itself, and asks who has which slots

    async def setting(self, name: str) -> int:
        await self._client.initialize()
        values = []
        for node in self._client.get_primaries():
            found = await self._client.config_get(name, target_nodes=node)
            values.append(int(cast("Mapping[str, str]", found)[name]))
        return min(values)

    async def close(self) -> None:
        await self._client.aclose()
