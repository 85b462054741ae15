"""The document of the API, as answers are held to it."""

from typing import Any


def closed(document: Any) -> Any:
    """An answer has nothing but what is documented, although clients must be ready for more."""
    components = document["components"]
    schemas = {
        name: {"additionalProperties": False, **each} if "properties" in each else each
        for name, each in components["schemas"].items()
    }
    return {**document, "components": {**components, "schemas": schemas}}
