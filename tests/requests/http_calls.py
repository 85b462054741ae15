"""An rpc's HTTP rule and a request message in, the call that a client would send out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from google.api.http_pb2 import HttpRule
from google.protobuf import json_format
from google.protobuf.message import Message

from tests.contract.contract_descriptors import route_of

_VARIABLE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class HttpCall:
    method: str
    path: str
    """With the query."""
    body: Mapping[str, Any] | None


def http_call(rule: HttpRule, request: Message) -> HttpCall:
    """What stands in the path stands nowhere else; the rest is the body, or else the query."""
    method, template = route_of(rule).split(" ")
    fields = json_format.MessageToDict(request, preserving_proto_field_name=True)
    path = _VARIABLE.sub(lambda name: quote(fields.pop(name[1])), template)
    if rule.body:
        return HttpCall(method, path, fields)
    return HttpCall(method, f"{path}?{urlencode(fields, doseq=True)}", None)
