"""How well a roughly painted segmentation finds its room among the 300 of the demo.

    python -m benchmarks.paintings [--json] [--model 4m-tiny] [--every 3] [--cells 10,12,14]

A painting is made of a room's true segmentation: the most frequent class of each cell. It is asked as it is, and as
the service asks it (`anyseek.model.modalities.rough_maps`). How to round was chosen on every second of the rooms that
are painted by default; the others are reported apart.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.galleries.demo import FOLDER, read_views
from anyseek.model.home import default_home
from anyseek.model.loading import load_embedder
from anyseek.model.modalities.rough_maps import painted, rounded
from anyseek.model.seam import Embedder, FloatArray, Regions, Sample
from anyseek.search.evaluation.cells import centred_items
from anyseek.search.evaluation.measures import ranks
from anyseek.search.query_vectors import centre_queries

SEMSEG = "semseg"


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="4m-tiny")
    parser.add_argument("--every", type=int, default=3, help="paint every so many rooms")
    parser.add_argument("--cells", default="10,12,14", help="cells a side, for each a measurement")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    embedder = load_embedder(arguments.model, default_home())
    sides = [int(side) for side in arguments.cells.split(",")]
    report = measure(embedder, read_views(), arguments.every, sides)
    print(json.dumps(report) if arguments.json else "\n".join(_as_text(report)))


def measure(embedder: Embedder, views: Sequence[dict[str, Any]], every: int, sides: Sequence[int]) -> dict[str, Any]:
    """R@10 and the median rank of whole segmentations and of paintings with so many cells a side."""
    asked = range(0, len(views), every)
    exact = [_segmentation(views[place]) for place in asked]
    gallery = _gallery(embedder, views)
    report: dict[str, Any] = {"rooms": len(views), "asked": len(asked), "space": embedder.default_space(SEMSEG)}
    kinds: dict[str, Callable[[Regions], Regions]] = {"whole": lambda regions: regions}
    kinds |= {f"{side} cells": lambda regions, side=side: painted(regions, side) for side in sides}  # type: ignore[misc]
    for name, made in kinds.items():
        for way, prepared in (("as it is", lambda regions: regions), ("rounded", rounded)):
            queries = _queries(embedder, [prepared(made(regions)) for regions in exact])
            found = ranks(queries, gallery, np.array(asked))
            report[f"{name}, {way}"] = {"chosen on": _told(found[::2]), "others": _told(found[1::2])}
    return report


def _segmentation(view: dict[str, Any]) -> Regions:
    about = view["modalities"][SEMSEG]
    ids = np.asarray(Image.open(FOLDER / about["file"]))
    return Regions(ids, {int(number): name for number, name in about["classes"].items()})


def _gallery(embedder: Embedder, views: Sequence[dict[str, Any]]) -> FloatArray:
    space = embedder.spaces[embedder.default_space(SEMSEG)]
    pictures = (np.asarray(Image.open(FOLDER / view["file"]).convert("RGB")) for view in views)
    vectors = [embedder.embed_gallery([Sample({"rgb": picture})], [space.name])[space.name] for picture in pictures]
    return centred_items(np.concatenate(vectors), space)


def _queries(embedder: Embedder, asked: Sequence[Regions]) -> FloatArray:
    space = embedder.spaces[embedder.default_space(SEMSEG)]
    vectors = [embedder.embed([Sample({SEMSEG: regions})], [space.name])[space.name] for regions in asked]
    return centre_queries(space, [SEMSEG], np.concatenate(vectors))


def _told(found: Any) -> dict[str, float]:
    return {"R@10": round(float(np.mean(found <= 10)), 3), "median rank": float(np.median(found))}


def _as_text(report: dict[str, Any]) -> list[str]:
    lines = [f"{report['asked']} of {report['rooms']} rooms by their segmentation, in {report['space']}"]
    for name, told in report.items():
        if isinstance(told, dict):
            parts = (f"{which}: R@10 {of['R@10']:.2f}, median rank {of['median rank']:g}" for which, of in told.items())
            lines.append(f"{name:<22} {'   '.join(parts)}")
    return lines


if __name__ == "__main__":
    main()
