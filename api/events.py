"""Server-sent events as the service sends them: an `event:` line, a `data:` line of JSON, an empty line."""

import json
from collections.abc import Iterable, Iterator
from typing import Any


def event_text(name: str, data: str) -> str:
    """One event; `data` is JSON on one line."""
    return f"event: {name}\ndata: {data}\n\n"


def read_events(lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """(name, data) of each event; comments, which only keep the connection open, are left out."""
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
