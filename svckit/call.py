"""A gRPC client for the terminal: JSON in, JSON out, for every rpc of the contract.

    python -m svckit.call localhost:50051 AuthService/LogIn '{"login": "ada", "password": "..."}'

A stream prints one message after another. What went wrong is told on standard error, with the
reason and the wrong fields.
"""

import argparse
import asyncio
import importlib
import json
import sys
from collections.abc import Iterable, Sequence
from importlib.resources import files

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message

from svckit.rpc.status import rich_status

NAME = "svckit.call"
TIMEOUT_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    methods = contract_methods()
    parser = _parser(methods)
    parsed = parser.parse_args(arguments)
    method = methods.get(parsed.method)
    if method is None:
        parser.error(f"there is no rpc {parsed.method}; --help lists all")
    try:
        message = message_factory.GetMessageClass(method.input_type)()
        request = json_format.Parse(parsed.request, message)
        asyncio.run(call(parsed.target, method, request, parsed.token))
    except BrokenPipeError:
        return 1  # the reader of the output has seen enough
    except json_format.ParseError as error:
        parser.error(str(error))
    except grpc.aio.AioRpcError as error:
        sys.stderr.write(_explain(error) + "\n")
        return 1
    return 0


def contract_methods() -> dict[str, MethodDescriptor]:
    """Every rpc of the contract, by `Service/Method`."""
    data = files("newsfeed").joinpath("descriptors.binpb").read_bytes()
    methods: dict[str, MethodDescriptor] = {}
    for file in FileDescriptorSet.FromString(data).file:
        if file.name.startswith("newsfeed/"):
            module = importlib.import_module(
                file.name.removesuffix(".proto").replace("/", ".") + "_pb2"
            )
            for service in module.DESCRIPTOR.services_by_name.values():
                methods |= {f"{service.name}/{method.name}": method for method in service.methods}
    return methods


async def call(target: str, method: MethodDescriptor, request: Message, token: str | None) -> None:
    """Prints the answer, or each message of a stream."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    response_class = message_factory.GetMessageClass(method.output_type)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    async with grpc.aio.insecure_channel(target) as channel:
        if method.server_streaming:
            stream = channel.unary_stream(
                path, type(request).SerializeToString, response_class.FromString
            )
            async for response in stream(request, metadata=metadata):
                _show(response)
        else:
            unary = channel.unary_unary(
                path, type(request).SerializeToString, response_class.FromString
            )
            _show(await unary(request, metadata=metadata, timeout=TIMEOUT_S))


def _show(message: Message) -> None:
    text = json_format.MessageToJson(
        message, always_print_fields_with_no_presence=True, ensure_ascii=False
    )
    print(text)  # noqa: T201 this is its output


def _explain(error: grpc.aio.AioRpcError) -> str:
    lines = [f"{error.code().name}: {error.details()}"]
    for detail in rich_status(error).details:
        fields = json_format.MessageToDict(detail)
        fields.pop("@type")
        lines.append(f"  {json.dumps(fields, ensure_ascii=False)}")
    return "\n".join(lines)


def _parser(methods: Iterable[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAME}",
        description="Calls an rpc with a JSON request and prints the JSON answer.",
        epilog="rpcs:\n" + "\n".join(f"  {name}" for name in methods),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="HOST:PORT")
    parser.add_argument("method", metavar="SERVICE/METHOD", help="such as AuthService/SignUp")
    parser.add_argument("request", metavar="JSON", nargs="?", default="{}", help="default: {}")
    parser.add_argument("--token", help="an access token")
    return parser


if __name__ == "__main__":
    sys.exit(main())
