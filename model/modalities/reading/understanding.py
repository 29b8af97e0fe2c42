"""A query's file to its value, and what was understood of it where its format leaves something open.

Items and training data are read by `decode`, which takes every file to be in the documented form: a guess for each file
would mix forms within one collection. A query is one file, and its asker sees the guess and can overrule it.
"""

from collections.abc import Callable, Mapping, Sequence

from anyseek.model.modalities.reading.budget import budget_of_request
from anyseek.model.modalities.reading.decode import checked, known_modality
from anyseek.model.modalities.reading.decoder_messages import Wanted
from anyseek.model.modalities.reading.decoders import decoders_of_service, goes_apart
from anyseek.model.modalities.reading.depth_forms import FORMS as DEPTH_FORMS
from anyseek.model.modalities.reading.depth_forms import understand_depth
from anyseek.model.modalities.reading.drawing_forms import FORMS as DRAWING_FORMS
from anyseek.model.modalities.reading.drawing_forms import understand_drawing
from anyseek.model.modalities.reading.encoded import WORKING_SIDE, Encoded, FileLimits
from anyseek.model.modalities.reading.errors import BadRegion, UnknownForm
from anyseek.model.modalities.reading.normal_forms import FORMS as NORMAL_FORMS
from anyseek.model.modalities.reading.normal_forms import understand_normal
from anyseek.model.modalities.reading.parts_of_pictures import read_region
from anyseek.model.modalities.reading.segmentation_forms import FORMS as SEGMENTATION_FORMS
from anyseek.model.modalities.reading.segmentation_forms import understand_regions
from anyseek.model.modalities.reading.understood import Reading
from anyseek.model.modalities.registry import Content, Modality
from anyseek.model.modalities.values import CONTENTS

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
