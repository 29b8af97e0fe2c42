"""Curves of a run as one picture, drawn with Pillow: one panel a quantity, tokens to the right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from model.training.pretraining.records import Number

_WIDTH, _HEIGHT, _COLUMNS = 420, 260, 3
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 14, 34, 26
_INK, _GRID, _PAPER = (40, 40, 40), (225, 225, 225), (255, 255, 255)
_COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14), (23, 190, 207))
_LINES = 4  # horizontal ones in a panel
_BOTH = ("loss/", "contrast/", "codes/", "quality/")  # what may be measured in training and on validation samples

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Curves that share an axis, by name: points (tokens, value), rising in tokens."""

    title: str
    curves: Mapping[str, Curve]


def panels_of(training: Sequence[Mapping[str, Number]], evaluation: Sequence[Mapping[str, Number]]) -> list[Panel]:
    """A panel for every loss, contrast and quality of codes or reconstructions, with both its curves.

    And one for every kind of recall (`recall@10/…`).
    """
    columns = dict.fromkeys(key for rows in (training, evaluation) for row in rows[:1] for key in row)
    losses = [key for key in columns if key == "loss" or key.startswith(_BOTH)]
    panels = [Panel(key, {"training": _curve(training, key), "validation": _curve(evaluation, key)}) for key in losses]
    recalls: dict[str, dict[str, Curve]] = {}
    for key in (key for key in columns if key.startswith("recall@")):
        kind, _, query = key.partition("/")
        recalls.setdefault(kind, {})[query] = _curve(evaluation, key)
    return [*panels, *(Panel(kind, curves) for kind, curves in recalls.items())]


def _curve(rows: Sequence[Mapping[str, Number]], key: str) -> Curve:
    return [(float(row.get("tokens") or 0), float(row[key] or 0)) for row in rows if row.get(key) is not None]


def draw_curves(panels: Sequence[Panel], path: Path) -> None:
    """Write the picture (PNG); it appears whole or not at all."""
    rows = -(-len(panels) // _COLUMNS)
    picture = Image.new("RGB", (_COLUMNS * _WIDTH, max(rows, 1) * _HEIGHT), _PAPER)
    for number, panel in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        picture.paste(_drawn(panel), (column * _WIDTH, row * _HEIGHT))
    beside = path.with_name(f".{path.name}.partial")
    picture.save(beside, "PNG")
    beside.replace(path)


def _drawn(panel: Panel) -> Image.Image:
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    draw.text((_LEFT, 4), panel.title, _INK, font)
    points = [point for curve in panel.curves.values() for point in curve]
    if not points:
        return picture
    right = max(x for x, _ in points) or 1.0
    low, high = min(y for _, y in points), max(y for _, y in points)
    high = high if high > low else low + 1.0
    for line in range(_LINES + 1):
        value = low + (high - low) * line / _LINES
        y = _place(0.0, value, right, low, high)[1]
        draw.line((_LEFT, y, _WIDTH - _RIGHT, y), _GRID)
        draw.text((4, y - 6), f"{value:.3g}", _INK, font)
    draw.text((_WIDTH - _RIGHT - 90, _HEIGHT - _BOTTOM + 8), f"{right:.3g} tokens", _INK, font)
    for number, (name, curve) in enumerate(panel.curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [_place(x, y, right, low, high) for x, y in curve]
        draw.line(places, colour, 2)
        draw.text((_LEFT + 110 * (number % 3), 16 + 10 * (number // 3)), name, colour, font)
    return picture


def _place(x: float, y: float, right: float, low: float, high: float) -> tuple[float, float]:
    across, up = x / right, (y - low) / (high - low)
    return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)
