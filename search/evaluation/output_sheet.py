"""Draws a model's predictions next to the known values as one picture, with a row per thing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont, ImageOps

from anyseek.model.modalities.values import as_picture
from anyseek.model.seam import Sample, Value

_SIDE, _GAP, _HEAD = 128, 6, 44  # pixels: of a cell, between cells, above the first row
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (110, 110, 110)


@dataclass(frozen=True)
class _Row:
    """A thing and its predictions by modality."""

    sample: Sample
    predicted: dict[str, Value] = field(default_factory=dict)


class OutputSheet:
    """Draws the first things added to it. Maps are cropped to the centre that models predict."""

    def __init__(self, picture: str, rows: int = 6) -> None:
        """`picture` is the modality that the predictions are made from."""
        self._picture, self._most = picture, rows
        self._rows: list[_Row] = []

    def add(self, sample: Sample, target: str, value: Value) -> None:
        """Add a prediction of a modality that the sample has; add those of one sample one after the other."""
        if as_picture(target, value) is None:
            return  # words and numbers cannot be drawn
        if not self._rows or self._rows[-1].sample is not sample:
            if len(self._rows) == self._most:
                return
            self._rows.append(_Row(sample))
        self._rows[-1].predicted[target] = value

    def drawn(self) -> Image.Image:
        """Draw a row per thing in RGB: its picture, then for each modality the known and the predicted value."""
        targets = sorted({target for row in self._rows for target in row.predicted})
        size = (_left(1 + 2 * len(targets)), _HEAD + (_SIDE + _GAP) * len(self._rows))
        sheet = Image.new("RGB", size, _PAPER)
        pen = ImageDraw.Draw(sheet)
        _write_heads(pen, self._picture, targets)
        for number, row in enumerate(self._rows):
            top = _HEAD + number * (_SIDE + _GAP)
            _paste(sheet, (_left(0), top), self._picture, row.sample.values)
            for place, target in enumerate(targets):
                _paste(sheet, (_left(1 + 2 * place), top), target, row.sample.values)
                _paste(sheet, (_left(2 + 2 * place), top), target, row.predicted)
        return sheet


def _left(column: int) -> int:
    """Return where a column begins; pairs of columns are spaced apart."""
    return _GAP + column * (_SIDE + _GAP) + (column + 1) // 2 * _GAP


def _write_heads(pen: ImageDraw.ImageDraw, picture: str, targets: list[str]) -> None:
    font = ImageFont.load_default(14)
    pen.text((_left(0), 4), picture, _INK, font)
    for place, target in enumerate(targets):
        known, predicted = _left(1 + 2 * place), _left(2 + 2 * place)
        pen.text((known, 4), target, _INK, font)
        pen.text((known, 22), "as it is", _FAINT, font)
        pen.text((predicted, 22), "predicted", _FAINT, font)


def _paste(sheet: Image.Image, corner: tuple[int, int], modality: str, values: Mapping[str, Value]) -> None:
    shown = as_picture(modality, values[modality]) if modality in values else None
    if shown is not None:
        sheet.paste(ImageOps.fit(Image.fromarray(shown), (_SIDE, _SIDE), Image.Resampling.BOX), corner)
