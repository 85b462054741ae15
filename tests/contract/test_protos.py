"""The protos keep their own rules: access, routes, comments, names, paging, reasons."""

import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import EnumDescriptorProto, FieldDescriptorProto
from newsfeed.errors.v1 import errors_pb2

import svckit
import user_svc
from protos.compile import compile_descriptors
from svckit.errors import DomainError
from svckit.rpc.status import code_of
from tests.contract.contract_descriptors import (
    COMMENTS,
    ENUMS,
    FILES,
    MESSAGES,
    RPC_LIST,
    Rpc,
    field_of,
    load_files,
    route_of,
)
from tests.contract.contract_table import REPEATABLE_POSTS, RPCS, STREAMING

REASON_PREFIX = "ERROR_REASON_"
REASONS = {
    value.name.removeprefix(REASON_PREFIX): COMMENTS[f"newsfeed.errors.v1.ErrorReason.{value.name}"]
    for value in errors_pb2.ErrorReason.DESCRIPTOR.values
}
OUTWARD = [rpc for rpc in RPC_LIST if rpc.access != "SERVICE"]
PAGED = [rpc for rpc in OUTWARD if re.match(r"List|Search|Suggest|Query", rpc.name)]
PATCHES = [rpc for rpc in OUTWARD if any(rule.patch for rule in rpc.http_rules)]


def rpc_id(rpc: Rpc) -> str:
    return rpc.full_name.removeprefix("newsfeed.")


each_rpc = pytest.mark.parametrize("rpc", RPC_LIST, ids=rpc_id)


def test_every_rpc_has_the_access_and_routes_of_the_table() -> None:
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for rpc in RPC_LIST:
        routes = (route_of(rule) for rule in rpc.http_rules)
        found.setdefault(rpc.service, {})[rpc.name] = (rpc.access, *routes)
    assert found == RPCS


def test_no_two_rpcs_share_a_route() -> None:
    shapes = Counter(
        re.sub(r"\{\w+\}", "{}", route_of(rule)) for rpc in RPC_LIST for rule in rpc.http_rules
    )
    assert [shape for shape, count in shapes.items() if count > 1] == []


@each_rpc
def test_only_services_call_without_a_route(rpc: Rpc) -> None:
    assert rpc.access != "UNSPECIFIED"
    assert (rpc.access == "SERVICE") == (not rpc.http_rules)


@each_rpc
def test_rpc_has_a_request_and_a_response_of_its_own(rpc: Rpc) -> None:
    package = rpc.service.rpartition(".")[0]
    assert rpc.method.input_type == f".{package}.{rpc.name}Request"
    assert rpc.method.output_type == f".{package}.{rpc.name}Response"
    assert not rpc.method.client_streaming
    assert rpc.method.server_streaming == (rpc.name in STREAMING)


@each_rpc
def test_path_variables_and_body_cover_the_request(rpc: Rpc) -> None:
    for rule in rpc.http_rules:
        verb, path = route_of(rule).split(" ")
        variables = re.findall(r"\{(\w+)\}", path)
        for variable in variables:
            field = field_of(rpc.request, variable)
            assert field, f"{variable} is no field"
            assert field.type == FieldDescriptorProto.TYPE_STRING
        takes_body = verb in {"PATCH", "POST"} or (
            verb == "PUT" and len(variables) < len(rpc.request.field)
        )
        assert rule.body == ("*" if takes_body else "")


@each_rpc
def test_what_may_be_repeated_follows_from_the_verb(rpc: Rpc) -> None:
    verbs = {route_of(rule).split(" ")[0] for rule in rpc.http_rules} or {"GET"}
    if verbs == {"GET"}:
        expected = "NO_SIDE_EFFECTS"
    elif verbs <= {"PUT", "DELETE", "PATCH"} or rpc.name in REPEATABLE_POSTS:
        expected = "IDEMPOTENT"
    else:
        expected = "IDEMPOTENCY_UNKNOWN"
    assert rpc.idempotency == expected


@pytest.mark.parametrize("rpc", PAGED, ids=rpc_id)
def test_a_list_has_the_paging_fields(rpc: Rpc) -> None:
    kinds = {field.name: field.type for field in (*rpc.request.field, *rpc.response.field)}
    assert kinds["page_size"] == FieldDescriptorProto.TYPE_INT32
    assert kinds["page_token"] == FieldDescriptorProto.TYPE_STRING
    assert kinds["next_page_token"] == FieldDescriptorProto.TYPE_STRING
    first = rpc.response.field[0]
    assert first.label == FieldDescriptorProto.LABEL_REPEATED


@pytest.mark.parametrize("rpc", PATCHES, ids=rpc_id)
def test_a_patch_has_a_mask_and_knows_absence(rpc: Rpc) -> None:
    mask = field_of(rpc.request, "update_mask")
    assert mask
    assert mask.type_name == ".google.protobuf.FieldMask"
    in_path = set(re.findall(r"\{(\w+)\}", rpc.http_rules[0].patch))
    for field in rpc.request.field:
        knows_absence = field.proto3_optional or field.type == FieldDescriptorProto.TYPE_MESSAGE
        assert knows_absence or field.name in in_path, field.name


def test_times_are_timestamps() -> None:
    for name, message in MESSAGES.items():
        for field in message.field:
            if field.name.endswith("_time"):
                assert field.type_name == ".google.protobuf.Timestamp", f"{name}.{field.name}"


def test_ids_are_strings_or_packed_bytes() -> None:
    allowed = {FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BYTES}
    for name, message in MESSAGES.items():
        for field in message.field:
            if field.name.endswith(("_id", "_ids")):
                assert field.type in allowed, f"{name}.{field.name}"


def test_outward_messages_carry_no_bytes() -> None:
    """Packed ids are for services; outside, everything must read well as JSON."""
    seen: set[str] = set()
    waiting = [kind for rpc in OUTWARD for kind in (rpc.method.input_type, rpc.method.output_type)]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in MESSAGES:
            continue
        seen.add(name)
        for field in MESSAGES[name].field:
            assert field.type != FieldDescriptorProto.TYPE_BYTES, f"{name}.{field.name}"
            waiting.append(field.type_name)


def test_every_element_has_a_comment_of_whole_sentences() -> None:
    assert [name for name, comment in COMMENTS.items() if not comment.endswith(".")] == []


def test_comments_were_looked_for_in_every_file() -> None:
    assert {file.package for file in FILES} == {
        f"newsfeed.{area}.v1"
        for area in ("analytics", "content", "errors", "events", "feed", "options", "user")
    }
    assert len(COMMENTS) > len(RPC_LIST) + 2 * len(MESSAGES)


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.name)
def test_an_enum_starts_unspecified_and_is_prefixed(enum: EnumDescriptorProto) -> None:
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
    assert enum.value[0].name == f"{prefix}UNSPECIFIED"
    assert enum.value[0].number == 0
    values = [value.name for value in enum.value]
    assert [name for name in values if not name.startswith(prefix)] == []


def test_reasons_named_in_comments_exist() -> None:
    for rpc in RPC_LIST:
        _, _, named = rpc.comment.partition("Errors:")
        assert set(re.findall(r"\b[A-Z][A-Z_]+\b", named)) <= REASONS.keys(), rpc.full_name


@pytest.mark.parametrize("reason", REASONS.keys() - {"UNSPECIFIED"})
def test_a_reason_says_its_status(reason: str) -> None:
    assert REASONS[reason].split(".")[0] in grpc.StatusCode.__members__


def domain_errors() -> Iterator[type[DomainError]]:
    """Every error that our packages define, except kinds that leave the reason to others."""
    packages = {package.__name__: package for package in (svckit, user_svc)}
    for package in packages.values():
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    waiting: list[type[DomainError]] = [DomainError]
    while waiting:
        error = waiting.pop()
        waiting.extend(error.__subclasses__())
        is_open_kind = error.__module__ == "svckit.errors" and "reason" not in vars(error)
        if error.__module__.split(".")[0] in packages and not is_open_kind:
            yield error


def test_every_domain_error_has_a_public_reason_with_its_status() -> None:
    wrong = {
        f"{error.__module__}.{error.__qualname__}": error.reason
        for error in domain_errors()
        if REASONS.get(error.reason, "").split(".")[0] != code_of(error.__new__(error)).name
    }
    assert wrong == {}


def test_the_generated_package_is_of_this_tree(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.binpb"
    compile_descriptors(Path(__file__).parents[2] / "protos", fresh)
    assert load_files(fresh.read_bytes()) == FILES
