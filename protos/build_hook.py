"""The build's step from contract to code, of `newsfeed-contract`, for wheels and editable installs.

A wheel carries the generated package; an editable install finds it in `build/generated` at the top
of the repository, which `dev-mode-dirs` in protos/pyproject.toml puts on the path.
"""

import runpy
from pathlib import Path

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface[BuilderConfig]):
    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        root = Path(self.root)
        compiler = runpy.run_path(str(root / "compile.py"))
        is_editable = version == "editable"
        out = (root.parent if is_editable else root) / "build" / "generated"
        package = compiler["compile_protos"](root, out)
        if not is_editable:
            build_data["force_include"] = {str(package): compiler["PACKAGE"]}
