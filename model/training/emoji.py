"""Emoji art of several vendors: fetched by npm and pip in pinned versions, read and rendered.

Licences of the art: OpenMoji CC BY-SA 4.0, Twemoji and EmojiOne (EmojiTwo) CC BY 4.0, Noto and FxEmojis Apache-2.0,
Fluent Emoji MIT, emojibase's table MIT. None of it is redistributed here.
"""

import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image

from model.drawing import ByteArray
from model.embedder import ModelError
from model.galleries.openmoji import WHEEL_REQUIREMENT
from model.training.concepts import (
    Concept,
    has_skin_tone,
    hexcodes_by_name,
    plain_hexcode,
    read_concepts,
    squash,
)
from model.wheels import download_wheel

PICTURE_SIZE = 224
EMOJIBASE = "emojibase-data@17.0.0"
VENDORS = {
    "noto": "@iconify-json/noto@1.2.9",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "fluent": "@iconify-json/fluent-emoji-flat@1.2.6",
    "fluent-line": "@iconify-json/fluent-emoji-high-contrast@1.2.6",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
    "emojione": "@iconify-json/emojione@1.2.3",
}


class SourceError(ModelError):
    """A source of training or evaluation data could not be fetched or read."""

    code = "source_unavailable"


@dataclass(frozen=True)
class Art:
    """One vendor's drawing of one emoji, as SVG."""

    vendor: str
    hexcode: str
    svg: str


def render(svg: str, size: int = PICTURE_SIZE) -> ByteArray:
    """The SVG on white: uint8 (size, size, 3). Raises `ValueError` if it is no SVG."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, background="#ffffff")
    picture = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    if picture.size == (size, size):
        return np.asarray(picture)
    canvas = Image.new("RGB", (size, size), "white")
    picture.thumbnail((size, size))
    canvas.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    return np.asarray(canvas)


def without_group(svg: str, group: str) -> str:
    """An OpenMoji SVG whose top-level group `group` (`color` or `line`) is not drawn."""
    return re.sub(rf'<g id="{group}"', f'<g id="{group}" display="none"', svg, count=1)


def line_drawing(svg: str) -> str:
    """An OpenMoji SVG with nothing but its `line` group drawn."""
    for group in ("color", "hair", "skin", "skin-shadow", "color-foreground"):
        svg = without_group(svg, group)
    return svg


def fetch_concepts(cache: Path) -> dict[str, Concept]:
    """The concepts of emojibase, by plain hexcode."""
    files = _npm_files(EMOJIBASE, cache)
    return read_concepts(files["en/data.json"], files["en/shortcodes/iamcal.json"])


def fetch_openmoji(cache: Path) -> list[Art]:
    """OpenMoji's drawings without skin tones, by hexcode."""
    wheel = download_wheel(WHEEL_REQUIREMENT, cache / "pip")
    art = []
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            code = plain_hexcode(Path(name).stem)
            if name.endswith(".svg") and not has_skin_tone(code):
                art.append(Art("openmoji", code, archive.read(name).decode()))
    return art


def fetch_vendor(vendor: str, concepts: Mapping[str, Concept], cache: Path) -> list[Art]:
    """A vendor's drawings without skin tones, one a hexcode, in the order of their hexcodes."""
    files = _npm_files(VENDORS[vendor], cache)
    icons = files["icons.json"]
    codes = {name: code for code, name in files["chars.json"].items()}
    by_name = hexcodes_by_name(concepts)
    found: dict[str, Art] = {}
    for name, icon in icons["icons"].items():
        code = plain_hexcode(codes[name]) if name in codes else by_name.get(squash(name), "")
        if code and not has_skin_tone(code) and code not in found:
            found[code] = Art(vendor, code, _as_svg(icon, icons))
    return [found[code] for code in sorted(found)]


def _as_svg(icon: Mapping[str, Any], icons: Mapping[str, Any]) -> str:
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {names} viewBox="0 0 {width} {height}">{icon["body"]}</svg>'


def _npm_files(package: str, cache: Path) -> dict[str, Any]:
    """The JSON files of an npm package by their path in it, fetched by `npm pack` once."""
    folder = cache / "npm" / re.sub(r"[^\w.-]+", "_", package)
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise SourceError(f"npm is needed to fetch {package}, and it is not installed")
        _fetch_into(folder, [npm, "pack", "--silent", package])
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        return {
            member.name.partition("/")[2]: json.load(archive.extractfile(member) or io.BytesIO())
            for member in archive
            if member.name.endswith(".json") and _wanted(member.name)
        }


def _wanted(name: str) -> bool:
    return "/en/" in name or name.count("/") == 1


def _fetch_into(folder: Path, command: list[str]) -> None:
    """Run a fetching command in a new folder that takes its place only when the command succeeded."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        work = Path(scratch) / "work"
        work.mkdir()
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SourceError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
        work.rename(folder)
