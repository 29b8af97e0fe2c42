"""Curves of a run as one picture, drawn with Pillow: one panel a quantity, tokens to the right.

    python -m anyseek.model.training.run.curves RUN --to PICTURE.png [--only loss --only recall@10 ...]

draws the curves that matter for readers, as docs/weights.md shows them. RUN is the folder of a run, finished or not;
its own `curves.png` has every curve.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from anyseek.model.files import whole_file
from anyseek.model.training.run.errors import TrainingDataInvalid
from anyseek.model.training.run.records import Number, read_records

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
    with whole_file(path) as temporary:
        picture.save(temporary, "PNG")


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


_ONLY = ("loss", "contrast", "recall@10")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("--to", type=Path, required=True, help="the PNG")
    parser.add_argument("--only", action="append", help=f"what to draw; {', '.join(_ONLY)} unless given")
    options = parser.parse_args()
    draw(options.run, options.to, tuple(options.only or _ONLY))


def draw(run: Path, to: Path, only: Sequence[str]) -> None:
    """Draw the panels of a run whose quantity is among `only`. Raises `TrainingDataInvalid` where there are none."""
    panels = panels_of(read_records(run / "metrics.csv"), read_records(run / "evaluation.csv"))
    chosen = [part for panel in panels if panel.title.partition("/")[0] in only for part in by_target(panel)]
    if not chosen:
        has = ", ".join(dict.fromkeys(panel.title.partition("/")[0] for panel in panels)) or "nothing"
        raise TrainingDataInvalid(f"{run} has measurements of {has}, but none of {', '.join(only)}")
    draw_curves(chosen, to)


def by_target(panel: Panel) -> list[Panel]:
    """A panel of recalls as one for each target, its curves named by what was shown; any other panel as it is."""
    if not panel.title.startswith("recall@"):
        return [panel]
    parts: dict[str, dict[str, Curve]] = {}
    for name, curve in panel.curves.items():
        target, _, query = name.partition("/")
        parts.setdefault(target, {})[query] = curve
    return [Panel(f"{panel.title} of {target}", _best_first(curves)) for target, curves in parts.items()]


def _best_first(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Curves by their last value, the best first."""
    return dict(sorted(curves.items(), key=lambda named: -(named[1][-1][1] if named[1] else 0.0)))


if __name__ == "__main__":
    main()
