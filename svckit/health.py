"""Is a program well? `python -m svckit.health localhost:50051` ends with 0 when it serves."""

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


if __name__ == "__main__":
    try:
        asyncio.run(require_serving(sys.argv[1]))
    except (ConnectionError, grpc.aio.AioRpcError) as error:
        sys.exit(str(error))
