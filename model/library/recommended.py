"""Which model suits what, and the commands that lead there. Imports no torch and reads no weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anyseek.model.bridges.files import PREFIX
from anyseek.model.fourm.published.names import LICENCE
from anyseek.model.fourm.published.store import State
from anyseek.model.library.installed import list_models
from anyseek.model.openclip.aliases import PHOTOS


@dataclass(frozen=True)
class Recommendation:
    """A model for a purpose. `commands` are still to be run as they are; the last one uses it."""

    purpose: str
    model: str
    licence: str
    installed: bool
    commands: tuple[str, ...]


_ENCODERS = "anyseek models pull encoders"
_PULL_PHOTOS, _ADAPT_PHOTOS = f"anyseek models pull {PHOTOS.name}", f"anyseek models adapt {PHOTOS.name}"
_PULL_PUBLISHED = "anyseek models pull 4M-21_B"


def recommendations(home: Path) -> list[Recommendation]:
    """The models for icons, for photo libraries and for features, with what is missing of each below `home`."""
    states = {row.name: row.state for row in list_models(home)}
    adapted = PREFIX + PHOTOS.name
    photos = {_PULL_PHOTOS: PHOTOS.model, _ADAPT_PHOTOS: adapted}
    return [
        _recommended(
            "icons, drawings and a first look",
            "4m-tiny",
            "non-commercial and research use",
            _missing({_ENCODERS: "4m-tiny"}, states),
            "anyseek index PICTURES/ --collection NAME",
        ),
        _recommended(
            "photo libraries",
            adapted,
            PHOTOS.licence,
            _missing(photos, states),
            f"anyseek index PHOTOS/ --collection NAME --model {adapted}",
        ),
        _recommended(
            "depth, poses and feature maps",
            "4M-21_B",
            LICENCE,
            _missing({_PULL_PUBLISHED: "4M-21_B"}, states),
            "anyseek index PHOTOS/ --collection NAME --model 4M-21_B",
        ),
    ]


def _missing(commands: Mapping[str, str], states: Mapping[str, State]) -> tuple[str, ...]:
    """The commands whose model is not installed."""
    return tuple(command for command, name in commands.items() if states.get(name) is not State.INSTALLED)


def _recommended(purpose: str, model: str, licence: str, missing: tuple[str, ...], use: str) -> Recommendation:
    return Recommendation(purpose, model, licence, not missing, (*missing, use))
