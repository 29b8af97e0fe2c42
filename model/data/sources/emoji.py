"""Source of rendered emoji from several vendors: picture, line drawing if the vendor has one, name and tags.

The art is SVG, fetched by npm and pip in pinned versions; none of it is redistributed here. `LICENCES` lists the
licences that apply to derived data. Splits are by base concept: all drawings of one thing, in every skin
tone and gender, are in the same split.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from anyseek.model.config import Config
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import SourceKind
from anyseek.model.data.samples import DataSample, Split
from anyseek.model.files import atomic_folder
from anyseek.model.galleries.openmoji import (
    SKIN_TONES,
    WHEEL_REQUIREMENT,
    Drawings,
    Rendering,
    draw_svg,
    fetch_wheel,
    keep_groups,
    read_concepts,
)
from anyseek.model.modalities.drawings import ByteArray, ink

HELD_OUT_SHARE = 0.15  # of base concepts, only for evaluation
DEVELOPMENT_SHARE = 0.05  # of base concepts, for choosing constants; neither trained on nor reported

_VARIATION = "FE0F"
_JOINER = "200D"
_GENDER_SIGNS = frozenset({"2640", "2642"})
# Code points that differ only in gender, by the one that represents them.
_GENDERLESS = {
    **dict.fromkeys(("1F468", "1F469"), "1F9D1"),  # man, woman: person
    **dict.fromkeys(("1F466", "1F467"), "1F9D2"),  # boy, girl: child
    **dict.fromkeys(("1F474", "1F475"), "1F9D3"),  # old man, old woman: older person
    "1F934": "1F478",  # prince: princess
    "1F57A": "1F483",  # man dancing: woman dancing
    "1F936": "1F385",  # Mrs. Claus: Santa Claus
    "1F46C": "1F46B",  # men holding hands: woman and man holding hands
    "1F46D": "1F46B",
    "1F6BA": "1F6B9",  # women's room: men's room
}


@dataclass(frozen=True)
class Concept:
    """One emoji of the emojibase table: `hexcode` without variation selectors, its label, tags and short names."""

    hexcode: str
    label: str
    tags: tuple[str, ...]


def plain_hexcode(hexcode: str) -> str:
    """Upper case, joined by `-`, without variation selectors: `270b-fe0f` becomes `270B`."""
    return "-".join(part for part in hexcode.upper().split("-") if part != _VARIATION)


def has_skin_tone(hexcode: str) -> bool:
    """Whether the emoji is a skin tone variant of another one, or a swatch of a tone."""
    return not SKIN_TONES.isdisjoint(hexcode.upper().split("-"))


def base_concept(hexcode: str) -> str:
    """The hexcode that all skin tones and genders of an emoji share."""
    parts = [p for p in plain_hexcode(hexcode).split("-") if p not in SKIN_TONES | _GENDER_SIGNS]
    base_parts = [_GENDERLESS.get(part, part) for part in parts]
    while base_parts and base_parts[-1] == _JOINER:
        base_parts.pop()
    return "-".join(base_parts) or plain_hexcode(hexcode)


def split_of(hexcode: str) -> Split:
    """The split of an emoji, by a hash of its base concept: the same on every machine."""
    digest = hashlib.sha256(base_concept(hexcode).encode()).hexdigest()
    share = int(digest[:8], 16) / 2**32
    if share < HELD_OUT_SHARE:
        return Split.TEST
    return Split.VAL if share < HELD_OUT_SHARE + DEVELOPMENT_SHARE else Split.TRAIN


def parse_concepts(table: Sequence[Mapping[str, Any]], shortcodes: Mapping[str, Any]) -> dict[str, Concept]:
    """The concepts of emojibase's `data.json`, by plain hexcode, short names of `shortcodes` added to the tags."""
    names = {plain_hexcode(code): [value] if isinstance(value, str) else value for code, value in shortcodes.items()}
    concepts = {}
    for row in table:
        code = plain_hexcode(row["hexcode"])
        words = [name.replace("_", " ").replace("-", " ") for name in names.get(code, [])]
        tags = dict.fromkeys([*row.get("tags", []), *words])
        concepts[code] = Concept(code, row["label"], tuple(tags))
    return concepts


def hexcodes_by_name(concepts: Mapping[str, Concept]) -> dict[str, str]:
    """Hexcodes by squashed name (letters and digits only), for vendors without code points."""
    hexcodes: dict[str, str] = {}
    for code, concept in concepts.items():
        points = [int(part, 16) for part in code.split("-")]
        formal = unicodedata.name(chr(points[0]), "") if len(points) == 1 else ""
        for name in (concept.label, formal):
            if name:
                hexcodes.setdefault(squash(name), code)
    return hexcodes


def squash(name: str) -> str:
    """Lower-case letters and digits of a name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", plain.lower())


EMOJIBASE = "emojibase-data@17.0.0"
OPENMOJI = "openmoji"
PACKAGES: Mapping[str, str] = {
    OPENMOJI: WHEEL_REQUIREMENT,
    "noto": "@iconify-json/noto@1.2.9",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "fluent": "@iconify-json/fluent-emoji-flat@1.2.6",
    "fluent-line": "@iconify-json/fluent-emoji-high-contrast@1.2.6",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
    "emojione": "@iconify-json/emojione@1.2.3",
}
LICENCES: Mapping[str, str] = {
    OPENMOJI: "OpenMoji (openmoji.org), CC BY-SA 4.0",
    "noto": "Noto Emoji (Google), Apache-2.0",
    "twemoji": "Twemoji (Twitter), CC BY 4.0",
    "fluent": "Fluent Emoji (Microsoft), MIT",
    "fluent-line": "Fluent Emoji (Microsoft), MIT",
    "fxemoji": "FxEmojis (Mozilla), Apache-2.0",
    "emojione": "EmojiOne 2 (EmojiTwo), CC BY 4.0",
}
NAMES_LICENCE = "names and tags: emojibase-data, MIT"


@dataclass(frozen=True)
class Art:
    """One vendor's drawing of one emoji, as SVG; `hexcode` is plain (see `anyseek.model.data.sources.emoji`)."""

    vendor: str
    hexcode: str
    svg: str


def fetch_concepts(downloads: Path) -> dict[str, Concept]:
    """The concepts of emojibase, by plain hexcode. Raises `SourceUnavailable`."""
    files = npm_json(EMOJIBASE, ("en/data.json", "en/shortcodes/iamcal.json"), downloads)
    return parse_concepts(files["en/data.json"], files["en/shortcodes/iamcal.json"])


def fetch_openmoji(downloads: Path) -> list[Art]:
    """OpenMoji's drawings without skin tones, by hexcode. Raises `DownloadFailed`, `WeightsCorrupt`."""
    with Drawings(fetch_wheel(downloads)) as drawings:
        codes = sorted(drawings, key=lambda code: f"{code}.svg")  # as the files are ordered
        return [Art(OPENMOJI, plain_hexcode(code), drawings[code]) for code in codes if not has_skin_tone(code)]


def fetch_vendor(vendor: str, concepts: Mapping[str, Concept], downloads: Path) -> list[Art]:
    """The drawings of a vendor other than OpenMoji, one per hexcode, without skin tones, ordered by hexcode.

    Icons without a code point are matched by name. Raises `SourceUnavailable`.
    """
    files = npm_json(PACKAGES[vendor], ("icons.json", "chars.json"), downloads)
    icons = files["icons.json"]
    codes = {name: code for code, name in files["chars.json"].items()}
    by_name = hexcodes_by_name(concepts)
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    drawings: dict[str, Art] = {}
    for name, icon in icons["icons"].items():
        code = plain_hexcode(codes[name]) if name in codes else by_name.get(squash(name), "")
        if code and not has_skin_tone(code) and code not in drawings:
            width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
            svg = f'<svg {names} viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
            drawings[code] = Art(vendor, code, svg)
    return [drawings[code] for code in sorted(drawings)]


def npm_json(package: str, files: Iterable[str], downloads: Path) -> dict[str, Any]:
    """JSON files of an npm package (`name@version`) by their path in it; `npm pack` fetches it on first use.

    Raises `SourceUnavailable` if npm is not installed, fails, or the package has no such file.
    """
    expected = set(files)
    documents: dict[str, Any] = {}
    try:
        with tarfile.open(_npm_archive(package, downloads)) as archive:
            for member in archive:
                name = member.name.partition("/")[2]  # all files are below `package/`
                content = archive.extractfile(member) if name in expected else None
                if content is not None:
                    documents[name] = json.load(content)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise SourceUnavailable(
            f"{package} cannot be read: {error}; delete it, and it will be fetched again"
        ) from error
    if missing := expected - documents.keys():
        raise SourceUnavailable(f"{package} has no file {min(missing)}")
    return documents


def _npm_archive(package: str, downloads: Path) -> Path:
    folder = downloads / "npm" / re.sub(r"[^\w.-]+", "_", package)
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise SourceUnavailable(f"npm is needed to fetch {package}, and it is not installed")
        command = [npm, "pack", "--silent", package]
        with atomic_folder(folder) as work:  # appears only if the command succeeds
            result = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
            if result.returncode != 0 or not list(work.glob("*.tgz")):
                raise SourceUnavailable(f"{' '.join(command)} failed: {result.stderr.strip()[-500:]}")
    return next(folder.glob("*.tgz"))


UNLINED = "openmoji-unlined"  # OpenMoji's colours without its lines
HELD_OUT_VENDOR = "emojione"  # in the test split only
Vendor = Literal["openmoji", "openmoji-unlined", "noto", "twemoji", "fluent", "fxemoji", "emojione"]
_LINE_PACKAGES = {"fluent": "fluent-line"}  # of vendors with a separate package of line drawings


class EmojiOptions(Config):
    """`vendors`: those whose emoji are used."""

    vendors: tuple[Vendor, ...] = get_args(Vendor)


@dataclass(frozen=True)
class EmojiSource:
    """A source with the keys `VENDOR/HEXCODE`. Only the packages of its vendors are fetched."""

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
        return list(dict.fromkeys([*bases, *(_LINE_PACKAGES[vendor] for vendor in bases if vendor in _LINE_PACKAGES)]))

    def keys(self, split: Split) -> Sequence[str]:
        return [
            f"{vendor}/{code}"
            for vendor in self.vendors
            for code in _art(_package(vendor), self.downloads)
            if (Split.TEST if vendor == HELD_OUT_VENDOR else split_of(code)) is split
            and not (vendor == UNLINED and self._is_blank(code))
        ]

    def sample(self, key: str) -> DataSample:
        vendor, _, code = key.partition("/")
        svg = _art(_package(vendor), self.downloads)[code].svg
        rendering = Rendering.COLOUR if vendor == UNLINED else Rendering.FULL
        values: dict[str, Any] = {"rgb": self._draw(keep_groups(svg, rendering))}
        lines = self._line_svg(vendor, code)
        if lines is not None:
            values["line_drawing"] = ink(np.asarray(Image.fromarray(self._draw(lines)).convert("L")))
        # All vendors' drawings of a thing share the base concept; emoji outside Unicode have no name.
        attributes = {"medium": "emoji", "vendor": vendor, "hexcode": code, "concept": base_concept(code)}
        names = {"label": concept.label, "tags": list(concept.tags)} if (concept := _concepts().get(code)) else {}
        return DataSample(key, values, {**attributes, **names})

    def name_of(self, key: str) -> str | None:
        """What an emoji shows; None outside Unicode."""
        concept = _concepts().get(key.partition("/")[2])
        return None if concept is None else concept.label

    def _is_blank(self, code: str) -> bool:
        """Whether an OpenMoji drawing is empty without its lines."""
        coloured = keep_groups(_art(OPENMOJI, self.downloads)[code].svg, Rendering.COLOUR)
        return not re.search(r"<(path|rect|circle|ellipse|polygon|polyline|line|use)\b", coloured)

    def _draw(self, svg: str) -> ByteArray:
        try:
            return draw_svg(svg, self.size)
        except ValueError as error:
            raise SampleInvalid(f"resvg cannot draw it: {error}") from error

    def _line_svg(self, vendor: str, code: str) -> str | None:
        """The SVG of the vendor's line drawing of an emoji, None if it has none."""
        if _package(vendor) == OPENMOJI:
            return keep_groups(_art(OPENMOJI, self.downloads)[code].svg, Rendering.LINE)
        line = _art(_LINE_PACKAGES[vendor], self.downloads).get(code) if vendor in _LINE_PACKAGES else None
        return line.svg if line else None


def _package(vendor: str) -> str:
    return OPENMOJI if vendor == UNLINED else vendor


@cache
def _concepts() -> dict[str, Concept]:
    """The concepts in the table that ships with Anyseek, so that OpenMoji does not need npm."""
    rows = (row for row in read_concepts() if row.caption)
    return {(code := plain_hexcode(row.hexcode)): Concept(code, row.caption, row.tags) for row in rows}


@cache
def _art(package: str, downloads: Path) -> dict[str, Art]:
    """The drawings of a package by hexcode, cached in the process."""
    drawings = fetch_openmoji(downloads) if package == OPENMOJI else fetch_vendor(package, _concepts(), downloads)
    return {art.hexcode: art for art in drawings}


EMOJI = SourceKind(
    lambda name, options, settings: EmojiSource(
        name, options.vendors, settings.home / "downloads", settings.image_size
    ),
    EmojiOptions,
)
