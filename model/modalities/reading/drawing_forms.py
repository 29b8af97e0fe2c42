"""Drawings as a program made them, and photographed from paper."""

from anyseek.model.modalities.photographed_drawings import cleaned, is_photographed
from anyseek.model.modalities.reading.encoded import Encoded
from anyseek.model.modalities.reading.pictures import decode_drawing, decode_picture
from anyseek.model.modalities.reading.understood import Reading, Understood, told_form

CLEAN, PHOTOGRAPHED = "clean", "photographed"
FORMS = {CLEAN: "as it is", PHOTOGRAPHED: "photographed from paper"}
_SURE = 0.95


def understand_drawing(file: Encoded) -> Reading:
    """A drawing uint8 (H, W), as it is or, if it was photographed, dark on white without what the photo added.

    A drawing in which no paper is found stays as it is. Raises `DecodeError`.
    """
    told = told_form(file, FORMS)
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
    return Reading(found.drawing, Understood(file.name, PHOTOGRAPHED, 1.0 if told else _SURE, sentence))
