"""The rooms of the demo, which ship with the project, and the credits for what all of its galleries show.

The 300 rendered views in `rooms/` are of the test split of `anyseek.model.rooms` (docs/data.md).
"""

import json
from pathlib import Path
from typing import Any

from anyseek.model.galleries.openmoji import ATTRIBUTION
from anyseek.model.galleries.photos import photo_credits, read_photos

FOLDER = Path(__file__).with_name("rooms")
CREDITS, _MANIFEST = "CREDITS.txt", "manifest.jsonl"


def read_views(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The lines of the manifest: a view each, paths relative to `folder`."""
    return [json.loads(line) for line in (folder / _MANIFEST).read_text("utf-8").splitlines()]


_EMOJIBASE_LICENCE = Path(__file__).with_name("LICENSE.emojibase-data.txt")
_CC_BY_SA = "https://creativecommons.org/licenses/by-sa/4.0/"


def credits_text() -> str:
    """Return the credits of all demo collections as plain text. Raises `ShardCorrupt` if the photos are damaged."""
    return "\n".join(
        (
            "The collection openmoji\n",
            f"{ATTRIBUTION}\nCC BY-SA 4.0: {_CC_BY_SA}\n\nThe licence of emojibase-data:\n",
            _EMOJIBASE_LICENCE.read_text("utf-8"),
            "\nThe collection rooms\n",
            (FOLDER / CREDITS).read_text("utf-8"),
            "\nThe collection photos\n",
            photo_credits(read_photos()),
        )
    )
