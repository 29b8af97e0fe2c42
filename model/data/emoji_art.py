"""Emoji art from several vendors, as SVG: fetched by npm and pip in pinned versions.

None of the art is redistributed here. `LICENCES` lists the licences that apply to anything made from it.
"""

import json
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyseek.model.data.concepts import (
    Concept,
    has_skin_tone,
    hexcodes_by_name,
    plain_hexcode,
    read_concepts,
    squash,
)
from anyseek.model.data.errors import SourceUnavailable
from anyseek.model.files import whole_folder
from anyseek.model.galleries.openmoji import WHEEL_REQUIREMENT, fetch_wheel

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
    """One vendor's drawing of one emoji, as SVG; `hexcode` is plain (see `anyseek.model.data.concepts`)."""

    vendor: str
    hexcode: str
    svg: str


def fetch_concepts(downloads: Path) -> dict[str, Concept]:
    """The concepts of emojibase, by plain hexcode. Raises `SourceUnavailable`."""
    files = npm_json(EMOJIBASE, ("en/data.json", "en/shortcodes/iamcal.json"), downloads)
    return read_concepts(files["en/data.json"], files["en/shortcodes/iamcal.json"])


def fetch_openmoji(downloads: Path) -> list[Art]:
    """OpenMoji's drawings without skin tones, by hexcode. Raises `DownloadFailed`, `WeightsCorrupt`."""
    art = []
    with zipfile.ZipFile(fetch_wheel(downloads)) as archive:
        for name in sorted(archive.namelist()):
            code = plain_hexcode(Path(name).stem)
            if name.endswith(".svg") and not has_skin_tone(code):
                art.append(Art(OPENMOJI, code, archive.read(name).decode()))
    return art


def fetch_vendor(vendor: str, concepts: Mapping[str, Concept], downloads: Path) -> list[Art]:
    """Another vendor's drawings without skin tones, one a hexcode, in the order of their hexcodes.

    Icons without a code point are matched by name. Raises `SourceUnavailable`.
    """
    files = npm_json(PACKAGES[vendor], ("icons.json", "chars.json"), downloads)
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


def npm_json(package: str, files: Iterable[str], downloads: Path) -> dict[str, Any]:
    """Read JSON files of an npm package (`name@version`), by their path in it; `npm pack` fetches it the first time.

    Raises `SourceUnavailable` if npm is not installed, fails, or the package has no such file.
    """
    wanted = set(files)
    found: dict[str, Any] = {}
    try:
        with tarfile.open(_npm_archive(package, downloads)) as archive:
            for member in archive:
                name = member.name.partition("/")[2]  # all is below `package/`
                content = archive.extractfile(member) if name in wanted else None
                if content is not None:
                    found[name] = json.load(content)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise SourceUnavailable(
            f"{package} cannot be read: {error}; delete it, and it will be fetched again"
        ) from error
    if missing := wanted - found.keys():
        raise SourceUnavailable(f"{package} has no file {min(missing)}")
    return found


def _npm_archive(package: str, downloads: Path) -> Path:
    folder = downloads / "npm" / re.sub(r"[^\w.-]+", "_", package)
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise SourceUnavailable(f"npm is needed to fetch {package}, and it is not installed")
        _fetch_into(folder, [npm, "pack", "--silent", package])
    return next(folder.glob("*.tgz"))


def _fetch_into(folder: Path, command: list[str]) -> None:
    """Run a fetching command in a new folder that takes its place only when the command succeeded."""
    with whole_folder(folder) as work:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not list(work.glob("*.tgz")):
            raise SourceUnavailable(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
