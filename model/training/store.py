"""The prepared features in memory, and who belongs to whom among them."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.training.concepts import Split
from model.training.rows import PICTURE, Row

HalfArray = npt.NDArray[np.float16]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """The prepared texts: token states, their offsets, sentence vectors and the texts of each subject."""

    states: HalfArray
    offsets: IntArray
    pooled: FloatArray
    classes: FloatArray
    of_subject: dict[str, list[int]]


@dataclass(frozen=True)
class Store:
    """Features of the rows that were prepared.

    `maps` float16 (n, 49, 256), `pooled` unit float32 (n, 1280), `logits` float16 (n, 1000), `palettes` uint8
    (n, 7, 7, 3). `encoded_palettes`: row of a plain picture -> number of colours and unit vector (1280,).
    """

    rows: list[Row]
    maps: HalfArray
    pooled: FloatArray
    logits: HalfArray
    palettes: npt.NDArray[np.uint8]
    encoded_palettes: Mapping[int, tuple[int, FloatArray]] = field(default_factory=dict)

    def where(self, split: Split, domain: str | None = None, recipe: str | None = None) -> IntArray:
        """Numbers of the rows of a split, optionally of one domain and one recipe."""
        return np.asarray(
            [
                n
                for n, row in enumerate(self.rows)
                if row.split is split and domain in (None, row.domain) and recipe in (None, row.recipe)
            ],
            np.int64,
        )

    def pictures_by(self, attribute: str) -> dict[str, list[int]]:
        """Numbers of the plain pictures by `subject` or `group`."""
        found: dict[str, list[int]] = defaultdict(list)
        for n, row in enumerate(self.rows):
            if row.domain == PICTURE and row.recipe == "plain":
                found[getattr(row, attribute)].append(n)
        return dict(found)


def load_store(cache: Path, without: Collection[str] = ()) -> Store:
    """Everything that `prepare` has written so far; no training row of the sources `without` counts as one.

    Raises `FileNotFoundError` if it wrote nothing.
    """
    written = [Row(**{**row, "split": Split(row["split"])}) for row in json.loads((cache / "rows.json").read_text())]
    planned = [_left_out(row) if row.source in without else row for row in written]
    files = sorted((cache / "features").glob("*.npz"))
    if not files:
        raise FileNotFoundError(f"{cache / 'features'} is empty; run `python -m model.training.prepare` first")
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    rows: list[Row] = []
    for file in files:
        with np.load(file, allow_pickle=False) as chunk:
            for name in chunk.files:
                parts[name].append(chunk[name])
        start = int(file.stem) * len(parts["pooled"][0])
        rows += planned[start : start + len(parts["pooled"][-1])]
    pooled = unit(np.concatenate(parts["pooled"]).astype(np.float32))
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items() if name != "pooled"}
    return Store(rows, joined["maps"], pooled, joined["logits"], joined["palettes"], _read_palettes(cache))


def _left_out(row: Row) -> Row:
    """A row that neither training nor its targets see; development rows stay, as questions about a strange vendor."""
    return replace(row, split=Split.TEST, recipe="left out") if row.split is Split.TRAIN else row


def _read_palettes(cache: Path) -> dict[int, tuple[int, FloatArray]]:
    """What `prepare_palettes` wrote; nothing before it ran."""
    if not (cache / "palettes.npz").exists():
        return {}
    with np.load(cache / "palettes.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    vectors = unit(arrays["pooled"].astype(np.float32))
    return {int(n): (int(c), v) for n, c, v in zip(arrays["rows"], arrays["counts"], vectors, strict=True)}


def load_texts(cache: Path) -> Texts:
    """What `prepare_texts` wrote."""
    with np.load(cache / "texts.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    table = json.loads((cache / "texts.json").read_text())
    return Texts(arrays["states"], arrays["offsets"], arrays["pooled"], arrays["classes"], table)


def unit(rows: FloatArray) -> FloatArray:
    """Rows at length 1."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: FloatArray = (rows / np.maximum(lengths, 1e-9)).astype(np.float32)
    return scaled


def semantic_targets(texts: Texts, subjects: Iterable[str]) -> dict[str, FloatArray]:
    """The sentence vector of each subject that has texts."""
    found = {subject: semantic_target(texts, subject) for subject in dict.fromkeys(subjects)}
    return {subject: vector for subject, vector in found.items() if vector is not None}


def semantic_target(texts: Texts, subject: str) -> FloatArray | None:
    """The sentence vector that stands for a subject: the normalised mean of its texts'; None without texts."""
    numbers = texts.of_subject.get(subject, [])
    return unit(texts.pooled[numbers].mean(axis=0, keepdims=True))[0] if numbers else None
