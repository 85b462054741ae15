"""Logs: one JSON object a line on standard error, a constant event name and fields.

`logger.info("relay_started", extra={"lease": token})` is how the code logs. Request and trace ids
are added from the call in progress. Tokens, addresses and contents are never logged.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from svckit.context import current_call

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line; line breaks in any value are escaped by JSON itself."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "event": record.getMessage(),
            "logger": record.name,
        }
        call = current_call.get()
        if call is not None:
            line["request_id"] = call.request_id
            line["method"] = call.method
            if call.traceparent:
                line["trace_id"] = call.traceparent[3:35]
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logs(service: str, level: str) -> None:
    """Sends the logs of the whole process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
