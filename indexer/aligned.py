"""A folder of aligned modalities, to evaluate a model on: the user's own pictures, maps and words.

It is laid out in one of two ways:

    DIR/rgb/KEY.png  DIR/depth/KEY.png  DIR/caption/KEY.txt …   a folder per modality, a file per thing
        DIR/semseg/classes.json   {"0": "sky"}, names of the ids of all region maps (optional)
        DIR/labels.json           {"KEY": "chair", "KEY": ["chair", "wood"]} (optional)
    pictures with words in their files, sidecars or `manifest.jsonl`, as `anyseek index` reads them
        labels are the attributes `label`, `album` and `keywords`; the name of each is also a query

A thing needs at least two modalities, or a label; other things are left out and reported.
"""

import json
import os
import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyseek.indexer.attributes import joined, read_metadata
from anyseek.indexer.errors import BadDescription
from anyseek.indexer.paths import check_inside, from_uri, to_key, to_uri
from anyseek.indexer.samples import CAPTION, PICTURE, RawFile, decode_all
from anyseek.indexer.sources.base import json_object
from anyseek.indexer.sources.folder import MANIFEST, FolderSource
from anyseek.model.data.aligned import AlignedSet, LazySamples, QuerySet, evenly
from anyseek.model.modalities.reading.documents import parse_classes
from anyseek.model.modalities.reading.encoded import read_file
from anyseek.model.modalities.registry import Modality, resolve
from anyseek.model.seam import Sample
from anyseek.search.errors import BadInput, NotAligned
from anyseek.search.settings import Limits, Settings

_TEXT_FILES = (".txt", ".json")  # of modalities without other file endings
_CLASSES, _LABELS = "classes.json", "labels.json"
_SORTED_BY = ("album", "keywords")  # attributes by which people sort photos, besides `label`
_SHOWN = 10
_Classes = Mapping[str, Mapping[int, str]]  # names of ids by modality


@dataclass(frozen=True)
class _Thing:
    """A thing: its key, its files by modality (paths below the folder), and other facts about it."""

    key: str
    files: Mapping[str, str]
    caption: str | None = None
    labels: frozenset[str] = frozenset()
    classes: _Classes = field(default_factory=dict)

    @property
    def can_be_asked(self) -> bool:
        return len(self.files) + (self.caption is not None) > 1 or bool(self.labels)


def read_aligned(folder: Path, settings: Settings, most: int | None) -> AlignedSet:
    """Return the things in `folder` (at most `most`, evenly chosen); their files are read and decoded on use.

    Raises `SourceGone`, and `NotAligned` for a folder without files or in which no key has two modalities.
    """
    root, limits = folder.resolve(), settings.limits
    source = FolderSource(root, limits)
    by_folder = _modality_folders(root)
    notes: list[str] = []
    things = (
        _from_folders(root, by_folder, limits, notes)
        if by_folder
        else _from_descriptions(root, source, settings, notes)
    )
    name = to_uri(str(folder))
    if not things:
        raise NotAligned(
            f"{name} has no files of any modality; it needs a folder for each modality, such as rgb/KEY.png"
        )
    if len(by_folder) == 1 and not any(thing.labels for thing in things):
        raise NotAligned(f"{name} has only one modality, {next(iter(by_folder))}; it needs at least two")
    aligned = [thing for thing in things if thing.can_be_asked]
    if alone := [thing for thing in things if not thing.can_be_asked]:
        shown = ", ".join(to_uri(next(iter(thing.files.values()))) for thing in alone[:_SHOWN])
        more = f" and {len(alone) - _SHOWN:,} more" if len(alone) > _SHOWN else ""
        notes.append(f"{len(alone):,} files have a key that no other modality has: {shown}{more}")
    if not aligned:
        raise NotAligned(f"no key in {name} has two modalities: {notes[-1]}")
    chosen = evenly(aligned, most)
    queries: tuple[QuerySet, ...] = ()
    if not by_folder and (names := sorted(frozenset[str]().union(*(thing.labels for thing in chosen)))):
        # The name of each label is a query, which should find every thing that has it.
        texts, labels = [Sample({CAPTION: name}) for name in names], tuple(frozenset({name}) for name in names)
        queries = (QuerySet("label", CAPTION, texts, (None,) * len(names), labels),)
    return AlignedSet(
        folder.name or str(folder),
        tuple(thing.key for thing in chosen),
        LazySamples(chosen, lambda thing: _sample(root, thing, limits)),
        tuple(thing.labels for thing in chosen) if any(thing.labels for thing in chosen) else (),
        queries,
        tuple(notes),
    )


def _sample(root: Path, thing: _Thing, limits: Limits) -> Sample:
    """The decoded thing. Raises `BadInput`."""
    files = []
    for modality, path in thing.files.items():
        check_inside(root, path)
        data = read_file(root / path, limits, to_uri(path))
        files.append(RawFile(modality, data, to_uri(path), thing.classes.get(modality, {})))
    return Sample(decode_all(files, thing.caption, limits))


def _modality_folders(root: Path) -> dict[str, Path]:
    """The folders in `root` named like a modality, unless a manifest describes the pictures."""
    found: dict[str, Path] = {}
    if (root / MANIFEST).is_file():
        return found
    for path in sorted(root.iterdir()):
        try:
            modality = resolve(path.name)
        except KeyError:
            continue
        if path.is_dir() and not path.is_symlink():
            if modality.name in found:
                raise NotAligned(f"the folders {found[modality.name].name} and {path.name} are the same modality")
            found[modality.name] = path
    return found


def _from_folders(root: Path, folders: Mapping[str, Path], limits: Limits, notes: list[str]) -> list[_Thing]:
    files: dict[str, dict[str, str]] = defaultdict(dict)
    for modality, folder in folders.items():
        for path in _files_of(root, folder, resolve(modality), notes):
            key = to_key(posixpath.splitext(path)[0].partition("/")[2])
            if modality in files[key]:
                notes.append(f"{to_uri(path)} is left out: {to_uri(files[key][modality])} has the same key")
            else:
                files[key][modality] = path
    labels = {key: _labels(value) for key, value in _json(root / _LABELS, limits).items()}
    classes = {
        name: parse_classes(_json(folder / _CLASSES, limits), f"{name}/{_CLASSES}") for name, folder in folders.items()
    }
    return [_Thing(key, files[key], None, labels.get(key, frozenset()), classes) for key in sorted(files)]


def _files_of(root: Path, folder: Path, modality: Modality, notes: list[str]) -> Iterator[str]:
    """Paths below `root` of the files of a modality, by name; others are counted. Links to folders are not followed."""
    ignored = 0
    for base, _, names in sorted(os.walk(folder, followlinks=False)):
        for name in sorted(names):
            path = Path(base, name)
            if path.suffix.lower() in (modality.suffixes or _TEXT_FILES) and path != folder / _CLASSES:
                yield path.relative_to(root).as_posix()
            elif path != folder / _CLASSES:
                ignored += 1
    if ignored:
        wanted = ", ".join(modality.suffixes or _TEXT_FILES)
        notes.append(f"{ignored:,} files in {folder.name}/ are ignored: {modality.name} is kept as {wanted}")


def _json(path: Path, limits: Limits) -> dict[str, Any]:
    """The object in an optional JSON file. Raises `BadDescription`."""
    if not path.is_file():
        return {}
    return json_object(read_file(path, limits, path.name), path.name)


def _labels(value: Any) -> frozenset[str]:
    """A label, or several. Raises `BadDescription`."""
    labels = value if isinstance(value, list) else [value]
    if not all(isinstance(label, str) for label in labels):
        raise BadDescription(f"the label {json.dumps(value)[:40]} is neither a text nor a list of texts")
    return frozenset(label for label in labels if label)


def _from_descriptions(root: Path, source: FolderSource, settings: Settings, notes: list[str]) -> list[_Thing]:
    """Pictures with their sidecars or lines of the manifest; unusable ones are noted."""
    things = []
    for found in source.scan():
        try:
            if found.reason is not None:
                raise BadDescription(found.reason)
            things.append(_described(root, source, settings, from_uri(found.uri), found.key))
        except BadInput as error:
            notes.append(f"{found.uri} is left out: {error}")
    return things


def _described(root: Path, source: FolderSource, settings: Settings, path: str, key: str) -> _Thing:
    """A picture with what is said beside it and, where nothing is, in its file. Raises `BadInput`."""
    description = source.describe(to_uri(path))
    files = {PICTURE: path} | {modality: file.path for modality, file in description.modalities.items()}
    classes = {modality: file.classes for modality, file in description.modalities.items()}
    check_inside(root, path)
    picture = RawFile(PICTURE, read_file(root / path, settings.limits, to_uri(path)), to_uri(path))
    written = read_metadata([picture], settings)
    attributes = joined(description.attributes, written.attributes)
    caption = description.caption if description.caption or CAPTION in description.modalities else written.caption
    label = attributes.get("label")
    labels = _labels([] if label is None else label)
    return _Thing(key, files, caption, labels.union(*(_texts(attributes.get(name)) for name in _SORTED_BY)), classes)


def _texts(value: Any) -> frozenset[str]:
    """A text or those in a list, none of anything else: people write what they like into attributes."""
    values = value if isinstance(value, list) else [value]
    return frozenset(text.strip() for text in values if isinstance(text, str) and text.strip())
