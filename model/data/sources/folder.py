"""Source of a user's own folder, in one of two layouts.

Aligned: a sub-folder per modality, with the same file name for all files of a sample: `rgb/KEY.png`, `depth/KEY.png`,
`caption/KEY.txt`. `semseg/classes.json` names the ids.

Plain: pictures anywhere below the folder. A `NAME.json` next to `NAME.jpg` may give "caption" (a text or a list),
"attributes", and further files as "modalities": {"depth": "NAME.depth.png"}.

If the only sub-folders are `train`, `val` and `test`, they are the splits; otherwise shares decide.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anyseek.model.config import Config
from anyseek.model.data.contents import ARRAYS, STORED, json_object, read_file_value, stored_content
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import SourceKind
from anyseek.model.data.samples import Caption, DataSample, Origin, Shares, Split
from anyseek.model.modalities.registry import PICTURE_SUFFIXES, canonical, field_content

CLASSES_FILE = "classes.json"


class FolderOptions(Config):
    """`path`: the folder; `licence`: its licence in one line; `medium`: the name of its pictures in captions."""

    path: Path
    licence: str
    medium: str = "photo"


@dataclass(frozen=True)
class ListedSample:
    """One sample: its files by modality, the sidecar that describes it, and its split."""

    split: Split
    files: Mapping[str, Path]
    classes: Mapping[str, Path] = field(default_factory=dict)
    sidecar: Path | None = None


class FolderSource:
    """A source whose keys are paths in the folder; in an aligned one without the modality's folder and the suffix."""

    def __init__(self, name: str, options: FolderOptions, shares: Shares) -> None:
        """List the files. Raises `SourceUnavailable` if there are none."""
        self.name, self.licence = name, options.licence
        self._options = options
        if not options.path.is_dir():
            raise SourceUnavailable(f"{options.path} is not a folder")
        self._entries = dict(sorted(_scan(options.path, shares).items()))
        if not self._entries:
            raise SourceUnavailable(f"{options.path} has no pictures, and no sub-folders named as modalities")
        entries = self._entries.values()
        files = {path for entry in entries for path in [*entry.files.values(), *entry.classes.values()]}
        paths = sorted(files | {entry.sidecar for entry in entries if entry.sidecar})
        lines = [f"{path.relative_to(options.path).as_posix()} {path.stat().st_size}" for path in paths]
        self.origin = f"{len(entries)} samples, {hashlib.sha256(' '.join(lines).encode()).hexdigest()[:16]}"

    def keys(self, split: Split) -> Sequence[str]:
        return [key for key, entry in self._entries.items() if entry.split is split]

    def sample(self, key: str) -> DataSample:
        entry = self._entries[key]
        members = _read_sidecar(entry.sidecar) if entry.sidecar else {}
        files = {**entry.files, **_sidecar_files(members, entry)}
        values = {
            modality: read_file_value(
                modality, path, _read_classes(entry.classes[modality]) if modality in entry.classes else {}
            )
            for modality, path in files.items()
        }
        caption = members.get("caption", [])
        texts = [caption] if isinstance(caption, str) else caption
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise SampleInvalid(f"a caption is a text or a list of texts, not {caption!r:.60}")
        if captions := tuple(Caption(text.strip(), Origin.HUMAN) for text in texts if text.strip()):
            values["caption"] = captions
        attributes = {"medium": self._options.medium, **members.get("attributes", {})}
        if "rgb" in values:
            attributes["original_height"], attributes["original_width"] = values["rgb"].shape[:2]
        return DataSample(key, values, attributes)


def _scan(root: Path, shares: Shares) -> dict[str, ListedSample]:
    """All samples by key."""
    parts = [folder.name for folder in _sub_folders(root)]
    if not parts or set(parts) - set(Split):
        return {key: replace(sample, split=shares.split_of(key)) for key, sample in _scan_part(root).items()}
    return {
        f"{part}/{key}": replace(sample, split=Split(part))
        for part in parts
        for key, sample in _scan_part(root / part).items()
    }


def _scan_part(root: Path) -> dict[str, ListedSample]:
    contents = {field_content(canonical(folder.name)) for folder in _sub_folders(root)}
    aligned = any(content is not None and STORED[content] is not ARRAYS for content in contents)
    return _scan_aligned(root) if aligned else _scan_plain(root)


def _sub_folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _scan_aligned(root: Path) -> dict[str, ListedSample]:
    """Samples by key. Raises `SourceUnavailable` for an unknown folder, and for two files of one value."""
    files: dict[str, dict[str, Path]] = {}
    classes: dict[str, Path] = {}
    for folder in _sub_folders(root):
        modality = canonical(folder.name)
        try:
            suffixes = () if folder.name.startswith(".") else stored_content(modality).suffixes
        except SampleInvalid as error:
            raise SourceUnavailable(f"the folder {folder}: {error}") from error
        for path in sorted(folder.rglob("*")):
            if path.name == CLASSES_FILE:
                classes[modality] = path
            elif path.suffix.lower() in suffixes:
                key = path.relative_to(folder).with_suffix("").as_posix()
                first = files.setdefault(key, {}).setdefault(modality, path)
                if first != path:
                    raise SourceUnavailable(f"{first} and {path} are both {modality} of {key}; keep one of them")
    return {key: ListedSample(Split.TRAIN, paths, classes) for key, paths in files.items()}


def _scan_plain(root: Path) -> dict[str, ListedSample]:
    """Samples by key: the pictures, except those that a sidecar names as another modality of its picture."""
    pictures = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES]
    sidecars = {path: path.with_suffix(".json") for path in pictures if path.with_suffix(".json").is_file()}
    further_files = {
        file
        for path, sidecar in sidecars.items()
        for name in _modalities(sidecar).values()
        if (file := path.parent / str(name)) != path
    }
    return {
        path.relative_to(root).as_posix(): ListedSample(Split.TRAIN, {"rgb": path}, sidecar=sidecars.get(path))
        for path in pictures
        if path not in further_files
    }


def _modalities(sidecar: Path) -> Mapping[str, Any]:
    """The files that a sidecar names; empty if it cannot be read, which reading its sample reports."""
    try:
        names = _read_sidecar(sidecar).get("modalities", {})
    except SampleInvalid:
        return {}
    return names if isinstance(names, dict) else {}


def _read_sidecar(path: Path) -> dict[str, Any]:
    try:
        members = json_object(path.read_bytes(), str(path))
    except OSError as error:
        raise SampleInvalid(f"{path} cannot be read: {error}") from error
    if not isinstance(members.get("attributes", {}), dict):
        raise SampleInvalid(f"the attributes of {path} are not a JSON object")
    return members


def _sidecar_files(members: Mapping[str, Any], entry: ListedSample) -> dict[str, Path]:
    """The further files that a sidecar names next to itself, by modality. Raises `SampleInvalid`."""
    names = members.get("modalities", {})
    if not isinstance(names, dict):
        raise SampleInvalid(f"{entry.sidecar} must name files by modality")
    folder = entry.files["rgb"].parent
    for modality, name in names.items():
        inside = isinstance(name, str) and (folder / name).resolve().is_relative_to(folder.resolve())
        if not inside or Path(str(name)).suffix.lower() not in stored_content(canonical(modality)).suffixes:
            raise SampleInvalid(
                f"{entry.sidecar} names {name!r} as {modality}: it must be a file of that kind next to the sidecar"
            )
    return {canonical(modality): folder / name for modality, name in names.items()}


def _read_classes(path: Path) -> dict[int, str]:
    """Names of ids from a JSON file `{"0": "sky"}`. Raises `SampleInvalid`."""
    try:
        return {int(number): str(name) for number, name in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise SampleInvalid(f'{path} must name ids, such as {{"0": "sky"}}: {error}') from error


FOLDER = SourceKind(lambda name, options, settings: FolderSource(name, options, settings.shares), FolderOptions)
