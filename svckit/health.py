"""Is a program well? `python -m svckit.health localhost:50051` ends with 0 when it serves.

With `http` before the address it is asked over HTTP (`/readyz`), else over gRPC.
"""

import asyncio
import sys

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

TIMEOUT_S = 2.0


async def require_serving(target: str) -> None:
    """Raises ConnectionError, or gRPC's error when nobody answers, unless the program serves."""
    async with grpc.aio.insecure_channel(target) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        answer = await check(HealthCheckRequest(), timeout=TIMEOUT_S)
    if answer.status != HealthCheckResponse.SERVING:
        raise ConnectionError("health says NOT_SERVING")


async def require_ready(target: str) -> None:
    """Raises OSError unless the program says over HTTP that it is ready."""
    host, _, port = target.rpartition(":")
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: %b\r\n\r\n" % target.encode())
            status = await reader.readline()
        finally:
            writer.close()
    if status.split()[1:2] != [b"200"]:
        raise ConnectionError(f"/readyz says {status.decode(errors='replace').strip()}")


if __name__ == "__main__":
    *over, address = sys.argv[1:]
    try:
        asyncio.run((require_ready if over == ["http"] else require_serving)(address))
    except (OSError, grpc.aio.AioRpcError) as error:
        sys.exit(str(error))
