"""Logs on stderr: text lines on a terminal, one JSON object per line elsewhere; never contents or API keys.

Each line names the actor as far as it is known: the name of the key, the address, the request's id,
the job (`anyseek.search.actor`).
"""

import json
import logging
import sys
from datetime import UTC, datetime

from anyseek.search.actor import current_actor
from anyseek.search.catalogue.failures import strip_link
from anyseek.search.settings import Logs

_ENCODER = json.JSONEncoder(default=str)  # `json.dumps` would make one per record
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """The record's `extra={"fields": {...}}`, and the fields of the current actor."""
    return {**current_actor().fields(), **getattr(record, "fields", {})}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON, with its fields as members."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line.update(fields_of(record))
        if record.exc_info:
            line["traceback"] = strip_link(self.formatException(record.exc_info))
        return _ENCODER.encode(line)


class TextLines(logging.Formatter):
    """Formats a record as text: local time, level, event, fields; a traceback follows on its own lines."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = [f"{name}={_quoted(value)}" for name, value in fields_of(record).items() if value is not None]
        line = " ".join([time, record.levelname.lower().ljust(7), _one_line(record.getMessage()), *fields])
        return f"{line}\n{strip_link(self.formatException(record.exc_info))}" if record.exc_info else line


def _quoted(value: object) -> str:
    """A value, in quotes if it has spaces, quotes, equals signs or unprintable characters."""
    text = str(value)
    return text if text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


def _one_line(text: str) -> str:
    """The text with control characters escaped, so that no message forges a line or controls the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def configure_logs(settings: Logs) -> None:
    """Send every logger of this process to stderr; the format `auto` is text on a terminal and JSON elsewhere."""
    handler = logging.StreamHandler(sys.stderr)
    is_text = settings.format == "text" or (settings.format == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextLines() if is_text else JsonLines())
    # No format uses these, and each costs a lookup per record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=_LEVELS[settings.level], handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "alembic", "multipart", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
