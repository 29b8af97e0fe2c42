"""Decode a file's bytes as a modality, in the same way for queries, items and training data.

`anyseek.model.modalities.registry.Content` says what each modality's value is; the record of its content in
`anyseek.model.modalities.values` says which function decodes it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.photographed_drawings import clean_drawing, is_photographed
from anyseek.model.modalities.reading import map_forms, segmentation_forms
from anyseek.model.modalities.reading.budget import current_budget
from anyseek.model.modalities.reading.decoders import DecodeRequest, current_decoders, needs_isolation
from anyseek.model.modalities.reading.encoded import (
    WORKING_SIDE,
    DecodedFile,
    EncodedFile,
    FileLimits,
    Interpretation,
    read_file,
    requested_form,
)
from anyseek.model.modalities.reading.errors import BadRegion, TooManyBytes, UnknownForm, UnknownModality
from anyseek.model.modalities.reading.pictures import decode_drawing, decode_for_crop, decode_picture
from anyseek.model.modalities.registry import MODALITIES, Content, Modality, resolve
from anyseek.model.modalities.values import CONTENTS
from anyseek.model.seam import Regions, Value


def decode(
    modality: str, data: bytes, limits: FileLimits, name: str, classes: Mapping[int, str] | None = None
) -> Value:
    """The value of `data` as `modality` (a name or an alias); errors call the input `name`.

    Pictures and maps have sides of at most `WORKING_SIDE`; `classes` names the ids of a region map. Pixels and time are
    charged to the current budget, and a service decodes large pictures in another process. Raises only `DecodeError`,
    whatever the bytes, and what `Budget.check` raises.
    """
    kind = known_modality(modality)
    return _decode(
        DecodeRequest(kind.content), EncodedFile(data, name, limits, classes or {}, budget=current_budget())
    ).value


def _decode(request: DecodeRequest, file: EncodedFile) -> DecodedFile:
    """Decode a file, charged to its budget and, in a service, in another process if it needs isolation."""
    if len(file.data) > file.limits.bytes_per_file:
        most = file.limits.bytes_per_file
        raise TooManyBytes(f"{file.name} has {len(file.data):,} bytes; at most {most:,} are allowed")
    if file.budget is None:
        return decode_in_process(request, file)
    file.budget.check()
    decoders = current_decoders()
    if decoders is not None and needs_isolation(request.content, file.data):
        return decoders.read(request, file, file.budget)
    with file.budget.decoding(file.name):
        return decode_in_process(request, file)


def decode_in_process(request: DecodeRequest, file: EncodedFile) -> DecodedFile:
    """Decode a file in this process. Raises only `DecodeError`, whatever the bytes."""
    if request.modality is not None and request.content in _FORMS and request.box is None:
        return _FORMS[request.content][0](file)
    if file.form is not None and request.content not in _FORMS:
        raise UnknownForm(f"{file.name} is {request.modality}, which has one form only; leave out {file.form[:40]!r}")
    if request.box is None:
        return DecodedFile(CONTENTS[request.content].decode(file))
    if request.content is not Content.PICTURE:
        raise BadRegion(f"{file.name} is {request.modality} and has a box; a box is of a picture, such as rgb")
    return _decode_region(file, request.box)


def decode_file(modality: str, path: Path, limits: FileLimits, classes: Mapping[int, str] | None = None) -> Value:
    """Read and decode a file. Raises `InputError` if it cannot be read, `DecodeError` if it is not `modality`."""
    known_modality(modality)
    return decode(modality, read_file(path, limits, str(path)), limits, str(path), classes)


def known_modality(name: str) -> Modality:
    """The modality of that name or alias. Raises `UnknownModality`, naming the known ones."""
    try:
        return resolve(name)
    except KeyError as error:
        raise UnknownModality(f"{name!r} is not a modality; the modalities are {', '.join(MODALITIES)}") from error


def _decode_region(file: EncodedFile, box: Sequence[float]) -> DecodedFile:
    """The part of an upright picture in a box of left, top, right and bottom, as fractions of its sides.

    Uint8 (H, W, 3) with sides of at most `WORKING_SIDE`. Raises `BadRegion` for an empty box or one that is not
    inside, and `DecodeError`.
    """
    written = ", ".join(f"{edge:g}" for edge in box[:8])
    if len(box) != 4 or not all(math.isfinite(edge) and 0 <= edge <= 1 for edge in box):
        raise BadRegion(f"the box of {file.name} is {written}; it has left, top, right and bottom from 0 to 1")
    left, top, right, bottom = box
    if left >= right or top >= bottom:
        raise BadRegion(f"the box of {file.name} is {written} and empty; left is below right, top below bottom")
    whole, (width, height) = decode_for_crop(file, right - left, bottom - top, WORKING_SIDE)
    rows, columns = _pixel_range(top, bottom, whole.shape[0]), _pixel_range(left, right, whole.shape[1])
    image = Image.fromarray(np.ascontiguousarray(whole[rows.start : rows.stop, columns.start : columns.stop]))
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    size = f"{len(_pixel_range(left, right, width))} x {len(_pixel_range(top, bottom, height))}"
    sentence = f"only the box {written} of {file.name} is used, {size} pixels"
    return DecodedFile(np.asarray(image), Interpretation(file.name, "region", 1.0, sentence))


def _pixel_range(first: float, last: float, pixels: int) -> range:
    """The pixels of a side between two fractions of it, at least one."""
    start = min(int(first * pixels), pixels - 1)
    return range(start, max(math.ceil(last * pixels), start + 1))


CLEAN, PHOTOGRAPHED = "clean", "photographed"
DRAWING_FORMS = {CLEAN: "as it is", PHOTOGRAPHED: "photographed from paper"}
_SURE_OF_PAPER = 0.95  # the accuracy of such guesses


def interpret_drawing(file: EncodedFile) -> DecodedFile:
    """A drawing uint8 (H, W), unchanged or, if it is a photograph of paper, cleaned: dark strokes on white.

    A photograph in which no paper is found stays unchanged. Raises `DecodeError`.
    """
    form = requested_form(file, DRAWING_FORMS)
    drawing = decode_drawing(file)
    if form == CLEAN:
        return DecodedFile(
            drawing, Interpretation(file.name, CLEAN, 1.0, f"{file.name} is a drawing that stays as it is")
        )
    if form is None and not is_photographed(drawing):
        return DecodedFile(drawing)
    clean = clean_drawing(decode_picture(file.without_budget()))
    if clean is None:
        sentence = f"{file.name} is a drawing without strokes on paper to be told from it, so it stays as it is"
        return DecodedFile(drawing, Interpretation(file.name, CLEAN, 0.5, sentence))
    why = "as you said" if form else "its paper has many shades"
    sentence = f"{file.name} is a drawing photographed from paper, less {', '.join(clean.removed)}: {why}"
    return DecodedFile(
        clean.drawing, Interpretation(file.name, PHOTOGRAPHED, 1.0 if form else _SURE_OF_PAPER, sentence)
    )


# The interpreters of contents whose files have several forms, and these forms.
_FORMS: Mapping[Content, tuple[Callable[[EncodedFile], DecodedFile], Mapping[str, str]]] = {
    Content.DRAWING: (interpret_drawing, DRAWING_FORMS),
    Content.DEPTH: (map_forms.interpret_depth, map_forms.DEPTH_FORMS),
    Content.NORMAL: (map_forms.interpret_normal, map_forms.NORMAL_FORMS),
    Content.REGIONS: (segmentation_forms.interpret_regions, segmentation_forms.FORMS),
}


def forms_of(modality: str) -> Mapping[str, str]:
    """The forms of a modality's files (a name or an alias) with their meanings, the form of items first.

    Empty for a modality with one form only. Raises `UnknownModality`.
    """
    content = known_modality(modality).content
    return _FORMS[content][1] if content in _FORMS else {}


def interpret(
    modality: str,
    data: bytes,
    limits: FileLimits,
    name: str,
    classes: Mapping[int, str] | None = None,
    form: str | None = None,
    box: Sequence[float] | None = None,
) -> DecodedFile:
    """Decode `data` as `modality` (a name or an alias) for a query, and say how it was interpreted.

    `form` is a convention of the modality, guessed by default; `box` crops a picture to left, top, right, bottom, as
    fractions of its sides. Charges the budget, isolates and raises as `decode` does.
    """
    kind = known_modality(modality)
    file = EncodedFile(data, name, limits, classes or {}, budget=current_budget(), form=form)
    return _decode(DecodeRequest(kind.content, kind.name, box), file)


Mask = npt.NDArray[np.bool_]


def interpret_masked(
    modality: str, data: bytes, limits: FileLimits, name: str, mask: bytes, form: str | None = None
) -> DecodedFile:
    """The masked part of the upright picture in `data`, cropped, on its own mean colour: uint8 (H, W, 3).

    `mask` is a PNG of numbers or an NPY array (h, w) with the proportions of the picture; what is not 0 counts. Raises
    as `interpret` does, and `BadRegion` for a modality that is no picture, an empty mask and one of other proportions.
    """
    kind = known_modality(modality)
    if kind.content is not Content.PICTURE:
        raise BadRegion(f"{name} is {kind.name} and has a mask; a mask is of a picture, such as rgb")
    regions = decode("semseg", mask, limits, f"the mask of {name}")
    assert isinstance(regions, Regions)
    inside: Mask = np.asarray(regions.ids != 0)
    if not inside.any():
        raise BadRegion(f"the mask of {name} is 0 everywhere; what is not 0 counts")
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    height, width = inside.shape
    box = left / width, top / height, right / width, bottom / height
    picture = cast(ByteArray, interpret(modality, data, limits, name, None, form, box).value)
    high, wide = picture.shape[:2]
    ratio = wide * width / (right - left) / (high * height / (bottom - top))  # of the whole picture's sides
    if abs(np.log(ratio / (width / height))) > 0.02 + 2 / min(high, wide):  # more than rounding
        raise BadRegion(f"the mask of {name} is {width} x {height}, which are not the proportions of the picture")
    covered = _resize_mask(inside[top:bottom, left:right], wide, high)
    mean = np.rint(picture[covered].mean(axis=0)).astype(np.uint8)
    share = f"only {inside.mean():.1%}" if inside.mean() >= 0.0005 else "less than 0.1%"
    sentence = f"{share} of {name} is used, where its mask is not 0"
    return DecodedFile(np.where(covered[:, :, None], picture, mean), Interpretation(name, "mask", 1.0, sentence))


def _resize_mask(inside: Mask, width: int, height: int) -> Mask:
    """The mask resized to a picture; if that leaves no pixel, every pixel it touches."""
    shares = np.asarray(Image.fromarray(inside.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX))
    mostly: Mask = shares >= 128
    return mostly if mostly.any() else np.asarray(shares > 0)
