"""Colour palette labeller."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from anyseek.model.config_reader import Bounds
from anyseek.model.data.registry import LabellerKind
from anyseek.model.data.samples import DataSample
from anyseek.model.modalities.formats.color_palette import MOST_COLOURS, palette_of


@dataclass(frozen=True)
class Options:
    """`most`: palettes of 1 to so many colours are made, at most 7."""

    most: Annotated[int, Bounds(1, MOST_COLOURS)] = MOST_COLOURS


@dataclass(frozen=True)
class ColorPalette:
    """Make `color_palette` from `rgb`: its most common colours, clustered into 1, 2, ... of them.

    A picture with fewer colours has fewer palettes.
    """

    options: Options
    name: str = "color_palette"
    needs: frozenset[str] = frozenset({"rgb"})
    gives: frozenset[str] = frozenset({"color_palette"})

    def label(self, sample: DataSample) -> Mapping[str, Any]:
        palettes = [palette_of(sample.values["rgb"], colours) for colours in range(1, self.options.most + 1)]
        return {"color_palette": tuple({len(palette): palette for palette in palettes}.values())}


COLOR_PALETTE = LabellerKind(Options, lambda options, place: ColorPalette(options))
