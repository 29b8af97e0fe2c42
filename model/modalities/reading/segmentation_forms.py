"""Interpret the ids or colours of a segmentation: classes of a known data set, of the client, or unnamed regions.

Ids alone hardly identify a data set: nearly all use the low ones. So ids are compared as they are unless the file's
name, its palette or an id that only one table has indicates a table.
"""

import re
from collections.abc import Mapping
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from anyseek.model.modalities.class_tables import COLOUR, TABLES, ClassTable, Colour
from anyseek.model.modalities.reading.arrays import ID_MODES, NumberArray, is_npy, read_ids, subsample
from anyseek.model.modalities.reading.encoded import DecodedFile, EncodedFile, Interpretation, requested_form
from anyseek.model.modalities.reading.errors import BadMap
from anyseek.model.modalities.reading.pictures import decode_errors, load_picture
from anyseek.model.seam import Regions

IDS, COLOURS = "ids", "colours"
FORMS = {
    IDS: "numbers that are compared as they are",
    COLOURS: "a region for each colour",
    **{name: f"in {table.title}" for name, table in TABLES.items()},
}
_MAX_COLOURS = 256
_NEAR = 40  # colours of blended edges and of JPEG belong to the nearest of a legend, if it is as near in RGB
_COVERED = 0.98  # of the pixels, by a table's colours, for its picture to be one of the table's
_NAMED = {
    "cityscapes-train": re.compile("labeltrainids"),
    "cityscapes": re.compile("labelids|gtfine_color|gtcoarse_color"),
    "ade20k": re.compile("ade20k|ade_(train|val)"),
    "coco-panoptic": re.compile("coco.?panoptic|panoptic.?coco"),
    "coco": re.compile("coco"),
    "voc": re.compile(r"\bvoc|voc20\d\d"),
}
_SURE_BY_COLOUR, _SURE_BY_NAME, _SURE_BY_NUMBER, _UNSURE = 0.99, 0.95, 0.9, 0.5

Bytes = npt.NDArray[np.uint8]


def interpret_regions(file: EncodedFile) -> DecodedFile:
    """A segmentation of any form in FORMS: `Regions` with the names of the table, or of `file.classes`.

    Ids that stand for no class become 0. Raises `DecodeError`.
    """
    requested = requested_form(file, FORMS)
    pixels, colours = _read(file)
    if requested == IDS and colours is not None and pixels is None:
        raise BadMap(f"{file.name} is a picture in colours; its form is colours, or a table with colours such as voc")
    if colours is not None and (requested == COLOURS or any(number >= COLOUR for number in file.classes)):
        return _from_colours(file, colours, requested)
    if file.classes and requested not in TABLES and pixels is not None:
        return _from_ids(file, pixels, 1.0, "named by its classes")
    form, sure, why = _guess(file, pixels, colours) if requested is None else (requested, 1.0, "as you said")
    if form in TABLES:
        return _from_table(file, form, pixels, colours, sure, why)
    if pixels is None and colours is not None:
        return _from_colours(file, colours, requested)
    assert pixels is not None
    return _from_ids(file, pixels, sure, why)


def _read(file: EncodedFile) -> tuple[NumberArray | None, Bytes | None]:
    """The ids (H, W) of a file and its colours (H, W, 3); a picture with a palette has both."""
    if is_npy(file):
        return subsample(read_ids(file), file.side), None
    image = load_picture(file)
    ids = subsample(np.asarray(image), file.side) if image.mode in ID_MODES else None
    if image.mode in ID_MODES - {"P"}:
        return ids, None
    with decode_errors(file.name):
        colours = np.asarray(image.convert("RGB"))
    kept = subsample(colours, file.side).astype(np.uint8)
    is_grey = ids is None and bool((kept == kept[:, :, :1]).all())
    return (kept[:, :, 0], None) if is_grey else (ids, kept)


def _guess(file: EncodedFile, pixels: NumberArray | None, colours: Bytes | None) -> tuple[str, float, str]:
    if colours is not None:
        for name, table in TABLES.items():
            if table.colours and _covered_share(colours, table) >= _COVERED:
                return name, _SURE_BY_COLOUR, "its colours are those of that table"
    for name, pattern in _NAMED.items():
        if pattern.search(file.name.lower()) and (pixels is None or _fits_table(pixels, TABLES[name])):
            return name, _SURE_BY_NAME, "it is called so"
    if pixels is not None and int(pixels.max()) > max(TABLES["ade20k"].names) and _fits_table(pixels, TABLES["coco"]):
        return "coco", _SURE_BY_NUMBER, "only that table has all of its numbers"
    return IDS, _UNSURE, "nothing tells its table, so its numbers are compared as they are; name one as its form"


def _fits_table(pixels: NumberArray, table: ClassTable) -> bool:
    return set(np.unique(pixels).tolist()) <= table.names.keys() | table.void


def _covered_share(colours: Bytes, table: ClassTable) -> float:
    """The share of the pixels that have a colour of the table, or 0 if all of those are black."""
    palette, counts = np.unique(colours.reshape(-1, 3), axis=0, return_counts=True)
    known = np.array([tuple(colour) in table.colours for colour in palette.tolist()])
    coloured = known & palette.any(axis=1)
    return float(counts[known].sum() / counts.sum()) if coloured.any() else 0.0


def _from_table(
    file: EncodedFile, form: str, pixels: NumberArray | None, colours: Bytes | None, sure: float, why: str
) -> DecodedFile:
    table = TABLES[form]
    if pixels is None and colours is not None:
        if not table.colours:
            raise BadMap(f"{file.name} is a picture in colours, and {form} has none; send ids, or classes by colour")
        pixels = _nearest(colours, table.colours)
    assert pixels is not None
    ids = np.where(np.isin(pixels, list(table.void)), 0, pixels.astype(np.int32) + (0 not in table.void))
    classes = {number + (0 not in table.void): name for number, name in table.names.items()}
    unknown_ids = sorted(set(np.unique(ids).tolist()) - classes.keys() - {0})
    if unknown_ids:
        raise BadMap(f"{file.name} has the number {unknown_ids[0]}, which is none of {table.title}")
    used = [classes[number] for number in np.unique(ids).tolist() if number]
    shown = ", ".join(used[:5]) + (", …" if len(used) > 5 else "")
    sentence = f"{file.name} is a segmentation in {table.title} ({shown or 'no class'}): {why}"
    return DecodedFile(Regions(ids.astype(np.int32), classes), Interpretation(file.name, form, sure, sentence))


def _from_ids(file: EncodedFile, pixels: NumberArray, sure: float, why: str) -> DecodedFile:
    if int(pixels.max()) >= COLOUR:
        raise BadMap(f"{file.name} has the number {int(pixels.max())}; the ids of a segmentation are below {COLOUR}")
    regions = Regions(pixels.astype(np.int32), dict(file.classes))
    count = len(np.unique(pixels))
    sentence = f"{file.name} is a segmentation of {count} ids: {why}"
    return DecodedFile(regions, Interpretation(file.name, IDS, sure, sentence))


def _from_colours(file: EncodedFile, colours: Bytes, requested: str | None) -> DecodedFile:
    """Each colour is a region: one of the legend's, or without a legend one without a name."""
    named = {number: name for number, name in file.classes.items() if number >= COLOUR}
    legend = {cast(Colour, tuple((number - COLOUR).to_bytes(3, "big"))): number for number in named}
    palette = np.unique(colours.reshape(-1, 3), axis=0)
    if not legend and len(palette) > _MAX_COLOURS:
        raise BadMap(f"{file.name} has {len(palette):,} colours; a segmentation has at most {_MAX_COLOURS} flat ones")
    red, green, blue = np.moveaxis(colours.astype(np.int32), 2, 0)
    ids = _nearest(colours, legend) if legend else COLOUR + (red << 16) + (green << 8) + blue
    if legend and not ids.any():
        known = ", ".join(f"#{bytes(colour).hex()}" for colour in sorted(legend))
        raise BadMap(f"{file.name} has no colour of its classes; they name {known}")
    why = "named by its classes" if legend else "as you said" if requested else "each is a region without a name"
    sure = 1.0 if legend or requested else _UNSURE
    sentence = f"{file.name} is a segmentation in {len(np.unique(ids))} colours: {why}"
    return DecodedFile(Regions(ids, named), Interpretation(file.name, COLOURS, sure, sentence))


def _nearest(colours: Bytes, numbers: Mapping[Colour, int]) -> npt.NDArray[np.int32]:
    """The number of the nearest colour for each pixel, 0 where none is near."""
    palette, where = np.unique(colours.reshape(-1, 3), axis=0, return_inverse=True)
    known = np.array(list(numbers), np.int32)
    apart = np.array([np.abs(known - colour).max(axis=1).argmin() for colour in palette.astype(np.int32)])
    near = np.abs(known[apart] - palette).max(axis=1) <= _NEAR
    values = np.where(near, np.array(list(numbers.values()), np.int32)[apart], 0)
    return np.asarray(values[where.reshape(-1)].reshape(colours.shape[:2]), np.int32)


SIDE = 224  # pixels of the longer side, on which the sizes below are
_FINE, _ROUND = 3.0, 7.0  # radius in pixels: of a detail, and of what is rounded
_ROUGH = 0.0075  # a map is rough if at most this share of its pixels belongs to details
_MAX_REGIONS = 64  # more are never painted by hand


def smooth_outlines(regions: Regions) -> Regions:
    """Smooth the outlines of a roughly painted map, at most 224 pixels a side; any other map is unchanged.

    Every pixel gets the region that is most frequent around it; no region is new, and small ones may vanish. To an
    image encoder the steps of coarse cells are texture, which it sees first.
    """
    numbers = np.unique(regions.ids)
    if not 2 <= len(numbers) <= _MAX_REGIONS:
        return regions
    height, width = regions.ids.shape
    size = max(1, round(width * SIDE / max(height, width))), max(1, round(height * SIDE / max(height, width)))
    whole = Image.fromarray(np.searchsorted(numbers, regions.ids).astype(np.uint8))
    places = np.asarray(whole.resize(size, Image.Resampling.NEAREST))
    if np.mean(_majority_filter(places, len(numbers), _FINE) != places) > _ROUGH:
        return regions
    return Regions(numbers[_majority_filter(places, len(numbers), _ROUND)], regions.classes)


def _majority_filter(places: npt.NDArray[np.uint8], count: int, radius: float) -> npt.NDArray[np.uint8]:
    """The number with the largest share around each pixel, by a Gaussian of that radius; of equal ones the smallest."""
    best, most = np.zeros_like(places), np.zeros_like(places)
    for number in range(count):
        mask = Image.fromarray((places == number).astype(np.uint8) * 255)
        share = np.asarray(mask.filter(ImageFilter.GaussianBlur(radius)))
        larger = share > most
        best[larger], most[larger] = number, share[larger]
    return best
