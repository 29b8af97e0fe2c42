"""A folder of aligned modalities for evaluating a model: the user's own pictures, maps and captions.

It is laid out in one of two ways:

    DIR/rgb/KEY.png  DIR/depth/KEY.png  DIR/caption/KEY.txt …   a folder per modality, a file per entry
        DIR/semseg/classes.json   {"0": "sky"}, names of the ids of all region maps (optional)
        DIR/labels.json           {"KEY": "chair", "KEY": ["chair", "wood"]} (optional)
    pictures with captions in their files, sidecars or `manifest.jsonl`, as `anyseek index` reads them
        labels are the attributes `label`, `album` and `keywords`; the name of each is also a query

An entry needs at least two modalities, or a label; others are skipped and reported.
"""

import json
import os
import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyseek.indexer.attributes import merge_attributes, read_metadata
from anyseek.indexer.errors import BadDescription
from anyseek.indexer.paths import check_inside, from_uri, to_key, to_uri
from anyseek.indexer.samples import CAPTION, PICTURE, RawFile, decode_all
from anyseek.indexer.sources.base import json_object
from anyseek.indexer.sources.folder import MANIFEST, FolderSource
from anyseek.model.data.aligned import AlignedSet, LazySamples, QuerySet, sample_evenly
from anyseek.model.modalities.reading.documents import parse_classes
from anyseek.model.modalities.reading.encoded import read_file
from anyseek.model.modalities.registry import Modality, resolve
from anyseek.model.seam import Sample
from anyseek.search.errors import BadInput, NotAligned
from anyseek.search.settings import Limits, Settings

_TEXT_FILES = (".txt", ".json")  # suffixes of modalities that define none
_CLASSES, _LABELS = "classes.json", "labels.json"
_LABEL_ATTRIBUTES = ("album", "keywords")  # attributes used as labels, besides `label`
_MAX_LISTED = 10
_Classes = Mapping[str, Mapping[int, str]]  # names of ids by modality


@dataclass(frozen=True)
class _Entry:
    """One aligned entry: its key, its files by modality (paths below the folder), caption, labels and class names."""

    key: str
    files: Mapping[str, str]
    caption: str | None = None
    labels: frozenset[str] = frozenset()
    classes: _Classes = field(default_factory=dict)

    @property
    def is_usable(self) -> bool:
        return len(self.files) + (self.caption is not None) > 1 or bool(self.labels)


def read_aligned(folder: Path, settings: Settings, limit: int | None) -> AlignedSet:
    """The entries in `folder` (at most `limit`, evenly sampled); their files are read and decoded lazily.

    Raises `SourceGone`, and `NotAligned` for a folder without files or in which no key has two modalities.
    """
    root, limits = folder.resolve(), settings.limits
    source = FolderSource(root, limits)
    by_folder = _modality_folders(root)
    notes: list[str] = []
    entries = (
        _entries_in_folders(root, by_folder, limits, notes)
        if by_folder
        else _entries_with_descriptions(root, source, settings, notes)
    )
    name = to_uri(str(folder))
    if not entries:
        raise NotAligned(
            f"{name} has no files of any modality; it needs a folder for each modality, such as rgb/KEY.png"
        )
    if len(by_folder) == 1 and not any(entry.labels for entry in entries):
        raise NotAligned(f"{name} has only one modality, {next(iter(by_folder))}; it needs at least two")
    aligned = [entry for entry in entries if entry.is_usable]
    if unusable := [entry for entry in entries if not entry.is_usable]:
        shown = ", ".join(to_uri(next(iter(entry.files.values()))) for entry in unusable[:_MAX_LISTED])
        more = f" and {len(unusable) - _MAX_LISTED:,} more" if len(unusable) > _MAX_LISTED else ""
        notes.append(f"{len(unusable):,} files have a key that no other modality has: {shown}{more}")
    if not aligned:
        raise NotAligned(f"no key in {name} has two modalities: {notes[-1]}")
    chosen = sample_evenly(aligned, limit)
    queries: tuple[QuerySet, ...] = ()
    if not by_folder and (names := sorted(frozenset[str]().union(*(entry.labels for entry in chosen)))):
        # The name of each label is a query, whose answers are all entries that have it.
        texts, labels = [Sample({CAPTION: name}) for name in names], tuple(frozenset({name}) for name in names)
        queries = (QuerySet("label", CAPTION, texts, (None,) * len(names), labels),)
    return AlignedSet(
        folder.name or str(folder),
        tuple(entry.key for entry in chosen),
        LazySamples(chosen, lambda entry: _decode_entry(root, entry, limits)),
        tuple(entry.labels for entry in chosen) if any(entry.labels for entry in chosen) else (),
        queries,
        tuple(notes),
    )


def _decode_entry(root: Path, entry: _Entry, limits: Limits) -> Sample:
    """Decode the files of an entry. Raises `BadInput`."""
    files = []
    for modality, path in entry.files.items():
        check_inside(root, path)
        data = read_file(root / path, limits, to_uri(path))
        files.append(RawFile(modality, data, to_uri(path), entry.classes.get(modality, {})))
    return Sample(decode_all(files, entry.caption, limits))


def _modality_folders(root: Path) -> dict[str, Path]:
    """The folders in `root` named like a modality, unless a manifest describes the pictures."""
    folders: dict[str, Path] = {}
    if (root / MANIFEST).is_file():
        return folders
    for path in sorted(root.iterdir()):
        try:
            modality = resolve(path.name)
        except KeyError:
            continue
        if path.is_dir() and not path.is_symlink():
            if modality.name in folders:
                raise NotAligned(f"the folders {folders[modality.name].name} and {path.name} are the same modality")
            folders[modality.name] = path
    return folders


def _entries_in_folders(root: Path, folders: Mapping[str, Path], limits: Limits, notes: list[str]) -> list[_Entry]:
    files: dict[str, dict[str, str]] = defaultdict(dict)
    for modality, folder in folders.items():
        for path in _files_of(root, folder, resolve(modality), notes):
            key = to_key(posixpath.splitext(path)[0].partition("/")[2])
            if modality in files[key]:
                notes.append(f"{to_uri(path)} is left out: {to_uri(files[key][modality])} has the same key")
            else:
                files[key][modality] = path
    labels = {key: _parse_labels(value) for key, value in _read_json(root / _LABELS, limits).items()}
    classes = {
        name: parse_classes(_read_json(path / _CLASSES, limits), f"{name}/{_CLASSES}") for name, path in folders.items()
    }
    return [_Entry(key, files[key], None, labels.get(key, frozenset()), classes) for key in sorted(files)]


def _files_of(root: Path, folder: Path, modality: Modality, notes: list[str]) -> Iterator[str]:
    """Paths below `root` of a modality's files, sorted; other files are counted. Symlinked folders are skipped."""
    ignored = 0
    for base, _, names in sorted(os.walk(folder, followlinks=False)):
        for name in sorted(names):
            path = Path(base, name)
            if path.suffix.lower() in (modality.suffixes or _TEXT_FILES) and path != folder / _CLASSES:
                yield path.relative_to(root).as_posix()
            elif path != folder / _CLASSES:
                ignored += 1
    if ignored:
        suffixes = ", ".join(modality.suffixes or _TEXT_FILES)
        notes.append(f"{ignored:,} files in {folder.name}/ are ignored: {modality.name} is kept as {suffixes}")


def _read_json(path: Path, limits: Limits) -> dict[str, Any]:
    """The object in an optional JSON file. Raises `BadDescription`."""
    if not path.is_file():
        return {}
    return json_object(read_file(path, limits, path.name), path.name)


def _parse_labels(value: Any) -> frozenset[str]:
    """The labels from a text or a list of texts. Raises `BadDescription`."""
    labels = value if isinstance(value, list) else [value]
    if not all(isinstance(label, str) for label in labels):
        raise BadDescription(f"the label {json.dumps(value)[:40]} must be a text or a list of texts")
    return frozenset(label for label in labels if label)


def _entries_with_descriptions(root: Path, source: FolderSource, settings: Settings, notes: list[str]) -> list[_Entry]:
    """Pictures with their sidecars or manifest lines; invalid ones are added to `notes`."""
    entries = []
    for found in source.scan():
        try:
            if found.reason is not None:
                raise BadDescription(found.reason)
            entries.append(_read_entry(root, source, settings, from_uri(found.uri), found.key))
        except BadInput as error:
            notes.append(f"{found.uri} is left out: {error}")
    return entries


def _read_entry(root: Path, source: FolderSource, settings: Settings, path: str, key: str) -> _Entry:
    """A picture with its description, completed from its metadata. Raises `BadInput`."""
    description = source.describe(to_uri(path))
    files = {PICTURE: path} | {modality: file.path for modality, file in description.modalities.items()}
    classes = {modality: file.classes for modality, file in description.modalities.items()}
    check_inside(root, path)
    picture = RawFile(PICTURE, read_file(root / path, settings.limits, to_uri(path)), to_uri(path))
    metadata = read_metadata([picture], settings)
    attributes = merge_attributes(description.attributes, metadata.attributes)
    caption = description.caption if description.caption or CAPTION in description.modalities else metadata.caption
    labels = _parse_labels([] if attributes.get("label") is None else attributes["label"])
    labels = labels.union(*(_strings(attributes.get(name)) for name in _LABEL_ATTRIBUTES))
    return _Entry(key, files, caption, labels, classes)


def _strings(value: Any) -> frozenset[str]:
    """The texts in a value; empty for other types, since attributes are free-form."""
    values = value if isinstance(value, list) else [value]
    return frozenset(text.strip() for text in values if isinstance(text, str) and text.strip())
