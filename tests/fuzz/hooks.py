"""What schemathesis is told: names that exist, and what an answer must never be."""

from typing import Any

import schemathesis

from tests.fuzz.sent import wrong
from tests.fuzz.values import COLLECTION, KEYS


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Let most requests, but none that delete a collection, be about a collection and an item that are there."""
    if not path_parameters or len(str(path_parameters.get("collection", ""))) % 4 == 3:
        return path_parameters
    if context.operation.method == "delete" and "key" not in path_parameters:
        return path_parameters
    there = {"collection": COLLECTION, "key": KEYS[0]}
    return {name: there.get(name, value) for name, value in path_parameters.items()}


@schemathesis.check
def answers_well(_: Any, response: Any, case: Any) -> None:
    """No failure, no problem that is not ours, no number that JSON does not have."""
    media_type = (response.headers.get("content-type") or [""])[0]
    text = None if case.method == "HEAD" else response.content.decode("utf-8", "replace")
    sentence = wrong(response.status_code, media_type, text)
    assert sentence is None, sentence
