"""A query's file to its value, and what was understood of it where its format leaves something open.

Items and training data are read by `decode`, which takes every file to be in the documented form: a guess for each file
would mix forms within one collection. A query is one file, and its asker sees the guess and can overrule it.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from anyseek.model.modalities.photographed_drawings import cleaned, is_photographed
from anyseek.model.modalities.reading.budget import budget_of_request
from anyseek.model.modalities.reading.decode import checked, known_modality
from anyseek.model.modalities.reading.decoder_messages import Wanted
from anyseek.model.modalities.reading.decoders import decoders_of_service, goes_apart
from anyseek.model.modalities.reading.depth_forms import FORMS as DEPTH_FORMS
from anyseek.model.modalities.reading.depth_forms import understand_depth
from anyseek.model.modalities.reading.encoded import WORKING_SIDE, Encoded, FileLimits
from anyseek.model.modalities.reading.errors import BadRegion, UnknownForm
from anyseek.model.modalities.reading.normal_forms import FORMS as NORMAL_FORMS
from anyseek.model.modalities.reading.normal_forms import understand_normal
from anyseek.model.modalities.reading.pictures import decode_drawing, decode_for_part, decode_picture
from anyseek.model.modalities.reading.segmentation_forms import FORMS as SEGMENTATION_FORMS
from anyseek.model.modalities.reading.segmentation_forms import understand_regions
from anyseek.model.modalities.reading.understood import Reading, Understood, told_form
from anyseek.model.modalities.registry import Content, Modality
from anyseek.model.modalities.values import CONTENTS

REGION = "region"


def read_region(file: Encoded, box: Sequence[float]) -> Reading:
    """The part of an upright picture in a box of left, top, right and bottom, as fractions of its sides.

    Uint8 (H, W, 3) with sides of at most `WORKING_SIDE`. Raises `BadRegion` for an empty box or one that is not
    inside, and `DecodeError`.
    """
    if len(box) != 4 or not all(math.isfinite(edge) and 0 <= edge <= 1 for edge in box):
        raise BadRegion(f"the box of {file.name} is {_written(box)}; it has left, top, right and bottom from 0 to 1")
    left, top, right, bottom = box
    if left >= right or top >= bottom:
        raise BadRegion(f"the box of {file.name} is {_written(box)} and empty; left is below right, top below bottom")
    whole, (width, height) = decode_for_part(file, right - left, bottom - top, WORKING_SIDE)
    rows, columns = _within(top, bottom, whole.shape[0]), _within(left, right, whole.shape[1])
    image = Image.fromarray(np.ascontiguousarray(whole[rows.start : rows.stop, columns.start : columns.stop]))
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    size = f"{len(_within(left, right, width))} x {len(_within(top, bottom, height))}"
    sentence = f"only the box {_written(box)} of {file.name} is used, {size} pixels"
    return Reading(np.asarray(image), Understood(file.name, REGION, 1.0, sentence))


def _within(first: float, last: float, pixels: int) -> range:
    """The pixels of a side that lie between two fractions of it, one at least."""
    start = min(int(first * pixels), pixels - 1)
    return range(start, max(math.ceil(last * pixels), start + 1))


def _written(box: Sequence[float]) -> str:
    return ", ".join(f"{edge:g}" for edge in box[:8])


CLEAN, PHOTOGRAPHED = "clean", "photographed"
DRAWING_FORMS = {CLEAN: "as it is", PHOTOGRAPHED: "photographed from paper"}
_SURE_OF_PAPER = 0.95  # the share of such guesses that are right


def understand_drawing(file: Encoded) -> Reading:
    """A drawing uint8 (H, W), as it is or, if it was photographed, dark on white without what the photo added.

    A drawing in which no paper is found stays as it is. Raises `DecodeError`.
    """
    told = told_form(file, DRAWING_FORMS)
    drawing = decode_drawing(file)
    if told == CLEAN:
        return Reading(drawing, Understood(file.name, CLEAN, 1.0, f"{file.name} is a drawing that stays as it is"))
    if told is None and not is_photographed(drawing):
        return Reading(drawing)
    found = cleaned(decode_picture(file.again()))
    if found is None:
        sentence = f"{file.name} is a drawing without strokes on paper to be told from it, so it stays as it is"
        return Reading(drawing, Understood(file.name, CLEAN, 0.5, sentence))
    why = "as you said" if told else "its paper has many shades"
    sentence = f"{file.name} is a drawing photographed from paper, less {', '.join(found.removed)}: {why}"
    return Reading(found.drawing, Understood(file.name, PHOTOGRAPHED, 1.0 if told else _SURE_OF_PAPER, sentence))


_READERS: Mapping[Content, Callable[[Encoded], Reading]] = {
    Content.DRAWING: understand_drawing,
    Content.DEPTH: understand_depth,
    Content.NORMAL: understand_normal,
    Content.REGIONS: understand_regions,
}
_FORMS: Mapping[Content, Mapping[str, str]] = {
    Content.DRAWING: DRAWING_FORMS,
    Content.DEPTH: DEPTH_FORMS,
    Content.NORMAL: NORMAL_FORMS,
    Content.REGIONS: SEGMENTATION_FORMS,
}


def forms_of(modality: str) -> Mapping[str, str]:
    """The forms that files of a modality (a name or an alias) may have, each with what it means; first that of items.

    Empty for a modality whose files leave nothing open. Raises `UnknownModality`.
    """
    return _FORMS.get(known_modality(modality).content, {})


def understand(
    modality: str,
    data: bytes,
    limits: FileLimits,
    name: str,
    classes: Mapping[int, str] | None = None,
    form: str | None = None,
    box: Sequence[float] | None = None,
) -> Reading:
    """The value that `data` stands for as `modality` (a name or an alias), and what was understood of it.

    `form` is a convention of that modality, which is otherwise guessed; `box` is the part of a picture that counts, as
    fractions: left, top, right, bottom. It costs what `decode` does, and goes apart like that. Raises a
    `DecodeError`, and nothing else whatever the bytes; `RequestAbandoned` for a request whose client has left.
    """
    kind, budget = known_modality(modality), budget_of_request()
    file = checked(Encoded(data, name, limits, classes or {}, WORKING_SIDE, budget, form))
    if budget is None:
        return understand_file(kind, file, box)
    budget.check()
    decoders = decoders_of_service()
    if decoders is not None and goes_apart(kind.content, data):
        return decoders.read(Wanted(kind.content, kind.name, box), file, budget)
    with budget.decoding(name):
        return understand_file(kind, file, box)


def understand_file(kind: Modality, file: Encoded, box: Sequence[float] | None) -> Reading:
    """The value of a file, and what was understood of it, in this process. Raises a `DecodeError`."""
    name, form = file.name, file.form
    if form is not None and kind.content not in _READERS:
        raise UnknownForm(f"{name} is {kind.name}, which has one form only; leave out {form[:40]!r}")
    if box is not None:
        if kind.content is not Content.PICTURE:
            raise BadRegion(f"{name} is {kind.name} and has a box; a box is of a picture, such as rgb")
        return read_region(file, box)
    reader = _READERS.get(kind.content)
    if reader is not None:
        return reader(file)
    return Reading(CONTENTS[kind.content].decode(file))
