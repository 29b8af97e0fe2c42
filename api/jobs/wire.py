"""Server-sent events as the service sends them: an `event:` line, a `data:` line of JSON, an empty line."""

import json
from collections.abc import Iterator
from typing import Any


def event_text(name: str, data: str) -> str:
    """One event; `data` is JSON on one line."""
    return f"event: {name}\ndata: {data}\n\n"


class EventReader:
    """Reads events line by line, and skips comments, which only keep the connection open."""

    def __init__(self) -> None:
        self._name = ""

    def read(self, line: str) -> Iterator[tuple[str, Any]]:
        """The (name, data) of the event that `line` completes, if it does."""
        field, _, value = line.partition(": ")
        if field == "event":
            self._name = value
        elif field == "data":
            yield self._name, json.loads(value)
