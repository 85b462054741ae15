import json
import logging
import sys

import pytest

from svckit.context import Call, current_call
from svckit.logs import JsonFormatter


def record(event: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("a.logger", logging.INFO, __file__, 1, event, (), None)
    made.__dict__.update(fields)
    return made


def test_a_line_is_one_json_object_whatever_the_fields_hold() -> None:
    line = JsonFormatter("svc").format(record("renamed", name_now='a\r\n{"event": "forged"}'))
    assert "\n" not in line
    assert "\r" not in line
    parsed = json.loads(line)
    assert parsed["event"] == "renamed"
    assert parsed["service"] == "svc"
    assert parsed["name_now"] == 'a\r\n{"event": "forged"}'


def test_the_call_in_progress_is_named() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    token = current_call.set(Call("/s/M", "r-1", 0.0, traceparent=trace, token="secret-token"))
    try:
        line = JsonFormatter("svc").format(record("x"))
    finally:
        current_call.reset(token)
    parsed = json.loads(line)
    assert parsed["request_id"] == "r-1"
    assert parsed["method"] == "/s/M"
    assert parsed["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert "secret-token" not in line


def test_an_exception_is_written_with_its_traceback() -> None:
    made = record("broken")
    try:
        raise KeyError("lost")
    except KeyError:
        made.exc_info = sys.exc_info()
    assert "KeyError: 'lost'" in json.loads(JsonFormatter("svc").format(made))["traceback"]


@pytest.mark.parametrize("value", [object(), b"\xff", {1, 2}])
def test_any_value_can_be_logged(value: object) -> None:
    json.loads(JsonFormatter("svc").format(record("x", value=value)))
