"""The gallery `rooms` that ships with the project: 300 rendered views with all that is known of each.

`model.galleries.make_rooms` made it and says what is in its files.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("rooms")
CREDITS, _MANIFEST = "CREDITS.txt", "manifest.jsonl"


def read_views(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The lines of the manifest: a view each, paths relative to `folder`."""
    return [json.loads(line) for line in (folder / _MANIFEST).read_text("utf-8").splitlines()]
