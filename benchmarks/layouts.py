"""How well a map keeps neighbours (`anyseek map`), beside the two first principal components alone.

    python -m benchmarks.layouts [--model 4m-tiny] [--at-scale 20000]

For each picture of a demo gallery, its 10 nearest by their vectors are looked for among its 10 and its 30 nearest on
the map; the share that is there is printed. A map of which only a part is laid out, and the rest placed beside it, is
measured too; on request also the time and the memory for many items, of random vectors around 200 centres.
"""

import argparse
import json
import time
import tracemalloc
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.galleries.demo import FOLDER, read_views
from anyseek.model.galleries.photos import read_photos
from anyseek.model.home import default_home
from anyseek.model.loading import load_embedder
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import Embedder, FloatArray, Sample
from anyseek.search.evaluation.cells import centred_items
from anyseek.search.layout import lay_out, principal_components

NEAREST, WITHIN = 10, (10, 30)


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="4m-tiny")
    parser.add_argument("--at-scale", type=int, default=0, help="also lay out so many random vectors of 384 dimensions")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    embedder = load_embedder(arguments.model, default_home())
    report = {name: measure(embedded(embedder, pictures)) for name, pictures in galleries().items()}
    if arguments.at_scale:
        report["at scale"] = at_scale(arguments.at_scale)
    print(json.dumps(report) if arguments.json else "\n".join(_as_text(report)))


def galleries() -> dict[str, list[ByteArray]]:
    """The pictures of the demo's photos and rooms."""
    rooms = [np.asarray(Image.open(FOLDER / view["file"]).convert("RGB")) for view in read_views()]
    return {"photos": [photo.picture() for photo in read_photos()], "rooms": rooms}


def embedded(embedder: Embedder, pictures: list[ByteArray]) -> FloatArray:
    """The pictures' vectors as they are searched: unit (n, d), centred."""
    space = embedder.spaces[embedder.default_space("rgb")]
    vectors = [embedder.embed_gallery([Sample({"rgb": picture})], [space.name])[space.name] for picture in pictures]
    return centred_items(np.concatenate(vectors), space)


def measure(vectors: FloatArray) -> dict[str, Any]:
    """Shares of kept neighbours by the way to lay out vectors (n, d), by chance, and the seconds that the map took."""
    started = time.perf_counter()
    whole = lay_out(vectors)
    seconds = time.perf_counter() - started
    ways = {
        "map": whole,
        "map of a half, the rest beside it": lay_out(vectors, most=len(vectors) // 2),
        "principal components": principal_components(vectors, vectors, 2),
    }
    shares = {name: [round(kept(vectors, placed, within), 3) for within in WITHIN] for name, placed in ways.items()}
    shares["by chance"] = [round(within / (len(vectors) - 1), 3) for within in WITHIN]
    return {"items": len(vectors), "seconds": round(seconds, 1), "kept": shares}


def kept(vectors: FloatArray, placed: FloatArray, within: int) -> float:
    """The share of the 10 nearest by unit vectors (n, d) that are among the `within` nearest at `placed` (n, 2)."""
    alike = vectors @ vectors.T
    apart = ((placed[:, np.newaxis] - placed) ** 2).sum(axis=2)
    np.fill_diagonal(alike, -np.inf)
    np.fill_diagonal(apart, np.inf)
    nearest, shown = np.argsort(-alike, axis=1)[:, :NEAREST], np.argsort(apart, axis=1)[:, :within]
    return float((nearest[:, :, np.newaxis] == shown[:, np.newaxis]).any(axis=2).mean())


def at_scale(count: int, dimension: int = 384) -> dict[str, Any]:
    """Seconds for laying out `count` vectors, and the most memory in MB that this takes besides them."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((200, dimension), np.float32)
    vectors = centres[np.arange(count) % 200]
    vectors += random.standard_normal(vectors.shape, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    tracemalloc.start()
    started = time.perf_counter()
    lay_out(vectors)
    seconds, (_, most) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"items": count, "seconds": round(seconds, 1), "more MB": round(most / 1e6)}


def _as_text(report: dict[str, Any]) -> list[str]:
    lines = []
    for name, told in report.items():
        more = f", {told['more MB']} MB more" if "more MB" in told else ""
        lines.append(f"{name}: {told['items']:,} items in {told['seconds']:.1f} s{more}")
        for way, shares in told.get("kept", {}).items():
            parts = (f"{share:.2f} among {within}" for share, within in zip(shares, WITHIN, strict=True))
            lines.append(f"  {way:<36} {'   '.join(parts)}")
    return lines


if __name__ == "__main__":
    main()
