"""Make the gallery `rooms`: python -m anyseek.model.galleries.make_rooms --out FOLDER [--furniture FOLDER].

300 views of the test split of `anyseek.model.rooms` at 160 pixels with everything known of them, as a folder that
`anyseek index` takes: `manifest.jsonl`, and a folder of files for each of `rgb`, `depth` (centimetres), `normal` and
`semseg`. A line of the manifest also has `captions`, `bounding_boxes`, `metadata` and `color_palette`. `CREDITS.txt`
names every object in view with its maker and licence.
"""

import argparse
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.data.labellers.metadata import ComputedMetadata
from anyseek.model.data.samples import DataSample, Split
from anyseek.model.files import whole_folder
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.color_palette import palette_of
from anyseek.model.rooms.catalogue import FURNITURE, LICENCES, PACKAGE, read_catalogue
from anyseek.model.rooms.source import Options, RoomsSource
from anyseek.model.seam import FloatArray

VIEWS = 300
SIZE = 160
_LEAST_THINGS = 3  # labelled in a view that is taken
_JPEG_QUALITY = 80
_CENTIMETRES = 100  # a metre
_NORMAL_STEP = 4  # of 255 that normals are rounded to: half a degree to one and a half
_PALETTE_COLOURS = 5
_ATTRIBUTES = ("camera", "room", "things", "tags")  # what goes into an item's attributes
_COLOURS = np.random.default_rng(0).integers(40, 256, (256, 3), dtype=np.uint8)  # what ids look like in a viewer


def make_gallery(out: Path, source: RoomsSource, views: int = VIEWS) -> None:
    """Write the gallery into `out`, which appears whole or not at all and takes the place of what was there."""
    with whole_folder(out) as folder:
        lines, objects = [], set()
        for sample in _chosen(source, views):
            lines.append(json.dumps(_write_view(folder, sample), ensure_ascii=False, separators=(",", ":")))
            objects |= {thing["object"] for thing in sample.attributes["things"]}
        (folder / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        (folder / "CREDITS.txt").write_text(credits_text(objects, source.furniture), encoding="utf-8")


def credits_text(objects: set[str], furniture: Path) -> str:
    """Licences and makers of all objects, a line each."""
    used = [item for item in read_catalogue(furniture) if item.id in objects]
    licences = "\n".join(f"  {name}: {address}" for name, address in sorted(set(LICENCES.values())))
    makers = "\n".join(f"  {item.credit}" for item in sorted(used, key=lambda item: item.id))
    return (
        f"The pictures and maps in this folder are renderings of 3-D models from Debian's package {PACKAGE} 1.8,\n"
        "which this project arranged in rooms, stretched to their catalogue sizes and in part painted in other\n"
        "colours. They may be used under the licences of the models, with these credits:\n\n"
        f"{licences}\n\n{makers}\n"
    )


def _chosen(source: RoomsSource, views: int) -> Iterator[DataSample]:
    """The first views of the test split with enough in them."""
    found = 0
    for key in source.keys(Split.TEST):
        sample = source.sample(key)
        if found < views and len(sample.values["bounding_boxes"]) >= _LEAST_THINGS:
            found += 1
            yield sample
        if found == views:
            return


def _write_view(folder: Path, sample: DataSample) -> dict[str, Any]:
    """Write a view's files and give its line of the manifest."""
    values = sample.values
    modalities: dict[str, Any] = {}
    for modality, (ending, data) in _files(values).items():
        path = folder / modality / f"{sample.key}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        modalities[modality] = f"{modality}/{path.name}"
    classes = {str(number): name for number, name in values["semseg"].classes.items()}
    modalities["semseg"] = {"file": modalities["semseg"], "classes": classes}
    return {
        "file": modalities.pop("rgb"),
        "key": sample.key,
        "caption": values["caption"][0].text,
        "captions": [{"text": caption.text, "origin": caption.origin.value} for caption in values["caption"]],
        "bounding_boxes": [_box(box.box.corners, box.label) for box in values["bounding_boxes"]],
        "metadata": dict(ComputedMetadata().label(sample)["metadata"].values),
        "color_palette": [f"#{bytes(colour).hex()}" for colour in palette_of(values["rgb"], _PALETTE_COLOURS)],
        "attributes": {name: sample.attributes[name] for name in _ATTRIBUTES},
        "modalities": modalities,
    }


def _files(values: Any) -> dict[str, tuple[str, bytes]]:
    """The ending and bytes of the file of each modality that has one."""
    return {
        "rgb": (".jpg", _saved(Image.fromarray(values["rgb"]), "JPEG", quality=_JPEG_QUALITY)),
        "depth": (".png", _saved(_depth_picture(values["depth"]), "PNG")),
        "normal": (".png", _saved(_normal_picture(values["normal"]), "PNG")),
        "semseg": (".png", _saved(_id_picture(values["semseg"].ids), "PNG")),
    }


def _depth_picture(depth: FloatArray) -> Image.Image:
    return Image.fromarray(np.rint(depth * _CENTIMETRES).clip(1, 65535).astype(np.uint16))


def _normal_picture(normal: ByteArray) -> Image.Image:
    steps = np.rint(normal.astype(np.float64) / _NORMAL_STEP) * _NORMAL_STEP
    return Image.fromarray(steps.clip(0, 255).astype(np.uint8))


def _id_picture(ids: ByteArray) -> Image.Image:
    picture = Image.fromarray(ids.astype(np.uint8), "P")
    picture.putpalette(_COLOURS.tobytes())
    return picture


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, optimize=True, **options)
    return file.getvalue()


def _box(corners: Sequence[float], label: str) -> dict[str, Any]:
    return {"box": [round(float(corner), 4) for corner in corners], "label": label}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--furniture", type=Path, default=FURNITURE)
    arguments = parser.parse_args()
    make_gallery(arguments.out, RoomsSource("rooms", Options(furniture=arguments.furniture), SIZE))


if __name__ == "__main__":
    main()
