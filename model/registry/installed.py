"""All models that Anyseek knows, and how much of each is here. Imports no torch and reads no weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anyseek.model.bridges.files import PREFIX, bridges, read_record
from anyseek.model.bridges.files import folder_of as bridge_folder
from anyseek.model.errors import ModelError
from anyseek.model.fourm.published.names import LICENCE, PUBLISHED, VOCABULARY
from anyseek.model.fourm.published.store import State, installed, state_of
from anyseek.model.openclip.files import ALIASES, CONFIG_FILE, PHOTOS, pulled_models
from anyseek.model.openclip.files import folder_of as openclip_folder

# The files and the licence of each set of encoders (`anyseek.model.encoders.pull`), which is in the folder of its name.
ENCODER_SETS = {
    "encoders": (("efficientnet-lite0.safetensors", "minilm-l6.safetensors", "minilm-l6.tokenizer.json"), "Apache-2.0"),
    "languages": (("multilingual-e5-small.safetensors", "multilingual-e5-small.tokenizer.json"), "MIT"),
}
_WEIGHTS = Path(__file__).parents[1] / "weights"
_APACHE = "Apache-2.0"


@dataclass(frozen=True)
class ModelRow:
    """A model as listed without loading it; `size` in bytes, None where nothing is installed."""

    name: str
    kind: str
    state: State
    licence: str
    fingerprint: str | None = None
    size: int | None = None


def list_models(home: Path) -> list[ModelRow]:
    """Bundled models, the encoders that they look through, published checkpoints, open_clip models and bridges."""
    encoders, languages = (_encoders(name, home) for name in ENCODER_SETS)
    return [
        *(_bundled(name, encoders.state) for name in ("4m-tiny", "4m-tiny-open")),
        ModelRow("hashing", "embedder", State.INSTALLED, _APACHE),
        encoders,
        languages,
        *(_published(name, row.role, LICENCE, home) for name, row in PUBLISHED.items()),
        _published(VOCABULARY, "vocabulary", _APACHE, home),
        *(
            ModelRow(name, "embedder", State.INSTALLED, _licence_of(name), size=_size(openclip_folder(name, home)))
            for name in pulled_models(home)
        ),
        *(_bridge(name, home) for name in bridges(home)),
    ]


def _bundled(name: str, encoders: State) -> ModelRow:
    """A bundled model, which is complete only with its encoders."""
    folder = _WEIGHTS / name
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    state = State.INSTALLED if encoders is State.INSTALLED else State.INCOMPLETE
    licence = manifest["licence"].partition(" (")[0]
    return ModelRow(name, "embedder", state, licence, manifest["fingerprint"], _size(folder))


def _encoders(name: str, home: Path) -> ModelRow:
    folder, (files, licence) = home / "models" / name, ENCODER_SETS[name]
    present = [(folder / file).is_file() for file in (*files, "manifest.json")]
    state = State.INSTALLED if all(present) else State.INCOMPLETE if any(present) else State.MISSING
    return ModelRow(name, "encoders", state, licence, size=_size(folder))


def _published(name: str, kind: str, licence: str, home: Path) -> ModelRow:
    try:
        record = installed(name, home)
    except ModelError:
        return ModelRow(name, kind, state_of(name, home), licence)
    return ModelRow(name, kind, State.INSTALLED, licence, record.fingerprint, record.size)


def _licence_of(name: str) -> str:
    """The licence of a recommended model; that of others is on their page."""
    return next((alias.licence for alias in ALIASES.values() if alias.model == name), "its own")


def _bridge(name: str, home: Path) -> ModelRow:
    """A bridge, which is complete only with the model that it belongs to; its licence is that model's."""
    try:
        record = read_record(name, home)
        present = (openclip_folder(record.base, home) / CONFIG_FILE).is_file()
    except ModelError:
        return ModelRow(name, "bridge", State.INCOMPLETE, "its own")
    state = State.INSTALLED if present else State.INCOMPLETE
    licence, size = _licence_of(record.base), _size(bridge_folder(name, home))
    return ModelRow(name, "bridge", state, licence, record.fingerprint, size)


def _size(folder: Path) -> int | None:
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file()) or None


@dataclass(frozen=True)
class Recommendation:
    """A model for a purpose. `commands` are still to be run as they are; the last one uses it."""

    purpose: str
    model: str
    licence: str
    installed: bool
    commands: tuple[str, ...]


def recommendations(home: Path) -> list[Recommendation]:
    """The models for icons, for photo libraries and for features, with what is missing of each below `home`."""
    states = {row.name: row.state for row in list_models(home)}

    def recommended(
        purpose: str, model: str, licence: str, needed: Mapping[str, str], folder: str, option: str
    ) -> Recommendation:
        missing = [f"anyseek models {command}" for command, name in needed.items() if states.get(name) != "installed"]
        use = f"anyseek index {folder}/ --collection NAME{option}"
        return Recommendation(purpose, model, licence, not missing, (*missing, use))

    adapted, published = PREFIX + PHOTOS.name, "4M-21_B"
    photos = {f"pull {PHOTOS.name}": PHOTOS.model, f"adapt {PHOTOS.name}": adapted}
    tiny, own = {"pull encoders": "4m-tiny"}, "non-commercial and research use"
    return [
        recommended("icons, drawings and a first look", "4m-tiny", own, tiny, "PICTURES", ""),
        recommended("photo libraries", adapted, PHOTOS.licence, photos, "PHOTOS", f" --model {adapted}"),
        recommended(
            "depth, poses and feature maps",
            published,
            LICENCE,
            {f"pull {published}": published},
            "PHOTOS",
            f" --model {published}",
        ),
    ]
