"""Tells whether a program is well: see `python -m svckit.health --help`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

NAME = "svckit.health"
TIMEOUT_S = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    check = require_ready if parsed.protocol == "http" else require_serving
    try:
        asyncio.run(check(parsed.address))
    except (OSError, grpc.aio.AioRpcError) as error:
        sys.stderr.write(f"{NAME}: {error}\n")
        return 1
    return 0


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAME}",
        description="Ends with 0 when the program at an address serves, with 1 when it does not.",
    )
    parser.add_argument(
        "protocol",
        nargs="?",
        choices=("grpc", "http"),
        default="grpc",
        help="how it is asked: by gRPC's health service (default), or by /readyz",
    )
    parser.add_argument("address", metavar="HOST:PORT")
    return parser


if __name__ == "__main__":
    sys.exit(main())
