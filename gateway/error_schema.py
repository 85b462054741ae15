"""How an error looks over HTTP, as a schema; the reasons come from the contract's public enum."""

from collections.abc import Mapping

from google.rpc import code_pb2
from newsfeed.errors.v1 import errors_pb2

from gateway.encoder import Json
from gateway.schemas import as_text

_PREFIX = "ERROR_REASON_"
_NEVER_SENT = frozenset({"OK", "ERROR_REASON_UNSPECIFIED"})
_GOOGLE = "type.googleapis.com/google.rpc."


def error_schemas(comments: Mapping[str, str]) -> dict[str, Json]:
    return {
        "Error": _object(
            "What every answer with a status of 400 or above has as its body.",
            {"error": {"$ref": "#/components/schemas/Status", "description": "What went wrong."}},
        ),
        "Status": _object(
            "A `google.rpc.Status`, with its code as HTTP and as gRPC knows it.",
            {
                "code": _typed("integer", "The HTTP status.", format="int32"),
                "status": _typed("string", "The code of gRPC.", enum=_codes()),
                "message": _typed("string", "For people, in English; not for programs."),
                "details": _list("For programs.", _one_of("ErrorInfo", "BadRequest", "RetryInfo")),
            },
        ),
        "ErrorInfo": _detail(
            "ErrorInfo",
            "Why, in a word. Every error has one.",
            {
                "reason": {
                    "$ref": "#/components/schemas/ErrorReason",
                    "description": "Stays the same for ever.",
                },
                "domain": _typed("string", "Always `newsfeed`."),
                "metadata": _typed(
                    "object",
                    "What the reason is about, under the keys that the reason names.",
                    additionalProperties={"type": "string"},
                ),
            },
        ),
        "BadRequest": _detail(
            "BadRequest",
            "Which fields are wrong. With every INVALID_ARGUMENT.",
            {
                "fieldViolations": _list(
                    "One for each wrong field.", {"$ref": "#/components/schemas/FieldViolation"}
                )
            },
        ),
        "FieldViolation": _object(
            "A field that is wrong.",
            {
                "field": _typed("string", "Its path, such as `metadata.media[2].url`."),
                "description": _typed("string", "What would be right, for people."),
                "reason": _typed("string", "Why, for programs."),
            },
        ),
        "RetryInfo": _detail(
            "RetryInfo",
            "When trying again makes sense. The header `Retry-After` says the same.",
            {"retryDelay": _typed("string", "In seconds, such as `1.500s`.")},
        ),
        "ErrorReason": _reasons(comments),
    }


def _reasons(comments: Mapping[str, str]) -> dict[str, Json]:
    enum = errors_pb2.ErrorReason.DESCRIPTOR
    reasons = {
        each.name.removeprefix(_PREFIX): as_text(comments[f"{enum.full_name}.{each.name}"])
        for each in enum.values
        if each.name not in _NEVER_SENT
    }
    lines = [f"- `{reason}`: {meaning}" for reason, meaning in reasons.items()]
    description = "\n".join([as_text(comments[enum.full_name]), "", *lines])
    return _typed("string", description, enum=list(reasons))


def _codes() -> list[Json]:
    return [name for name in code_pb2.Code.keys() if name not in _NEVER_SENT]  # noqa: SIM118


def _detail(name: str, description: str, properties: Mapping[str, Json]) -> dict[str, Json]:
    kind: Json = {"const": _GOOGLE + name, "description": "Tells the kinds of details apart."}
    return _object(description, {"@type": kind, **properties})


def _one_of(*names: str) -> dict[str, Json]:
    return {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}


def _list(description: str, items: Json) -> dict[str, Json]:
    return {"type": "array", "description": description, "items": items}


def _typed(kind: str, description: str, **more: Json) -> dict[str, Json]:
    return {"type": kind, "description": description, **more}


def _object(description: str, properties: Mapping[str, Json]) -> dict[str, Json]:
    """With all properties required: an error says nothing that may be absent."""
    return {
        "type": "object",
        "description": description,
        "required": list(properties),
        "properties": dict(properties),
    }
