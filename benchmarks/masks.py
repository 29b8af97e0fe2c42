"""Whether a mask of a piece of furniture finds more rooms with such a piece than its box, or than the whole picture.

    make demo            # or any service with its rooms
    python -m benchmarks.masks http://127.0.0.1:8765 [--every 6] [--json]

Each sixth of the demo's rooms asks with its largest piece that covers 4 to 35% of the picture. A hit counts if such a
piece covers more than 1% of it. The room itself is left out.
"""

import io
import json
from collections.abc import Mapping

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek import Client
from anyseek.api.queries.wire import Part
from anyseek.model.galleries.demo import FOLDER, read_views
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.seam import Regions
from anyseek.search.settings import Limits

_SURROUNDINGS = ("wall", "floor", "ceiling")
_LEAST, _MOST, _THERE = 0.04, 0.35, 0.01  # shares of a picture
_HITS, _DRAWS = 10, 2_000

Mask = npt.NDArray[np.bool_]


@click.command()
@click.argument("url")
@click.option("--every", type=click.IntRange(1), default=6, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(url: str, every: int, as_json: bool) -> None:
    """Print the share of the first ten hits that have the piece, by how it was asked for."""
    masks = masks_of_rooms()
    shares: dict[str, list[float]] = {"whole picture": [], "box": [], "mask": [], "by chance": []}
    with Client(url, patience=120) as client:
        for key in list(masks)[::every]:
            name = piece(masks[key])
            if name is None:
                continue
            wanted = {other for other, pieces in masks.items() if name in pieces and pieces[name].mean() > _THERE}
            shares["by chance"].append(len(wanted - {key}) / (len(masks) - 1))
            for way, part in parts(key, masks[key][name]).items():
                hits = [hit.key for hit in client.query("rooms", part, k=_HITS + 1).hits if hit.key != key][:_HITS]
                shares[way].append(float(np.mean([hit in wanted for hit in hits])))
    report = {way: round(float(np.mean(found)), 3) for way, found in shares.items()}
    report |= {"rooms": len(shares["mask"]), "mask less box": gain(shares["mask"], shares["box"])}
    click.echo(json.dumps(report) if as_json else "\n".join(f"{name}: {value}" for name, value in report.items()))


def masks_of_rooms() -> dict[str, dict[str, Mask]]:
    """The mask (H, W) of each class in each of the demo's rooms, by key and name."""
    found = {}
    for view in read_views():
        about = view["modalities"]["semseg"]
        names = {int(number): name for number, name in about["classes"].items()}
        regions = decode_file("semseg", FOLDER / about["file"], Limits(), names)
        assert isinstance(regions, Regions)
        ids = {name: [number for number in names if names[number] == name] for name in names.values()}
        found[view["key"]] = {name: np.isin(regions.ids, numbers) for name, numbers in ids.items()}
    return found


def piece(masks: Mapping[str, Mask]) -> str | None:
    """The largest piece of furniture that is neither too small nor too large to ask with."""
    shares = {name: float(mask.mean()) for name, mask in masks.items() if name not in _SURROUNDINGS}
    fitting = {name: share for name, share in shares.items() if _LEAST < share < _MOST}
    return max(fitting, key=lambda name: fitting[name], default=None)


def parts(key: str, mask: Mask) -> dict[str, Part]:
    """A query for a room's picture, for the box around a mask, and for what the mask covers."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    box = [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(file, "PNG")
    boxed, masked = Part(item=key, box=[float(edge) for edge in box]), Part(item=key, mask=file.getvalue())
    return {"whole picture": Part(item=key), "box": boxed, "mask": masked}


def gain(first: list[float], second: list[float]) -> str:
    """The mean difference, with the interval in which 95% of means over drawn rooms lie."""
    differences, random = np.array(first) - np.array(second), np.random.default_rng(0)
    means = [random.choice(differences, len(differences)).mean() for _ in range(_DRAWS)]
    least, most = np.percentile(means, [2.5, 97.5])
    return f"{differences.mean():+.3f} ({least:+.3f} {most:+.3f})"


if __name__ == "__main__":
    main()
