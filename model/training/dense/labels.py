"""The labels of the bundled weights' regions, by name: what a decoder beside their network has to say, too."""

import json
from pathlib import Path

from anyseek.model.fourm.bundled.bundle import MANIFEST, WEIGHTS
from anyseek.model.fourm.bundled.images import CLASSES


def bundled_labels(folder: Path = WEIGHTS / "4m-tiny") -> dict[str, int]:
    """The number of each name, from 1; 0 is none."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return {name: int(number) for number, name in manifest[CLASSES]["semseg"].items()}
