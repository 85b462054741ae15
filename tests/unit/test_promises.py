"""A contract that became narrower is told of, a wider one is not: see protos/promises.py."""

from collections.abc import Callable
from copy import deepcopy
from importlib.resources import files
from typing import Any

import pytest
from google.api.annotations_pb2 import http
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from newsfeed.options.v1.options_pb2 import ACCESS_ADMIN, ACCESS_PUBLIC, access, bounds

from protos.promises import broken_promises

CONTRACT = FileDescriptorSet.FromString(
    files("newsfeed").joinpath("descriptors.binpb").read_bytes()
)
Plant = Callable[[FileDescriptorSet], None]


def method(contract: FileDescriptorSet, service: str, name: str) -> Any:
    services = [each for file in contract.file for each in file.service if each.name == service]
    return next(each for each in services[0].method if each.name == name)


def bound(contract: FileDescriptorSet, message: str, field: str) -> Any:
    messages = [each for file in contract.file for each in file.message_type]
    found = next(each for each in messages if each.name == message)
    return next(each for each in found.field if each.name == field).options.Extensions[bounds]


def shorter(contract: FileDescriptorSet) -> None:
    bound(contract, "SignUpRequest", "username").max_length = 29


def first_bound(contract: FileDescriptorSet) -> None:
    bound(contract, "RefreshTokensRequest", "refresh_token").max_length = 10


def another_pattern(contract: FileDescriptorSet) -> None:
    bound(contract, "SignUpRequest", "username").pattern = "[a-z]+"


def lower(contract: FileDescriptorSet) -> None:
    bound(contract, "Location", "latitude").max = 89


def no_longer_empty(contract: FileDescriptorSet) -> None:
    bound(contract, "SignUpRequest", "display_name").or_empty = False


def another_route(contract: FileDescriptorSet) -> None:
    method(contract, "UserService", "GetMe").options.Extensions[http].get = "/v1/myself"


def another_caller(contract: FileDescriptorSet) -> None:
    method(contract, "UserService", "GetMe").options.Extensions[access] = ACCESS_ADMIN


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (shorter, "newsfeed.user.v1.SignUpRequest.username: max_length was 30, and is 29"),
        (
            first_bound,
            (
                "newsfeed.user.v1.RefreshTokensRequest.refresh_token: "
                "max_length was not bounded, and is 10"
            ),
        ),
        (
            another_pattern,
            "newsfeed.user.v1.SignUpRequest.username: pattern was '[a-z0-9_]+', and is '[a-z]+'",
        ),
        (lower, "newsfeed.content.v1.Location.latitude: max was 90, and is 89"),
        (no_longer_empty, "newsfeed.user.v1.SignUpRequest.display_name: could be empty"),
        (another_route, "newsfeed.user.v1.UserService.GetMe was at GET /v1/me"),
        (
            another_caller,
            "newsfeed.user.v1.UserService.GetMe was for ACCESS_USER, and is for ACCESS_ADMIN",
        ),
    ],
)
def test_what_became_narrower_is_told(plant: Plant, told: str) -> None:
    changed = deepcopy(CONTRACT)
    plant(changed)
    assert broken_promises(changed, CONTRACT) == [told]


def longer(contract: FileDescriptorSet) -> None:
    bound(contract, "SignUpRequest", "username").max_length = 31


def not_bounded(contract: FileDescriptorSet) -> None:
    bound(contract, "Location", "latitude").ClearField("max")


def one_more_route(contract: FileDescriptorSet) -> None:
    rule = method(contract, "UserService", "GetMe").options.Extensions[http]
    rule.additional_bindings.add(get="/v1/myself")


def new_rpc(contract: FileDescriptorSet) -> None:
    [service] = [
        each for file in contract.file for each in file.service if each.name == "UserService"
    ]
    service.method.add(name="New").options.Extensions[access] = ACCESS_PUBLIC


@pytest.mark.parametrize("plant", [longer, not_bounded, one_more_route, new_rpc])
def test_what_became_wider_is_no_matter(plant: Plant) -> None:
    changed = deepcopy(CONTRACT)
    plant(changed)
    assert changed != CONTRACT
    assert broken_promises(changed, CONTRACT) == []


def test_a_contract_before_there_were_bounds_promised_none() -> None:
    before = deepcopy(CONTRACT)
    for file in before.file:
        if file.package == "newsfeed.options.v1":
            kept = [each for each in file.extension if each.name != "bounds"]
            del file.extension[:]
            file.extension.extend(kept)
    bound(before, "SignUpRequest", "username").Clear()
    assert broken_promises(CONTRACT, before) == []
