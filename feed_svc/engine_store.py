"""The clients of one Redis and of a Redis Cluster, alike to those who use them.

Neither tries again by itself, nor ends a call that takes long: the caller sets a time limit, and a
call that is cut off takes its connection with it. Replies that are errors of Redis are returned as
such.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from hiredis import pack_command
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError, ResponseError

Argument: TypeAlias = bytes | str | int
Command: TypeAlias = Sequence[Argument]

FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)


def options(connect_timeout_s: float, timeout_s: float | None = None) -> dict[str, Any]:
    """Of a client; without `timeout_s` a call takes as long as its caller lets it."""
    return {
        "protocol": 2,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }


class OneRedis:
    """One Redis."""

    def __init__(self, url: str, connect_timeout_s: float) -> None:
        self._client = Redis.from_url(url, **options(connect_timeout_s))

    async def run(self, commands: Sequence[Command]) -> list[object]:
        """As a pipeline of the client would, which takes several times as long."""
        packed = b"".join([pack_command(tuple(each)) for each in commands])  # type: ignore[arg-type]  # its stub means any length
        pool = self._client.connection_pool
        connection: AbstractConnection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_packed_command(packed, check_health=False)
            return [await _reply(connection) for _ in commands]
        except BaseException:
            await connection.disconnect(nowait=True)  # replies may be on their way
            raise
        finally:
            await pool.release(connection)

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


async def _reply(connection: AbstractConnection) -> object:
    try:
        return cast("object", await connection.read_response())
    except ResponseError as error:
        return error


class Cluster:
    """All nodes answer, or none does."""

    def __init__(self, url: str, connect_timeout_s: float) -> None:
        self._client = RedisCluster.from_url(url, **options(connect_timeout_s))

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
