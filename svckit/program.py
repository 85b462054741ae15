"""The `__main__` of every program: help with all settings, one line when it can't run."""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

from svckit.auth.keys import KeyFileError
from svckit.logs import configure_logs
from svckit.migration_files import MigrationError
from svckit.settings import PORT_MAX, SettingsError, describe, load, setting
from svckit.telemetry import configure_traces, start_metrics

S = TypeVar("S")
# What is garbage goes by its reference count, but for cycles. To look for these after every 700 new
# objects, Python's default, is every few calls: 7 % of a server's time.
NEW_OBJECTS_BEFORE_COLLECTION = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """How a process tells of itself."""

    metrics_host: str = setting("METRICS_HOST", "address that /metrics listens on", "0.0.0.0")  # noqa: S104 for containers
    metrics_port: int = setting(
        "METRICS_PORT", "port of /metrics; 0 = off", 0, at_least=0, at_most=PORT_MAX
    )
    log_level: str = setting(
        "LOG_LEVEL", "from here on is logged", "info", choices=("debug", "info", "warning", "error")
    )
    otlp_endpoint: str = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT", "where traces go; all OTEL_* are read by the SDK", ""
    )


def parser_of(
    name: str, description: str, settings_class: type[Any], background_role: str = "relay"
) -> argparse.ArgumentParser:
    """With `--role`; a program adds its own commands."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        epilog="settings (environment):\n" + describe(settings_class),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--role",
        choices=("api", background_role, "all"),
        default="all",
        help=f"api = serves calls; {background_role} = background work and events;"
        " all = both (default)",
    )
    return parser


def run_with_settings(name: str, settings_class: type[S], work: Callable[[S], int]) -> int:
    """Does `work`; what an operator can mend is told in a line, without a traceback."""
    try:
        return work(load(settings_class, os.environ))
    except SettingsError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    except (KeyFileError, MigrationError, OSError, RuntimeError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1


def serve(name: str, settings: ProcessSettings, program: Coroutine[Any, Any, None]) -> int:
    """Runs the program to its end, with logs, metrics and traces."""
    configure_logs(name, settings.log_level)
    start_metrics(settings.metrics_host, settings.metrics_port)
    provider = configure_traces(name, settings.otlp_endpoint)
    try:
        run(program)
    finally:
        if provider is not None:
            provider.shutdown()
    return 0


def run(program: Coroutine[Any, Any, None]) -> None:
    """On the event loop and with the garbage collector of all servers."""
    gc.freeze()  # what the program is made of stays
    gc.set_threshold(NEW_OBJECTS_BEFORE_COLLECTION)
    uvloop.run(program)
