"""A believable value for every field, for the API's documentation: all of them in one table.

A field has the example of its name, or else of the end of its name, or else of its type. In a
request those are left out that would refer to something which is not there when somebody tries it.
"""

from collections.abc import Collection, Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.encoder import Json

_TOKEN = "AZLwwX6afDuaUj1fihwrTgABi0c2v9mXy5sQ"  # noqa: S105 opaque, and of nobody
_BY_NAME: Mapping[str, Json] = {
    "accepted_count": 3,
    "access_token": "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMTkyZjBjMSJ9.c2lnbmF0dXJl",
    "alg": "EdDSA",
    "alt": "Fog over the harbour, a red boat in front",
    "author_id": "0192f0c1-7e9a-7c3b-9a52-3d5f8a1c2b4e",
    "avatar_url": "https://cdn.example.com/avatars/ada.png",
    "bio": "Writes about engines, numbers and trains.",
    "comment_count": "4",
    "comment_id": "0192f0c5-1a2b-7d4e-8f60-71a2b3c4d5e6",
    "content": "Fog over the harbour this morning. #hamburg",
    "crv": "Ed25519",
    "current_password": "correct horse battery",
    "display_name": "Ada Lovelace",
    "dwell_ms": 0,
    "email": "ada@example.com",
    "entry_count": 240,
    "follower_count": "128",
    "following_count": "64",
    "is_following": True,
    "kid": "2026-11",
    "kty": "OKP",
    "latitude": 53.5461,
    "like_count": "17",
    "liked": True,
    "login": "ada",
    "longitude": 9.9661,
    "mutual_count": 5,
    "name": "Landungsbrücken, Hamburg",
    "new_password": "a much longer passphrase",
    "page_size": 20,
    "password": "correct horse battery",
    "post_count": "42",
    "post_id": "0192f0c3-5d1e-7a6f-8b21-c0ffee123456",
    "query": "ada",
    "score": 12.5,
    "share_count": "2",
    "tag": "hamburg",
    "tags": "hamburg",
    "url": "https://cdn.example.com/photos/harbour.jpg",
    "use": "sig",
    "user_id": "0192f0c1-7e9a-7c3b-9a52-3d5f8a1c2b4e",
    "username": "ada",
    "view_count": "301",
    "width": 1600,
    "height": 1200,
    "window": "24h",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
_BY_ENDING: Mapping[str, Json] = {
    "_id": "0192f0c7-2b3c-7e5f-9a01-b2c3d4e5f607",
    "_ids": "0192f0c1-7e9a-7c3b-9a52-3d5f8a1c2b4e",
    "_token": _TOKEN,
}
_MASK = FieldMask.DESCRIPTOR.full_name
_WELL_KNOWN: Mapping[str, Json] = {
    Timestamp.DESCRIPTOR.full_name: "2026-11-20T09:30:00.250Z",
    _MASK: "displayName,bio",
}
_IN_QUERIES = frozenset({"page_size", "query", "window"})
_BY_TYPE: Mapping[int, Json] = {
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_BOOL: False,
    FieldDescriptor.CPPTYPE_INT32: 1,
    FieldDescriptor.CPPTYPE_INT64: "1024",
    FieldDescriptor.CPPTYPE_DOUBLE: 1.5,
}


def example_of_message(
    message: Descriptor, without: Collection[str] = (), *, is_request: bool = False
) -> dict[str, Json]:
    """An answer as the gateway writes it; a request without what is false or 0 anyway."""
    return {
        field.json_name: [value] if field.is_repeated else value
        for field in message.fields
        if field.name not in without and not (is_request and _refers_to_others(field))
        for value in [_example(field, is_request=is_request)]
        if value != 0 or not is_request
    }


def example_of_parameter(field: FieldDescriptor, *, is_required: bool) -> Json:
    """None where a value that is made up could only fail, or hide what there is."""
    return _example(field) if is_required or field.name in _IN_QUERIES else None


def _refers_to_others(field: FieldDescriptor) -> bool:
    is_mask = field.message_type is not None and field.message_type.full_name == _MASK
    return is_mask or (field.has_presence and field.name.endswith("_id"))


def _example(field: FieldDescriptor, *, is_request: bool = False) -> Json:
    if field.message_type is not None:
        known = _WELL_KNOWN.get(field.message_type.full_name)
        return known or example_of_message(field.message_type, is_request=is_request)
    if field.enum_type is not None:
        return next(each.name for each in field.enum_type.values if each.number != 0)
    if field.name in _BY_NAME:
        return _BY_NAME[field.name]
    endings = (ending for ending in _BY_ENDING if field.name.endswith(ending))
    return _BY_ENDING.get(next(endings, ""), _BY_TYPE[field.cpp_type])
