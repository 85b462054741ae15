"""Runs content_svc: see `python -m content_svc --help`."""

import sys
from collections.abc import Sequence

from content_svc.app import NAME, run
from content_svc.settings import Settings
from svckit.program import parser_of, run_with_settings, serve


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(NAME, "Posts, shares, comments and likes; serves gRPC.", Settings)
    role = parser.parse_args(arguments).role
    return run_with_settings(
        NAME, Settings, lambda settings: serve(NAME, settings.process, run(settings, role))
    )


if __name__ == "__main__":
    sys.exit(main())
