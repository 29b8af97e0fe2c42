"""The demo gallery as a folder that `anyseek index` can read: 2,460 OpenMoji pictures and a manifest."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.galleries.openmoji import Concept, Drawings, Rendering, read_concepts, render_png

PICTURE_SIZE = 224


def write_gallery(folder: Path, wheel: Path, progress: Callable[[int, int], None]) -> None:
    """Render every base concept of `wheel` into `folder`, unless that was done before.

    The folder appears whole or not at all: it is filled beside its place and renamed. `progress` is told how many
    pictures of how many are done.
    """
    if folder.exists():
        return
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    concepts = read_concepts()
    with Drawings(wheel) as drawings, (unfinished / "manifest.jsonl").open("w", encoding="utf-8") as manifest:
        for done, concept in enumerate(concepts, start=1):
            name = f"{concept.hexcode}.png"
            (unfinished / name).write_bytes(render_png(drawings[concept.hexcode], Rendering.FULL, PICTURE_SIZE))
            manifest.write(json.dumps(_manifest_row(name, concept), ensure_ascii=False) + "\n")
            progress(done, len(concepts))
    unfinished.rename(folder)


def _manifest_row(name: str, concept: Concept) -> dict[str, Any]:
    row: dict[str, Any] = {"file": name, "key": concept.hexcode}
    if concept.caption:
        row["caption"] = concept.caption
        row["attributes"] = {"group": concept.group, "subgroup": concept.subgroup, "tags": list(concept.tags)}
    return row
