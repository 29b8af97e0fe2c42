"""Training batches: a function of seed and step alone, so that a run goes on exactly where it was killed."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from model.formats.color_palette import LONGEST, palette_ids
from model.tiny import LONGEST_CAPTION
from model.training.concepts import Split
from model.training.masking import BUDGETS, MAP_TOKENS, Chosen, choose_inputs, map_mask
from model.training.rows import PICTURE
from model.training.store import FloatArray, Store, Texts, semantic_target

_SOURCE_SHARES = {"emoji": 0.66, "photo": 0.22, "clipart": 0.12}
_OTHER_VENDOR = 0.4  # how often the target is another vendor's picture of the concept


@dataclass(frozen=True)
class Batch:
    """B samples; masks bool, True is not used; absent inputs are masked altogether.

    `picture`, `drawing` float32 (B, 256, 7, 7); `caption` float32 (B, n, 384); `palette` int64 (B, 22). Own vectors,
    zero where absent: `own_visual` float32 (B, 2, 1280) of picture and drawing, `own_semantic` float32 (B, 384),
    `own_palette` float32 (B, 1280) of the palette as stripes. `target` int64 (B,) rows of the target pictures;
    `semantic` int64 (B,) numbers of the semantic targets, -1 for none; `group` int64 (B,).
    """

    picture: Tensor
    picture_mask: Tensor
    drawing: Tensor
    drawing_mask: Tensor
    caption: Tensor
    caption_mask: Tensor
    palette: Tensor
    palette_mask: Tensor
    own_visual: Tensor
    own_semantic: Tensor
    own_palette: Tensor
    target: Tensor
    semantic: Tensor
    group: Tensor

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """A batch of the arrays of `empty_arrays`, maps (B, 49, 256) turned into (B, 256, 7, 7)."""
        turned = dict(arrays)
        for name in ("picture", "drawing"):
            turned[name] = np.ascontiguousarray(arrays[name].transpose(0, 2, 1)).reshape(len(arrays[name]), -1, 7, 7)
        return cls(**{name: torch.from_numpy(array) for name, array in turned.items()})


class Sampler:
    """Draws batches of training subjects from a store."""

    def __init__(self, store: Store, texts: Texts, seed: int) -> None:
        self.store, self.texts, self.seed = store, texts, seed
        train = store.where(Split.TRAIN)
        self._rows: dict[str, dict[str, list[int]]] = {}
        for n in train:
            row = store.rows[n]
            self._rows.setdefault(row.subject, {}).setdefault(row.domain, []).append(int(n))
        pictures = store.pictures_by("subject")
        self._plain = {subject: numbers[0] for subject, numbers in pictures.items()}
        self._in_group = store.pictures_by("group")
        self._subjects = self._by_source()
        self.groups = {g: n for n, g in enumerate(dict.fromkeys(row.group for row in store.rows))}
        self.semantic_vectors, self._semantic_number, self.semantic_group = self._semantic_targets()

    def _by_source(self) -> dict[str, list[str]]:
        """Subjects that have a plain picture in training, by kind of source."""
        found: dict[str, list[str]] = {name: [] for name in _SOURCE_SHARES}
        for subject in self._rows:
            if subject in self._plain:
                source = subject.partition(":")[0]
                found[source if source in found else "emoji"].append(subject)
        return {source: subjects for source, subjects in found.items() if subjects}

    def _semantic_targets(self) -> tuple[Tensor, dict[str, int], Tensor]:
        """Distinct sentence-space targets float32 (m, 384), the number of each subject's, the group of each."""
        vectors: list[FloatArray] = []
        numbers: dict[str, int] = {}
        groups: list[int] = []
        seen: dict[tuple[int, ...], int] = {}
        for subject, rows in self._rows.items():
            vector = semantic_target(self.texts, subject)
            if vector is None:
                continue
            key = tuple(self.texts.of_subject[subject])
            if key not in seen:
                seen[key] = len(vectors)
                vectors.append(vector)
                groups.append(self.groups[self.store.rows[next(iter(rows.values()))[0]].group])
            numbers[subject] = seen[key]
        return torch.from_numpy(np.stack(vectors)), numbers, torch.tensor(groups)

    def batch(self, step: int, size: int) -> Batch:
        """The batch of a step."""
        generator = np.random.default_rng([self.seed, step])
        budget = int(generator.choice(BUDGETS))
        arrays = empty_arrays(size)
        for place in range(size):
            self._write(arrays, place, budget, generator)
        longest = max(int((~arrays["caption_mask"]).sum(axis=1).max()), 1)
        for name in ("caption", "caption_mask"):
            arrays[name] = arrays[name][:, :longest]
        return Batch.from_arrays(arrays)

    def _write(self, arrays: dict[str, np.ndarray], place: int, budget: int, generator: np.random.Generator) -> None:
        """Draw one sample into row `place` of the arrays."""
        sources = list(self._subjects)
        shares = np.array([_SOURCE_SHARES[source] for source in sources])
        subjects = self._subjects[sources[int(generator.choice(len(sources), p=shares / shares.sum()))]]
        subject = subjects[int(generator.integers(len(subjects)))]
        rows, texts = self._rows[subject], self.texts.of_subject.get(subject, [])
        has_palette = self._plain[subject] in self.store.encoded_palettes
        available = np.array([True, "drawing" in rows, bool(texts), has_palette])
        chosen = choose_inputs(available, budget, generator)
        picture = _one_of(rows[PICTURE], generator)
        self._write_maps(
            arrays,
            place,
            chosen,
            {"picture": picture, "drawing": _one_of(rows.get("drawing", [0]), generator)},
            generator,
        )
        if chosen.caption:
            self._write_caption(arrays, place, _one_of(texts, generator))
        if chosen.palette:
            write_palette(arrays, place, self.store, self._plain[subject])
        arrays["target"][place] = self._target(subject, chosen, picture, generator)
        arrays["semantic"][place] = self._semantic_number.get(subject, -1)
        arrays["group"][place] = self.groups[self.store.rows[picture].group]

    def _write_maps(
        self,
        arrays: dict[str, np.ndarray],
        place: int,
        chosen: Chosen,
        rows: dict[str, int],
        generator: np.random.Generator,
    ) -> None:
        for slot, (name, tokens) in enumerate((("picture", chosen.picture), ("drawing", chosen.drawing))):
            if tokens:
                arrays[name][place] = self.store.maps[rows[name]]
                arrays[f"{name}_mask"][place] = map_mask(tokens, generator)
                arrays["own_visual"][place, slot] = self.store.pooled[rows[name]]

    def _write_caption(self, arrays: dict[str, np.ndarray], place: int, text: int) -> None:
        first, last = self.texts.offsets[text : text + 2]
        states = self.texts.states[first:last][:LONGEST_CAPTION]
        arrays["caption"][place, : len(states)] = states
        arrays["caption_mask"][place, : len(states)] = False
        arrays["own_semantic"][place] = self.texts.pooled[text]

    def _target(self, subject: str, chosen: Chosen, picture: int, generator: np.random.Generator) -> int:
        """The picture to be found: the subject's own, or another vendor's, always so for a plain picture alone."""
        own = self._plain[subject]
        others = [n for n in self._in_group[self.store.rows[own].group] if n != own]
        if subject.startswith("photo:") or not others:
            return own
        alone = chosen.picture > 0 and picture == own and not chosen.drawing
        return _one_of(others, generator) if alone or generator.random() < _OTHER_VENDOR else own


def _one_of(numbers: list[int], generator: np.random.Generator) -> int:
    return numbers[int(generator.integers(len(numbers)))]


def write_palette(arrays: dict[str, np.ndarray], place: int, store: Store, picture: int) -> None:
    """Put the encoded palette of a plain picture into row `place`."""
    count, pooled = store.encoded_palettes[picture]
    ids = palette_ids(store.palettes[picture][count - 1][:count])
    arrays["own_palette"][place] = pooled
    arrays["palette"][place, : len(ids)] = ids
    arrays["palette_mask"][place, : len(ids)] = False


def empty_arrays(size: int) -> dict[str, np.ndarray]:
    """The arrays of a batch without any input."""
    arrays: dict[str, np.ndarray] = {}
    for name in ("picture", "drawing"):
        arrays[name] = np.zeros((size, MAP_TOKENS, 256), np.float32)
        arrays[f"{name}_mask"] = np.ones((size, MAP_TOKENS), np.bool_)
    arrays["caption"] = np.zeros((size, LONGEST_CAPTION, 384), np.float32)
    arrays["caption_mask"] = np.ones((size, LONGEST_CAPTION), np.bool_)
    arrays["palette"] = np.zeros((size, LONGEST), np.int64)
    arrays["palette_mask"] = np.ones((size, LONGEST), np.bool_)
    arrays["own_visual"] = np.zeros((size, 2, 1280), np.float32)
    arrays["own_semantic"] = np.zeros((size, 384), np.float32)
    arrays["own_palette"] = np.zeros((size, 1280), np.float32)
    for name in ("target", "semantic", "group"):
        arrays[name] = np.zeros(size, np.int64)
    return arrays
