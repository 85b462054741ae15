"""Settings: frozen dataclasses read from the environment, once, at the start of a program.

A field made with `setting()` names its variable, its default and its bounds. `load` fills a whole
tree of such dataclasses and reports every bad value together, so that nobody mends them one by one.
Nothing else in the code base reads `os.environ`.
"""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PORT_MAX = 65_535


class SettingsError(Exception):
    """One or more settings are missing or wrong; the text lists all of them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("bad settings:\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = problems


class Secret(str):
    """A string that shows itself only to who uses it as one: its repr is masked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)" if self else "Secret('')"


@dataclasses.dataclass(frozen=True, slots=True)
class _Setting:
    name: str
    about: str
    at_least: float | None
    at_most: float | None
    choices: tuple[str, ...]
    length_at_least: int


def setting(
    name: str,
    about: str,
    default: Any = dataclasses.MISSING,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
    length_at_least: int = 0,
) -> Any:
    """A dataclass field that is read from the variable `name`; required when it has no default."""
    spec = _Setting(name, about, at_least, at_most, choices, length_at_least)
    return dataclasses.field(default=default, metadata={"setting": spec})


def load(cls: type[T], environ: Mapping[str, str]) -> T:
    """Reads all settings of `cls`, or raises one SettingsError that names every bad one."""
    problems: list[str] = []
    value = _load(cls, environ, problems)
    if problems:
        raise SettingsError(problems)
    return value


def describe(cls: type[Any]) -> str:
    """The settings of `cls` as lines of help: name, default, meaning."""
    lines = []
    for spec, field in _walk(cls):
        if field.default is dataclasses.MISSING:
            default = "required"
        elif field.default in {"", None}:
            default = "empty"
        else:
            default = str(field.default)
        lines.append(f"  {spec.name:<28} {spec.about} ({default})")
    return "\n".join(lines)


def _walk(cls: type[Any]) -> Iterator[tuple[_Setting, "dataclasses.Field[Any]"]]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        spec = field.metadata.get("setting")
        if spec is not None:
            yield spec, field
        elif dataclasses.is_dataclass(hints[field.name]):
            yield from _walk(typing.cast("type[Any]", hints[field.name]))


def _load(cls: type[T], environ: Mapping[str, str], problems: list[str]) -> T:
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(typing.cast("Any", cls)):
        spec = field.metadata.get("setting")
        if spec is None:
            if dataclasses.is_dataclass(hints[field.name]):
                values[field.name] = _load(hints[field.name], environ, problems)
            continue
        text = environ.get(spec.name, "")
        if not text:
            if field.default is dataclasses.MISSING:
                problems.append(f"{spec.name}: required ({spec.about})")
            continue
        try:
            values[field.name] = _parse(spec, hints[field.name], text)
        except ValueError as error:
            shown = "***" if hints[field.name] is Secret else repr(text[:40])
            problems.append(f"{spec.name}: {error}, got {shown}")
    if not problems:
        try:
            return cls(**values)
        except SettingsError as error:  # what several values must fulfil together
            problems += error.problems
    return typing.cast("T", None)  # never used: the caller raises


def _parse(spec: _Setting, hint: Any, text: str) -> Any:
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    if spec.choices and text not in spec.choices:
        raise ValueError(f"must be one of {', '.join(spec.choices)}")
    if hint is bool:
        if text.lower() not in {"true", "false", "1", "0", "yes", "no", "on", "off"}:
            raise ValueError("must be true or false")
        return text.lower() in {"true", "1", "yes", "on"}
    if hint in {int, float}:
        return _parse_number(spec, hint, text)
    if len(text) < spec.length_at_least:
        raise ValueError(f"must be at least {spec.length_at_least} characters")
    if hint in {str, Secret, Path}:
        return hint(text)
    raise TypeError(f"{spec.name}: no way to read a {hint}")


def _parse_number(spec: _Setting, hint: type[int] | type[float], text: str) -> float:
    try:
        number = hint(text)
    except ValueError:
        raise ValueError("must be a whole number" if hint is int else "must be a number") from None
    if spec.at_least is not None and not number >= spec.at_least:
        raise ValueError(f"must be at least {spec.at_least:g}")
    if spec.at_most is not None and not number <= spec.at_most:
        raise ValueError(f"must be at most {spec.at_most:g}")
    return number
