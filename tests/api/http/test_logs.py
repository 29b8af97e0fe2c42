"""Log lines tell who asks; they are lines to read on a terminal and JSON elsewhere."""

import json
import logging
import os
import pty
import sqlite3
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from anyseek.api.http.logs import JsonLines, TextLines
from anyseek.api.http.security import Scope, create_key
from anyseek.search.actor import Actor, acting_as
from anyseek.search.settings import BadSetting, read_settings
from tests.api.conftest import StartService

PROGRAM = """
import logging
from anyseek.api.http.logs import configure_logs
from anyseek.search.settings import read_settings
configure_logs(read_settings().logs)
logging.getLogger("x").info("hello", extra={"fields": {"status": 200}})
logging.getLogger("x").debug("only when asked")
"""


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.INFO, "x.py", 1, message, None, None)
    made.fields = fields
    return made


def on_terminal(environment: dict[str, str]) -> str:
    """What the program writes to stderr where that is a terminal."""
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", PROGRAM], stderr=theirs, env={**os.environ, **environment}, check=True)
    os.close(theirs)
    written = os.read(ours, 10_000).decode()
    os.close(ours)
    return written


def elsewhere(environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        check=True,
        text=True,
    )
    return done.stderr


def test_a_terminal_gets_lines_to_read_and_all_else_json() -> None:
    line = on_terminal({})
    assert line.rstrip().endswith("info    hello status=200")
    assert json.loads(elsewhere({}))["status"] == 200
    assert json.loads(on_terminal({"ANYSEEK_LOGS_FORMAT": "json"}))["event"] == "hello"
    assert elsewhere({"ANYSEEK_LOGS_FORMAT": "text"}).endswith("info    hello status=200\n")
    assert "only when asked" in elsewhere({"ANYSEEK_LOGS_LEVEL": "debug"})
    assert elsewhere({"ANYSEEK_LOGS_LEVEL": "warning"}) == ""


def test_what_is_not_offered_is_refused() -> None:
    with pytest.raises(BadSetting, match="ANYSEEK_LOGS_FORMAT must be 'auto', 'text' or 'json', not 'xml'"):
        read_settings({"ANYSEEK_LOGS_FORMAT": "xml"})
    with pytest.raises(BadSetting, match="ANYSEEK_LOGS_LEVEL"):
        read_settings({"ANYSEEK_LOGS_LEVEL": "loud"})


def test_lines_tell_the_caller_and_the_job() -> None:
    with acting_as(Actor("key:alice", "10.0.0.7", "abc", job=3)):
        line = json.loads(JsonLines().format(record("done")))
        told = TextLines().format(record("done"))
    assert {name: line[name] for name in ("key", "address", "request_id", "job")} == {
        "key": "alice",
        "address": "10.0.0.7",
        "request_id": "abc",
        "job": 3,
    }
    assert told.endswith("done request_id=abc key=alice address=10.0.0.7 job=3")
    assert "key" not in json.loads(JsonLines().format(record("done")))


def test_nothing_passes_for_another_line_or_steers_the_terminal() -> None:
    told = TextLines().format(record("one\n12:00:00 info two\x1b[2J", route="/a b", reason="\x1b]0;x\n"))
    assert "\n" not in told
    assert "\x1b" not in told
    assert 'route="/a b"' in told


def _requests(caplog: pytest.LogCaptureFixture, count: int) -> list[dict[str, Any]]:
    """What is logged of so many requests; the line of one may come a moment after its answer."""
    for _ in range(500):
        found = [made.__dict__["fields"] for made in list(caplog.records) if made.getMessage() == "request"]
        if len(found) >= count:
            break
        time.sleep(0.01)
    return found


def test_the_line_of_a_request_has_key_address_and_route(
    start_service: StartService, caplog: pytest.LogCaptureFixture
) -> None:
    url, service = start_service()
    key = create_key(service.runtime.database, "alice", Scope.READ)
    caplog.set_level(logging.INFO)
    httpx.get(f"{url}/v1/collections", headers={"authorization": f"Bearer {key}"})
    httpx.get(f"{url}/v1/collections", headers={"authorization": "Bearer wrong"})
    good, refused = _requests(caplog, 2)
    assert (good["key"], good["address"], good["status"]) == ("alice", "127.0.0.1", 200)
    assert good["route"] == "/v1/collections"
    assert "key" not in refused
    assert (refused["address"], refused["status"]) == ("127.0.0.1", 401)


def test_lines_from_threads_tell_the_caller(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes run in threads; what they log is told with the request that they work for."""
    url, service = start_service()
    key = create_key(service.runtime.database, "alice", Scope.READ)
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, made: logging.LogRecord) -> None:
            lines.append(JsonLines().format(made))

    handler = Keep()
    logging.getLogger("of.a.route").addHandler(handler)
    monkeypatch.setattr(
        "anyseek.api.routes.collections.collections.list_all",
        lambda session: logging.getLogger("of.a.route").warning("from a thread") or [],
    )
    answer = httpx.get(f"{url}/v1/collections", headers={"authorization": f"Bearer {key}"})
    logging.getLogger("of.a.route").removeHandler(handler)
    (line,) = lines
    assert json.loads(line)["key"] == "alice"
    assert json.loads(line)["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()])
def test_a_traceback_does_not_lead_to_the_documentation_of_sqlalchemy(lines: logging.Formatter) -> None:
    failed = record("request failed")
    error = OperationalError("SELECT 1", None, sqlite3.OperationalError("no such table"))
    failed.exc_info = OperationalError, error, None
    assert "Background on this error" in str(error)
    line = lines.format(failed)
    assert "no such table" in line
    assert "Background on this error" not in line
