"""Protos in; Python modules, typed stubs and one commented descriptor set out.

The package build calls this through `build_hook.py`, `check.py` for the descriptors alone. Code is
written beside its place and swapped in at the end: a mistake in a proto leaves the last good code.
"""

import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]

PACKAGE = "newsfeed"
DESCRIPTORS = "descriptors.binpb"
_TYPE_PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


class ProtosInvalidError(Exception):
    """Protoc refused the contract; it has said on standard error what is wrong where."""


def compile_protos(proto_root: Path, out_dir: Path) -> Path:
    """Compile all protos below `proto_root` into the package `out_dir`/newsfeed, and return it."""
    out_dir.mkdir(parents=True, exist_ok=True)
    target = out_dir / PACKAGE
    with tempfile.TemporaryDirectory(dir=out_dir.parent) as scratch:
        package = Path(scratch) / PACKAGE
        package.mkdir()
        compile_descriptors(proto_root, package / DESCRIPTORS)
        _run_protoc(
            proto_root,
            [
                *(f"--plugin={name}={_script(name)}" for name in _TYPE_PLUGINS),
                f"--python_out={scratch}",
                f"--grpc_python_out={scratch}",
                f"--mypy_out=quiet:{scratch}",
                f"--mypy_grpc_out=quiet:{scratch}",
            ],
        )
        (package / "__init__.py").write_text('"""Generated from `protos/`."""\n')
        (package / "py.typed").touch()
        shutil.rmtree(target, ignore_errors=True)
        package.rename(target)
    return target


def compile_descriptors(proto_root: Path, out_file: Path) -> None:
    """Write the descriptors of all protos, their comments, and all that they import."""
    _run_protoc(
        proto_root,
        [f"--descriptor_set_out={out_file}", "--include_imports", "--include_source_info"],
    )


def _run_protoc(proto_root: Path, outputs: Sequence[str]) -> None:
    protos = [str(path.relative_to(proto_root)) for path in sorted(proto_root.rglob("*.proto"))]
    paths = [f"--proto_path={folder}" for folder in (proto_root, *_google_protos())]
    if protoc.main(["protoc", *paths, *outputs, *protos]) != 0:
        raise ProtosInvalidError


def _google_protos() -> tuple[Path, Path]:
    """Where google/protobuf/ and google/api/ are, whichever environment this runs in."""
    common = distribution("googleapis-common-protos").locate_file("")
    return Path(str(files("grpc_tools"))) / "_proto", Path(str(common))


def _script(name: str) -> Path:
    """Find an installed protoc plugin, also in an environment that is not on PATH."""
    plugins = distribution("mypy-protobuf")
    for file in plugins.files or ():
        if file.stem == name:
            return Path(str(plugins.locate_file(file))).resolve()
    raise FileNotFoundError(name)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    compile_protos(here, here.parent / "build" / "generated")
