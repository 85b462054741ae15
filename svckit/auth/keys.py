"""Ed25519 keys as JWK sets in files: the first key signs, all of them verify.

A private file belongs to one signer; `public` and `write_public_set` make what the others get. To
rotate without a refused token: `add` a key, wait until everybody has fetched it, `promote` it, wait
until the last token of the old key has expired, `remove` the old one.
"""

import base64
import contextlib
import json
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypedDict, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from svckit.ids import Clock

Jwk = dict[str, str]

_KID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_KEY_BYTES = 32
_RELOAD_INTERVAL_S = 1.0
_PRIVATE_MODE = 0o600
_PUBLIC_MODE = 0o644

logger = logging.getLogger(__name__)


class JwkSet(TypedDict):
    keys: list[Jwk]


class KeyFileError(Exception):
    """A key set cannot be used; the text is one line for the operator."""


class KeyFileExistsError(KeyFileError):
    """A file that was to be new is there already."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    kid: str
    public: Ed25519PublicKey

    def public_jwk(self) -> Jwk:
        x = _base64(self.public.public_bytes_raw())
        return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid}


@dataclass(frozen=True, slots=True)
class SigningKey(VerifyingKey):
    private: Ed25519PrivateKey

    def private_jwk(self) -> Jwk:
        return self.public_jwk() | {"d": _base64(self.private.private_bytes_raw())}


_K = TypeVar("_K", bound=VerifyingKey)
_ParseKey = Callable[[Mapping[str, object]], _K]


def make_key(kid: str | None = None) -> SigningKey:
    """Make a key; without a `kid` it is named by the day and 32 random bits."""
    private = Ed25519PrivateKey.generate()
    return SigningKey(_checked_kid(kid or dated_kid("")), private.public_key(), private)


def dated_kid(prefix: str) -> str:
    """A new key id: the day and 32 random bits behind the prefix."""
    return f"{prefix}{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(4)}"


def public_set(keys: Iterable[VerifyingKey]) -> JwkSet:
    """The keys as others may have them: never a private part."""
    return {"keys": [key.public_jwk() | {"use": "sig", "alg": "EdDSA"} for key in keys]}


def parse_public_set(document: object) -> dict[str, VerifyingKey]:
    """Read a JWK set; raise `KeyFileError` for anything doubtful, as the whole set."""
    return _parse_set(document, _public_key)


class _KeyFile(Generic[_K]):
    """A JWK set on disk. A change is seen within a second; a bad one leaves the old in force."""

    def __init__(self, path: Path, parse_key: _ParseKey[_K], clock: Clock) -> None:
        self._path = path
        self._parse_key = parse_key
        self._clock = clock
        self._checked_at_s = clock()
        self._version = self._version_on_disk()
        self._keys = _read(path, parse_key)

    def keys(self) -> Mapping[str, _K]:
        now_s = self._clock()
        if now_s - self._checked_at_s >= _RELOAD_INTERVAL_S:
            self._checked_at_s = now_s
            self._reload_if_changed()
        return self._keys

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        key = self.keys().get(kid)
        return key.public if key else None

    def _reload_if_changed(self) -> None:
        version = self._version_on_disk()
        if version == self._version:
            return
        self._version = version
        try:
            self._keys = _read(self._path, self._parse_key)
        except KeyFileError as error:
            logger.error("key_file_unusable", extra={"error": str(error)})
        else:
            logger.info("key_file_reloaded", extra={"path": str(self._path), "kids": [*self._keys]})

    def _version_on_disk(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


class StaticKeys(_KeyFile[VerifyingKey]):
    """A file of public keys that is given to a program: a source of keys to verify with."""

    def __init__(self, path: Path, clock: Clock = time.monotonic) -> None:
        super().__init__(path, _public_key, clock)


class SigningKeys(_KeyFile[SigningKey]):
    """The private keys of this program: signs with the first, and is a source of keys itself."""

    def __init__(self, path: Path, clock: Clock = time.monotonic) -> None:
        super().__init__(path, _signing_key, clock)

    def signing_key(self) -> SigningKey:
        return next(iter(self.keys().values()))


def read_private(path: Path) -> dict[str, SigningKey]:
    """The keys of a private file by their ids, the one that signs first."""
    return _read(path, _signing_key)


def write_private(path: Path, keys: Iterable[SigningKey], *, create: bool = False) -> None:
    """Replaces the file at once; with `create` only if there is none."""
    _write(path, {"keys": [key.private_jwk() for key in keys]}, _PRIVATE_MODE, create=create)


def ensure_key_file(path: Path, kid_prefix: str) -> None:
    """Make the file with one key if it is not there; of several at once one wins, none is lost."""
    if not path.exists():
        with contextlib.suppress(KeyFileExistsError):
            write_private(path, [make_key(dated_kid(kid_prefix))], create=True)


def write_public_set(private_paths: Iterable[Path], out_path: Path) -> None:
    _write(out_path, merged_public_set(private_paths), _PUBLIC_MODE)


def merged_public_set(private_paths: Iterable[Path]) -> JwkSet:
    """The public parts of all these files; refuses a key id that stands in two of them."""
    merged: dict[str, SigningKey] = {}
    for path in private_paths:
        keys = read_private(path)
        if doubles := merged.keys() & keys.keys():
            raise KeyFileError(f"{path}: key id {min(doubles)} stands in an earlier file too")
        merged |= keys
    return public_set(merged.values())


def _parse_set(document: object, parse_key: _ParseKey[_K]) -> dict[str, _K]:
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise KeyFileError('not a JWK set: {"keys": [{...}, ...]}')
    if not entries:
        raise KeyFileError("there is no key in the set")
    keys: dict[str, _K] = {}
    for entry in entries:
        key = parse_key(entry)
        if key.kid in keys:
            raise KeyFileError(f"key id {key.kid} stands there twice")
        keys[key.kid] = key
    return keys


def _verifying_key(jwk: Mapping[str, object]) -> VerifyingKey:
    kid = _checked_kid(jwk.get("kid"))
    if (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519"):
        raise KeyFileError(f"key {kid} is not Ed25519")
    return VerifyingKey(kid, Ed25519PublicKey.from_public_bytes(_key_bytes(jwk, "x", kid)))


def _public_key(jwk: Mapping[str, object]) -> VerifyingKey:
    key = _verifying_key(jwk)
    if "d" in jwk:
        raise KeyFileError(f"key {key.kid} is private, and a public one is needed here")
    return key


def _signing_key(jwk: Mapping[str, object]) -> SigningKey:
    key = _verifying_key(jwk)
    private = Ed25519PrivateKey.from_private_bytes(_key_bytes(jwk, "d", key.kid))
    if private.public_key() != key.public:
        raise KeyFileError(f"key {key.kid}: x and d do not belong together")
    return SigningKey(key.kid, key.public, private)


def _checked_kid(kid: object) -> str:
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise KeyFileError("a key id (kid) is 1 to 64 of a-z A-Z 0-9 _ . -")
    return kid


def _key_bytes(jwk: Mapping[str, object], name: str, kid: str) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str):
        raise KeyFileError(f"key {kid} has no {name}")
    try:
        data = base64.urlsafe_b64decode(text + "=")
    except ValueError:
        data = b""
    if len(data) != _KEY_BYTES or _base64(data) != text:
        raise KeyFileError(f"key {kid}: {name} is not {_KEY_BYTES} bytes in base64url")
    return data


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _read(path: Path, parse_key: _ParseKey[_K]) -> dict[str, _K]:
    try:
        return _parse_set(json.loads(path.read_bytes()), parse_key)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise KeyFileError(f"{path}: not JSON") from error
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from error


def _write(path: Path, keys: JwkSet, mode: int, *, create: bool = False) -> None:
    """Never half of it."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                os.fchmod(handle, mode)
                json.dump(keys, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(handle)
            if create:
                os.link(name, path)
            else:
                Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except FileExistsError as error:
        raise KeyFileExistsError(f"{path}: is there already") from error
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
