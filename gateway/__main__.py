"""Runs the gateway: see `python -m gateway --help`."""

import argparse
import sys
from collections.abc import Sequence

from gateway.app import NAME, run
from gateway.settings import Settings
from svckit.program import run_with_settings, serve
from svckit.settings import describe


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAME}",
        description="HTTP/JSON for clients, gRPC to the services.",
        epilog="settings (environment):\n" + describe(Settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    return run_with_settings(
        NAME, Settings, lambda settings: serve(NAME, settings.process, run(settings))
    )


if __name__ == "__main__":
    sys.exit(main())
