"""Measure a bundle's spaces on validation samples: the means of query vectors, and the default spaces.

A data set's samples have all of their metadata. A user gives a few fields, or all that are known of a picture, and in
both cases the network is told that there may be more. So the means are measured on queries with a part missing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from anyseek.model.checkpoints.files import load_fourm, load_vqvae
from anyseek.model.fourm.bundled.bundle import CONSTANTS, MANIFEST, NETWORK, PRIOR, SHORTCUTS, check_bundle
from anyseek.model.fourm.bundled.layout import INPUTS, PICTURE, SEMANTIC, VISUAL
from anyseek.model.fourm.bundled.shortcuts import load_shortcuts
from anyseek.model.fourm.codecs import TextCodec
from anyseek.model.modalities.formats.metadata import Metadata, metadata_from_text
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import FourM
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.batches import BatchMaker, BatchSource, padded
from anyseek.model.training.pretraining.config import ContrastConfig, TrainingConfig
from anyseek.model.training.pretraining.objective import Contrast, Objective
from anyseek.model.training.pretraining.shortcuts import Bank, IntArray, read_bank
from anyseek.model.training.pretraining.start import target_fields
from anyseek.model.training.run.config import Precision
from anyseek.model.training.run.errors import TrainingDataInvalid

GALLERY = {VISUAL: "exact", SEMANTIC: "predicted"}  # how the vectors of a gallery's pictures are made
FEW = 3  # the most fields of a short query by metadata
_AT_ONCE = 32
_FIELD_DRAWS = 5  # tells the draws of fields from the other draws of the seed

AsQueried = Callable[[ModalityInput], ModalityInput]  # what a sample has of an input -> what a user gives


@dataclass(frozen=True)
class Measurements:
    """`constants`: `<space>/gallery_prior` and `<space>/<modality>`, means of raw vectors, float32 (d,) and (k, d)."""

    constants: dict[str, Tensor]
    default_spaces: Mapping[str, str]

    @classmethod
    def of_bundle(cls, folder: Path) -> "Measurements":
        """The measurements of the bundled weights in a folder. Raises as `check_bundle`."""
        check_bundle(folder.name, folder)
        spaces = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["default_spaces"]
        return cls(load_file(folder / CONSTANTS), spaces)


@dataclass(frozen=True)
class Rows:
    """Unit vectors (n, d) of some samples of a folder by space, `raw` and `exact`; `numbers` are their bank rows."""

    numbers: Sequence[int]
    raw: Mapping[str, Tensor]
    exact: Mapping[str, Tensor]

    def gallery(self, space: str) -> Tensor:
        """The vectors by which samples are found in a space."""
        return self.exact[space] if GALLERY[space] == "exact" else self.raw[space]


def measure(
    config: TrainingConfig,
    contrast: ContrastConfig,
    bundle: Path,
    source: BatchSource,
    samples: int,
    say: Callable[[str], None],
    known: Measurements | None = None,
) -> Measurements:
    """What the weights in the folder `bundle` do with up to `samples` samples of each data set of `source`.

    Inputs that none of them has keep what is `known` of the network that the run began with. Raises
    `TrainingDataInvalid` for one of which nothing is known.
    """
    tokenizers = {key: load_vqvae(bundle / f"{key}.safetensors") for key in contrast.targets}
    shortcuts = load_shortcuts(bundle / SHORTCUTS).renamed({modality: row.key for modality, row in INPUTS.items()})
    vectors = Contrast(contrast, shortcuts, tokenizers, {}, config.seed)
    objective = Objective(config.loss, Precision.FLOAT32, {}, tokenizers, torch.device("cpu"), vectors)
    network = load_fourm(bundle / NETWORK)
    bank = read_bank(source.folders, target_fields(config, contrast), say)
    text, draws = source.plan.text, np.random.default_rng([config.seed, _FIELD_DRAWS])
    with ExitStack() as stack:
        makers = [
            stack.enter_context(closing(BatchMaker(replace(source, folders=(folder,))))) for folder in source.folders
        ]

        def rows_of(key: str, as_queried: AsQueried | None = None) -> list[Rows]:
            say(f"measuring queries by {key}")
            return [
                _rows(network, objective, maker, range(min(samples, folder.samples)), key, as_queried)
                for maker, folder in zip(makers, source.folders, strict=True)
            ]

        queries: dict[str, list[Rows]] = {}
        galleries = rows_of(PICTURE)
        for modality, key in ((name, row.key) for name, row in INPUTS.items() if row.key in network.config.domains_in):
            if modality == "metadata" and text is not None:
                longest = source.plan.network.row(key).max_length
                ways = [MetadataQueries(text, longest, most, draws) for most in (FEW, None)]
                queries[modality] = [rows for way in ways for rows in rows_of(key, way)]
            else:
                queries[modality] = galleries if key == PICTURE else rows_of(key)
    if known is None:
        return Measurements(constants(galleries, queries), default_spaces(galleries, queries, bank, say))
    unseen = {name for name, rows in queries.items() if not any(measured.numbers for measured in rows)}
    queries = {name: rows for name, rows in queries.items() if name not in unseen & known.default_spaces.keys()}
    spaces = {**known.default_spaces, **default_spaces(galleries, queries, bank, say)}
    return Measurements({**known.constants, **constants(galleries, queries)}, spaces)


@torch.inference_mode()
def _rows(
    network: FourM, objective: Objective, maker: BatchMaker, numbers: range, key: str, as_queried: AsQueried | None
) -> Rows:
    """Raw vectors of the samples that show the input `key` alone, as users give it, and their exact vectors."""
    found: list[int] = []
    targets = tuple(objective.tokenizers)
    raw: dict[str, list[Tensor]] = {target: [] for target in targets}
    exact: dict[str, list[Tensor]] = {target: [] for target in targets}
    for first in range(0, len(numbers), _AT_ONCE):
        batch, own = maker.whole_batch(numbers[first : first + _AT_ONCE], [key], targets)
        if own:
            found += batch.rows.tolist()
            shown = batch.inputs[key] if as_queried is None else as_queried(batch.inputs[key])
            prepared = objective.prepare(replace(batch, inputs={key: shown}))
            for target, vectors in objective.predict_vectors(network, prepared, targets).items():
                raw[target].append(F.normalize(vectors, dim=1))
                exact[target].append(F.normalize(objective.to_device(batch.vectors[target]), dim=1))
    parts = ({key: torch.cat(rows or [torch.zeros(0, 0)]) for key, rows in side.items()} for side in (raw, exact))
    return Rows(found, *parts)


def constants(galleries: Sequence[Rows], queries: Mapping[str, Sequence[Rows]]) -> dict[str, Tensor]:
    """The mean of each space's gallery (d,), and those of the query vectors of each modality (k, d).

    They have a row a folder, and where there are several kinds of queries a row for each kind of each folder. Raises
    `TrainingDataInvalid`.
    """
    means = {}
    for space in GALLERY:
        means[f"{space}/{PRIOR}"] = torch.cat([rows.gallery(space) for rows in galleries if rows.numbers]).mean(dim=0)
        for modality, folders in queries.items():
            found = [rows.raw[space].mean(dim=0) for rows in folders if rows.numbers]
            if not found:
                raise TrainingDataInvalid(f"no validation sample shows {modality}; its mean cannot be measured")
            means[f"{space}/{modality}"] = torch.stack(found)
    return means


def default_spaces(
    galleries: Sequence[Rows], queries: Mapping[str, Sequence[Rows]], bank: Bank, say: Callable[[str], None]
) -> dict[str, str]:
    """The space in which queries of each modality do best, by mean reciprocal rank in each folder.

    Queries should find the picture of their own sample. A picture finds itself in any space, so it should instead find
    other vendors' drawings of its concept; where there are none, pictures are queried in the space of exact vectors.
    """
    means = constants(galleries, queries)
    chosen = {}
    for modality, folders in queries.items():
        wanted = bank.same_concept_rows if folders is galleries else lambda row: np.array([row])
        scores = {}
        for space in GALLERY:
            shown = list(galleries) * (len(folders) // len(galleries))
            pairs = [pair for pair in zip(shown, folders, strict=True) if pair[1].numbers]
            centred = zip(pairs, means[f"{space}/{modality}"], strict=True)
            ranks = [rank for pair, mean in centred for rank in reciprocal_ranks(*pair, space, mean, wanted)]
            scores[space] = sum(ranks) / len(ranks) if ranks else float(GALLERY[space] == "exact")
        say(f"{modality}: " + ", ".join(f"{space} {score:.3f}" for space, score in scores.items()))
        chosen[modality] = max(scores, key=lambda space: scores[space])
    return chosen


def reciprocal_ranks(
    gallery: Rows, queries: Rows, space: str, mean: Tensor, wanted: Callable[[int], IntArray]
) -> list[float]:
    """1 / rank of the first wanted picture, for each query that has one in the gallery; centred as the service does.

    `wanted` gives the bank rows that a sample should find; the sample itself does not count where it is not among them.
    """
    places = {number: place for place, number in enumerate(gallery.numbers)}
    shown = gallery.gallery(space)
    shown = F.normalize(shown - shown.mean(dim=0), dim=1)
    scores = F.normalize(queries.raw[space] - mean, dim=1) @ shown.T
    found = []
    for number, own in zip(queries.numbers, scores, strict=True):
        right = [places[row] for row in wanted(number).tolist() if row in places]
        if right:
            counts = torch.ones(len(own), dtype=torch.bool)
            counts[[*right, places.get(number, right[0])]] = False
            found.append(1.0 / (1 + int((own >= own[right].max())[counts].sum())))
    return found


@dataclass(frozen=True)
class MetadataQueries:
    """Makes queries of samples' metadata in a bundle's vocabulary, each at most `longest` ids.

    `most`: between one and so many fields of each sample, drawn anew every time; None for all of them.
    """

    text: TextTokenizer
    longest: int
    most: int | None
    generator: np.random.Generator

    def __call__(self, whole: ModalityInput) -> ModalityInput:
        """Ids of whole metadata (B, n) -> those of queries (B, m)."""
        rows = [self._query(ids[~mask].tolist()) for ids, mask in zip(whole.values, whole.mask, strict=True)]
        return ModalityInput(*padded(rows, (), 1))

    def _query(self, ids: list[int]) -> IntArray:
        known = metadata_from_text(self.text.decode(ids))
        names = [str(name) for name in self.generator.permutation(list(known.values))]
        count = len(names) if self.most is None else int(self.generator.integers(1, self.most + 1))
        shown = Metadata({name: known.values[name] for name in names[:count]})
        return np.array(TextCodec("metadata", INPUTS["metadata"].ending).ids(self.text, shown, self.longest), np.int64)
