"""The contract's own checks: form, lint, and whether it still keeps what it promised.

What was promised is the contract of the last commit or, where nothing has changed since, of the one
before. Only what git has here is looked at: a clone without history has nothing to compare with.
"""

import io
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from protos.compile import ProtosInvalidError, compile_descriptors
from protos.promises import broken_promises

PROTO_ROOT = Path(__file__).resolve().parent
ROOT = PROTO_ROOT.parent
BUF = Path(sysconfig.get_path("scripts")) / "buf"
GIT = shutil.which("git") or "git"


class CheckFailedError(Exception):
    """What is wrong with the contract, and what to do about it."""


def check_contract(scratch: Path) -> str:
    """Say in a line what was found to be in order, or raise CheckFailedError."""
    image = scratch / "now.binpb"
    _buf("format", "--diff", "--exit-code", otherwise="not in buf's form: run `make format`.")
    try:
        compile_descriptors(PROTO_ROOT, image)
    except ProtosInvalidError:
        raise CheckFailedError("the protos do not compile.") from None
    _buf("lint", str(image), otherwise="a rule of protos/buf.yaml is broken.")
    commit = _promised_commit()
    if commit is None:
        return "in order; there is no earlier one here to compare with."
    promised = scratch / "promised.binpb"
    compile_descriptors(_export(commit, scratch), promised)
    _buf(
        "breaking",
        str(image),
        "--against",
        str(promised),
        otherwise=f"this breaks whoever uses the contract of commit {commit[:12]}. Add, do not "
        "change; mark as `deprecated` what is no longer wanted.",
    )
    broken = broken_promises(_read(image), _read(promised))
    if broken:
        raise CheckFailedError(
            "\n  ".join(["this breaks who calls the contract of " + commit[:12] + ":", *broken])
        )
    return f"in order, and compatible with commit {commit[:12]}."


def _read(image: Path) -> FileDescriptorSet:
    return FileDescriptorSet.FromString(image.read_bytes())


def _buf(*arguments: str, otherwise: str) -> None:
    if subprocess.run([BUF, *arguments], cwd=PROTO_ROOT, check=False).returncode != 0:
        raise CheckFailedError(otherwise)


def _promised_commit() -> str | None:
    if not (ROOT / ".git").exists():
        return None
    changed = _git("status", "--porcelain", "--", "protos/newsfeed")
    found = _git("rev-parse", "--verify", "--quiet", "HEAD" if changed else "HEAD~1")
    commit = found.decode().strip()
    if not commit or not _git("ls-tree", "-r", commit, "--", "protos/newsfeed"):
        return None
    return commit


def _export(commit: str, folder: Path) -> Path:
    archive = _git("archive", "--format=tar", commit, "protos/newsfeed")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder / "protos"


def _git(*arguments: str) -> bytes:
    done = subprocess.run([GIT, *arguments], cwd=ROOT, capture_output=True, check=False)
    if done.returncode > 1:  # 1 is a quiet "no"
        raise CheckFailedError(f"git cannot be asked: {done.stderr.decode().strip()}")
    return done.stdout


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        try:
            print(f"contract: {check_contract(Path(folder))}")
        except CheckFailedError as error:
            sys.exit(f"contract: {error}")
