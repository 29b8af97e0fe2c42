"""Make example data for docs/add-a-modality.md: python configs/examples/make_thermal.py --out FOLDER.

The gallery `rooms` as a folder of aligned files with one modality that Anyseek does not know: made-up thermal pictures,
grey, brighter is warmer. Lamps, people and radiators glow, windows and fridges are cold, everything else is as warm as
the room, and the picture is blurred and noisy, as those of small sensors are.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from anyseek.model.data.samples import Split
from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.modalities.drawings import ByteArray

SPLITS = {Split.TRAIN: 210, Split.VAL: 40, Split.TEST: 50}  # views, in this order
_ROOM = 21.0  # degrees
_WARMER = {
    "person": 14.0,
    "animal": 13.0,
    "lamp": 24.0,
    "ceiling lamp": 26.0,
    "wall lamp": 22.0,
    "lantern": 20.0,
    "radiator": 30.0,
    "electronics": 12.0,
    "music player": 9.0,
    "kitchen appliance": 15.0,
    "exercise machine": 3.0,
    "bed": 2.0,
    "plant": -2.0,
    "floor": -2.5,
    "sink": -4.0,
    "toilet": -4.0,
    "window": -9.0,
    "fridge": -6.0,
}
_COLDEST, _WARMEST = 8.0, 55.0  # degrees that are black and white
_BLUR, _NOISE = 1.5, 0.3  # pixels, degrees


def make_files(out: Path, gallery: Path = FOLDER) -> None:
    """Write `out/SPLIT/{rgb,thermal,caption}/KEY.*` for every view of the gallery."""
    splits = [split for split, views in SPLITS.items() for _ in range(views)]
    for split, view in zip(splits, read_views(gallery), strict=True):
        key = view["key"]
        paths = {name: out / split / name / key for name in ("rgb", "thermal", "caption")}
        for path in paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        paths["rgb"].with_suffix(".jpg").write_bytes((gallery / view["file"]).read_bytes())
        paths["caption"].with_suffix(".txt").write_text(f"{view['caption']}\n", encoding="utf-8")
        Image.fromarray(thermal_picture(view, gallery)).save(paths["thermal"].with_suffix(".png"))


def thermal_picture(view: dict[str, Any], gallery: Path = FOLDER) -> ByteArray:
    """A view as a thermal camera might see it: uint8 (H, W), brighter is warmer."""
    semseg = view["modalities"]["semseg"]
    ids = np.asarray(Image.open(gallery / semseg["file"]))
    picture = np.asarray(Image.open(gallery / view["file"]).convert("L"), np.float32)
    generator = np.random.default_rng([int(view["key"].rpartition("-")[2])])
    degrees = _ROOM + picture / 128 - 1  # what light falls on is a little warmer
    for number, name in semseg["classes"].items():
        degrees[ids == int(number)] += _WARMER.get(name, 0.0)
    levels = (degrees - _COLDEST) / (_WARMEST - _COLDEST) * 255
    blurred = Image.fromarray(levels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(_BLUR))
    noise = generator.normal(0, _NOISE / (_WARMEST - _COLDEST) * 255, ids.shape)
    return np.asarray((np.asarray(blurred) + noise).clip(0, 255), np.uint8)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="a folder for the files")
    make_files(parser.parse_args().out)


if __name__ == "__main__":
    main()
