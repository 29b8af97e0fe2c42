"""Names and folders of bridges. No torch.

`models/bridges/NAME/` below the data directory holds the fitted numbers (`bridge.safetensors`) and their record
(`bridge.json`).
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from anyseek.model.config import sentence
from anyseek.model.errors import UnknownModel, WeightsCorrupt, WeightsMissing
from anyseek.model.openclip.files import ALIASES, LOCAL_PREFIX, published_parts
from anyseek.model.openclip.files import PREFIX as OPENCLIP

PREFIX = "bridge:"
NUMBERS_FILE, RECORD_FILE = "bridge.safetensors", "bridge.json"
_NAME = re.compile(r"bridge:([A-Za-z0-9_][\w.-]*)", re.ASCII)


@dataclass(frozen=True)
class BridgeRecord:
    """The content of `bridge.json`: the name and fingerprint of the base model, and the bridge's own fingerprint.

    `weights` are the weights of the fitted maps by modality. `fitted_on` has the licence of each source.
    """

    base: str
    base_fingerprint: str
    fingerprint: str
    weights: dict[str, float]
    fitted_on: dict[str, str]

    def to_json(self) -> str:
        """The text of `bridge.json`."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> Self:
        """Read `bridge.json`. Raises `WeightsCorrupt` naming `path`."""
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            raise WeightsCorrupt(f"{path} does not describe a bridge: {sentence(error)}") from error


def folder_of(name: str, home: Path) -> Path:
    """The folder of `bridge:NAME`. Raises `UnknownModel`."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise UnknownModel(
            f"{name!r} is not the name of a bridge; write {PREFIX}NAME, where NAME has letters, digits, `_`, `.` and "
            "`-` only and begins with a letter or digit"
        )
    return _bridges_folder(home) / match[1]


def default_name(base: str) -> str:
    """The default name of a bridge to the open_clip model `base`, which may be an alias.

    Raises `UnknownModel` if `base` is not the name of an open_clip model.
    """
    if base in ALIASES:
        return PREFIX + base
    if not base.startswith(OPENCLIP):
        raise UnknownModel(
            f"{base!r} cannot be adapted; only open_clip models can: write {OPENCLIP}ARCH/PRETRAINED, "
            f"{LOCAL_PREFIX}/PATH or {', '.join(ALIASES)}"
        )
    if base.startswith(LOCAL_PREFIX):
        return PREFIX + Path(base.removeprefix(LOCAL_PREFIX)).name
    return PREFIX + "-".join(published_parts(base))


def bridges(home: Path) -> tuple[str, ...]:
    """The names of the bridges below `home`."""
    records = sorted(_bridges_folder(home).glob(f"[!.]*/{RECORD_FILE}"))
    return tuple(f"{PREFIX}{path.parent.name}" for path in records)


def read_record(name: str, home: Path) -> BridgeRecord:
    """The record of `bridge:NAME`. Raises `UnknownModel`, `WeightsMissing`, `WeightsCorrupt`."""
    path = folder_of(name, home) / RECORD_FILE
    try:
        return BridgeRecord.from_json(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as error:
        raise WeightsMissing(f"{name} is not installed; make it with `anyseek models adapt`") from error
    except UnicodeDecodeError as error:
        raise WeightsCorrupt(f"{path} does not describe a bridge: {error}") from error


def _bridges_folder(home: Path) -> Path:
    return home / "models" / "bridges"
