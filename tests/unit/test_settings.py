from dataclasses import dataclass
from pathlib import Path

import pytest

from svckit.service_settings import (
    own_keys_file,
    page_token_key,
    service_keys_file,
    target,
)
from svckit.settings import Secret, SettingsError, describe, load, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    threads: int = setting("THREADS", "threads", 2, at_least=1, at_most=8)
    ratio: float = setting("RATIO", "a share", 0.5, at_least=0, at_most=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    inner: Inner
    key: Secret = setting("KEY", "a secret")
    file: Path | None = setting("FILE", "a file", None)
    debug: bool = setting("DEBUG", "talk more", default=False)
    level: str = setting("LEVEL", "how much", "low", choices=("low", "high"))


def test_values_are_read_by_type_and_defaults_hold() -> None:
    environ = {"KEY": "s3cret", "FILE": "/x", "DEBUG": "yes", "THREADS": "8", "RATIO": ""}
    settings = load(Outer, environ)
    assert settings == Outer(
        inner=Inner(threads=8, ratio=0.5),
        key=Secret("s3cret"),
        file=Path("/x"),
        debug=True,
        level="low",
    )


def test_all_bad_values_are_reported_together_and_secrets_stay_secret() -> None:
    environ = {"DEBUG": "maybe", "THREADS": "9", "RATIO": "nan", "LEVEL": "loud"}
    with pytest.raises(SettingsError) as caught:
        load(Outer, environ)
    assert caught.value.problems == [
        "THREADS: must be at most 8, got '9'",
        "RATIO: must be at least 0, got 'nan'",
        "KEY: required (a secret)",
        "DEBUG: must be true or false, got 'maybe'",
        "LEVEL: must be one of low, high, got 'loud'",
    ]


@pytest.mark.parametrize("text", ["", " ", "1.5", "1e3", "x"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    if not text:
        assert load(Inner, {"THREADS": text}).threads == 2
        return
    with pytest.raises(SettingsError, match="THREADS: must be a whole number"):
        load(Inner, {"THREADS": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    own_keys_file: Path = own_keys_file()
    service_keys_file: Path = service_keys_file()
    page_token_key: Secret = page_token_key()
    user_svc_target: str = target("user_svc", "dns:///localhost:50051")
    feed_svc_target: str = target("feed_svc")


def test_a_key_that_is_too_short_is_told_without_showing_it() -> None:
    files = {"SERVICE_KEY_FILE": "/own", "SERVICE_JWKS_FILE": "/all"}
    with pytest.raises(SettingsError) as caught:
        load(Shared, {**files, "PAGE_TOKEN_KEY": "k" * 31})
    assert caught.value.problems == ["PAGE_TOKEN_KEY: must be at least 32 characters, got ***"]
    settings = load(Shared, {**files, "PAGE_TOKEN_KEY": "k" * 32, "FEED_SVC_TARGET": "there"})
    assert settings.user_svc_target == "dns:///localhost:50051"
    assert settings.feed_svc_target == "there"


def test_a_secret_is_masked_wherever_settings_are_shown() -> None:
    settings = load(Outer, {"KEY": "s3cret"})
    assert "s3cret" not in repr(settings)
    assert settings.key == "s3cret"


def test_help_names_every_setting_with_its_default() -> None:
    lines = describe(Outer).splitlines()
    assert [line.split()[0] for line in lines] == [
        "THREADS",
        "RATIO",
        "KEY",
        "FILE",
        "DEBUG",
        "LEVEL",
    ]
    assert lines[2].endswith("(required)")
    assert lines[0].endswith("(2)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    low: int = setting("LOW", "the lower", 1)
    high: int = setting("HIGH", "the higher", 2)

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise SettingsError(["LOW: must not be above HIGH"])


def test_what_values_must_fulfil_together_is_told_like_the_rest() -> None:
    with pytest.raises(SettingsError, match="LOW: must not be above HIGH"):
        load(Pair, {"LOW": "3"})
