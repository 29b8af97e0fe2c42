"""Labelled photos in tar shards: `NAME.webp` with a `NAME.json` of licence, label, split, and sometimes a caption."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyseek.model.data.codecs import read_value
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import SourceKind
from anyseek.model.data.samples import Caption, DataSample, Origin, Split
from anyseek.model.data.sources.tar_members import Member, describe, find_shards, list_members
from anyseek.model.modalities.drawings import ByteArray

LICENCE = (
    "Caltech 101 (Li, Andreeto, Ranzato, Perona), CC BY 4.0; Clothing dataset (alexeygrigorev), CC0 1.0; "
    "Grocery Store Dataset (Klasson, Zhang, Kjellström), MIT"
)
_SAYS_NOTHING = frozenset({"not sure", "skip", "other", "background google"})
_SAME = {"faces easy": "faces"}  # the same photos, cropped


@dataclass(frozen=True)
class Options:
    """`path`: the folder of the shards `photos-*.tar`; `labelled`: leave out photos whose label names no class."""

    path: Path
    labelled: bool = False


class PhotosSource:
    """Keys are the shards' own, six digits."""

    licence = LICENCE

    def __init__(self, name: str, options: Options) -> None:
        """Reads what is said of every photo. Raises `SourceUnavailable`."""
        self.name = name
        self._members = list_members(find_shards(options.path / "photos-*.tar"))
        self.origin = f"photos, {describe(self._members)}"
        self._about = {key: _read_about(key, files) for key, files in self._members.items()}
        if options.labelled:
            self._about = {key: about for key, about in self._about.items() if _label(about)}

    def keys(self, split: Split) -> Sequence[str]:
        return [key for key, about in self._about.items() if about["split"] == split]

    def label(self, key: str) -> str:
        """What a photo shows, empty where nobody says."""
        return _label(self._about[key]) or ""

    def shown_class(self, key: str) -> str | None:
        """The class of a photo, one name for those that have several; None where nobody says."""
        label = _label(self._about[key])
        return None if label is None else _SAME.get(label, label)

    def source_of(self, key: str) -> str:
        """The collection that a photo belongs to, such as `caltech101`."""
        return str(self._about[key]["source"])

    def caption(self, key: str) -> str | None:
        """A person's words for things of the photo's label."""
        caption: str | None = self._about[key].get("caption")
        return caption or None

    def picture(self, key: str) -> ByteArray:
        """uint8 (H, W, 3). Raises `SampleInvalid`."""
        if "webp" not in self._members[key]:
            raise SampleInvalid("it has no .webp")
        picture: ByteArray = read_value("rgb", self._members[key]["webp"].read(), "its .webp")
        return picture

    def sample(self, key: str) -> DataSample:
        values: dict[str, Any] = {"rgb": self.picture(key)}
        if caption := self.caption(key):
            values["caption"] = (Caption(caption, Origin.HUMAN),)
        return DataSample(key, values, _attributes(self._about[key]))


def _read_about(key: str, files: Mapping[str, Member]) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(files["json"].read())
        Split(about["split"])
    except (KeyError, ValueError, TypeError, SampleInvalid) as error:
        raise SourceUnavailable(f"the photo {key} has no .json with its split: {error!r}") from error
    return about


def _label(about: Mapping[str, Any]) -> str | None:
    label: str | None = about.get("label")
    return None if label in _SAYS_NOTHING else label


def _attributes(about: Mapping[str, Any]) -> dict[str, Any]:
    label = _label(about)
    named = {"label": label, "concept": f"{about['source']}/{_SAME.get(label, label)}"} if label else {}
    tags = [about["coarse_label"]] if about.get("coarse_label") else []
    return {
        "medium": "photo",
        **named,
        "tags": [tag for tag in tags if tag != label],
        "source": about["source"],
        "id": about["id"],
        "licence": about["license"],
        "original_width": about["width"],
        "original_height": about["height"],
    }


PHOTOS = SourceKind(Options, lambda name, options, place: PhotosSource(name, options))
