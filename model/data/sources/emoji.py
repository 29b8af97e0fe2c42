"""Rendered emoji from several vendors: picture, line drawing where the vendor has one, name and tags.

Splits are made by concept: all vendors' drawings of one thing, in every skin tone and gender, are in the same split.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.config_reader import Refused
from anyseek.model.data.concepts import Concept, base_concept, plain_hexcode, split_of
from anyseek.model.data.concepts import Split as ConceptSplit
from anyseek.model.data.emoji_art import (
    EMOJIBASE,
    LICENCES,
    NAMES_LICENCE,
    OPENMOJI,
    PACKAGES,
    Art,
    fetch_openmoji,
    fetch_vendor,
)
from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.registry import Place, SourceKind
from anyseek.model.data.samples import DataSample, Split
from anyseek.model.galleries.openmoji import Rendering, draw_svg, keep_groups, line_drawing, read_concepts
from anyseek.model.modalities.drawings import ByteArray, ink

UNLINED = "openmoji-unlined"  # OpenMoji's colours without the lines
HELD_OUT_VENDOR = "emojione"  # in the test split only
_LINES = {"fluent": "fluent-line"}  # vendors whose line drawings are a package of their own
_SPLITS = {
    ConceptSplit.TRAIN: Split.TRAIN,
    ConceptSplit.DEVELOPMENT: Split.VAL,
    ConceptSplit.TEST: Split.TEST,
}


@dataclass(frozen=True)
class Options:
    """Which vendors' emoji: keys of `model.data.emoji_art.PACKAGES` but `fluent-line`, and `openmoji-unlined`."""

    vendors: tuple[str, ...] = (OPENMOJI, UNLINED, "noto", "twemoji", "fluent", "fxemoji", HELD_OUT_VENDOR)

    def __post_init__(self) -> None:
        known = {*PACKAGES, UNLINED} - set(_LINES.values())
        if wrong := [vendor for vendor in self.vendors if vendor not in known]:
            raise Refused("vendors", f"must be of {', '.join(sorted(known))}, not {wrong[0]!r}")


@dataclass(frozen=True)
class EmojiSource:
    """Keys are `VENDOR/HEXCODE`. Only vendors' packages that are named are fetched."""

    name: str
    vendors: tuple[str, ...]
    downloads: Path
    size: int

    @property
    def licence(self) -> str:
        return "; ".join([*dict.fromkeys(LICENCES[package] for package in self._packages), NAMES_LICENCE])

    @property
    def origin(self) -> str:
        return ", ".join([EMOJIBASE, *(PACKAGES[package] for package in self._packages)])

    @property
    def _packages(self) -> list[str]:
        bases = [_package(vendor) for vendor in self.vendors]
        return list(dict.fromkeys([*bases, *(_LINES[vendor] for vendor in bases if vendor in _LINES)]))

    def keys(self, split: Split) -> Sequence[str]:
        return [
            f"{vendor}/{code}"
            for vendor in self.vendors
            for code in _art(_package(vendor), self.downloads)
            if _split_of(vendor, code) is split and not (vendor == UNLINED and self._is_blank(code))
        ]

    def sample(self, key: str) -> DataSample:
        vendor, _, code = key.partition("/")
        svg = _art(_package(vendor), self.downloads)[code].svg
        rendering = Rendering.COLOUR if vendor == UNLINED else Rendering.FULL
        values: dict[str, Any] = {"rgb": self._draw(keep_groups(svg, rendering))}
        lines = self._lines(vendor, code)
        if lines is not None:
            values["line_drawing"] = ink(np.asarray(Image.fromarray(self._draw(lines)).convert("L")))
        concept = _concepts().get(code)
        return DataSample(key, values, _attributes(vendor, code, concept))

    def _is_blank(self, code: str) -> bool:
        """Whether nothing is left of an OpenMoji drawing without its lines."""
        coloured = keep_groups(_art(OPENMOJI, self.downloads)[code].svg, Rendering.COLOUR)
        return not re.search(r"<(path|rect|circle|ellipse|polygon|polyline|line|use)\b", coloured)

    def _draw(self, svg: str) -> ByteArray:
        try:
            return draw_svg(svg, self.size)
        except ValueError as error:
            raise SampleInvalid(f"resvg cannot draw it: {error}") from error

    def _lines(self, vendor: str, code: str) -> str | None:
        """The SVG of the vendor's line drawing of an emoji, None if it has none."""
        if _package(vendor) == OPENMOJI:
            return line_drawing(_art(OPENMOJI, self.downloads)[code].svg)
        line = _art(_LINES[vendor], self.downloads).get(code) if vendor in _LINES else None
        return line.svg if line else None


def _open(name: str, options: Options, place: Place) -> EmojiSource:
    return EmojiSource(name, options.vendors, place.home / "downloads", place.image_size)


def _package(vendor: str) -> str:
    return OPENMOJI if vendor == UNLINED else vendor


def _split_of(vendor: str, code: str) -> Split:
    return Split.TEST if vendor == HELD_OUT_VENDOR else _SPLITS[split_of(code)]


def _attributes(vendor: str, code: str, concept: Concept | None) -> Mapping[str, Any]:
    """The base concept is what drawings of all vendors share; emoji outside Unicode have no name."""
    named = {"label": concept.label, "tags": list(concept.tags)} if concept else {}
    return {"medium": "emoji", "vendor": vendor, "hexcode": code, "concept": base_concept(code), **named}


@cache
def _concepts() -> dict[str, Concept]:
    """The concepts of the table that comes with Anyseek, so that OpenMoji needs no npm."""
    named = (row for row in read_concepts() if row.caption)
    return {(code := plain_hexcode(row.hexcode)): Concept(code, row.caption, row.tags) for row in named}


@cache
def _art(package: str, downloads: Path) -> dict[str, Art]:
    """The drawings of a package by hexcode, read once a process."""
    found = fetch_openmoji(downloads) if package == OPENMOJI else fetch_vendor(package, _concepts(), downloads)
    return {art.hexcode: art for art in found}


EMOJI = SourceKind(Options, _open)
