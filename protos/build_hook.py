"""The package build's step from contract to code, for wheels and for editable installs alike.

A wheel carries the generated package; an editable install finds it in `build/generated`, which
`dev-mode-dirs` in pyproject.toml puts on the path.
"""

import sys
from pathlib import Path

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from protos.compile import PACKAGE, compile_protos


class CustomBuildHook(BuildHookInterface[BuilderConfig]):
    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        root = Path(self.root)
        package = compile_protos(root / "protos", root / "build" / "generated")
        if version == "standard":
            build_data["force_include"] = {str(package): PACKAGE}
