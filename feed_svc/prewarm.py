"""The command that builds windows ahead of time, with what it has done on the terminal.

It does the work itself, beside the running servers, so it takes no token of an admin and as long
as it takes.
"""

import sys
from collections.abc import Iterable
from uuid import UUID

from feed_svc.app import NAME, open_app
from feed_svc.model import UserId
from feed_svc.settings import Settings
from svckit.auth.keys import SigningKeys
from svckit.auth.tokens import ServiceTokenSource
from svckit.errors import InvalidArgument
from svckit.ids import parse_id
from svckit.rpc.client import ServiceChannel

BATCH_MAX = 500
BAR_LENGTH = 40


async def prewarm(settings: Settings, lines: Iterable[str]) -> int:
    """0 = every window stands; whose does not is written to standard output, one a line."""
    viewer_ids = []
    for number, line in enumerate(lines, start=1):
        try:
            viewer_ids.append(UserId(parse_id(line.strip(), "user_id").bytes))
        except InvalidArgument as error:
            sys.stderr.write(f"{NAME}: line {number} {error.violations[0].description}\n")
            return 2
    tokens = ServiceTokenSource(SigningKeys(settings.own_keys_file), NAME)
    built = present = failed = 0
    async with (
        ServiceChannel(settings.user_svc_target, tokens.token) as user_svc,
        ServiceChannel(settings.content_svc_target, tokens.token) as content_svc,
        open_app(settings, user_svc, content_svc) as app,
    ):
        for start in range(0, len(viewer_ids), BATCH_MAX):
            done = await app.admin.prewarm(viewer_ids[start : start + BATCH_MAX])
            built, present = built + done.built_count, present + done.present_count
            failed += len(done.failed_ids)
            sys.stdout.writelines(f"{UUID(bytes=each)}\n" for each in done.failed_ids)
            _show(built + present + failed, len(viewer_ids))
    sys.stderr.write(f"built {built:,}, present {present:,}, failed {failed:,}\n")
    return 1 if failed else 0


def _show(done: int, total: int) -> None:
    """A bar, on a terminal only."""
    if sys.stderr.isatty():
        filled = BAR_LENGTH * done // total
        bar = "#" * filled + "-" * (BAR_LENGTH - filled)
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r[{bar}] {done:>9,} / {total:,}{end}")
        sys.stderr.flush()
