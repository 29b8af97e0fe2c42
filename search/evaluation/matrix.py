"""The recall matrix: every kind of query against every kind of item, in every space, compared with both baselines.

This module also makes the matrix's `summary` and measures the ceilings of spaces. A ceiling is the best result that a
space's codes allow: how often exact vectors, encoded as codes and decoded, find themselves among the exact vectors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from anyseek.model.errors import UnsupportedModality
from anyseek.model.seam import CodeEmbedder, Embedder, FloatArray
from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.aligned import AlignedSet
from anyseek.search.evaluation.baselines import Baselines
from anyseek.search.evaluation.cells import Cell, Row, galleries_for
from anyseek.search.evaluation.encoder_vectors import EXTRACTORS, TEXT
from anyseek.search.evaluation.instruments import Compare, Comparison, Instruments, Progress
from anyseek.search.evaluation.measures import Answers, Estimate, Scores, score
from anyseek.search.evaluation.query_kinds import query_kinds
from anyseek.search.evaluation.reading import EncodedSet, ReadSet, encode_set, read_set
from anyseek.search.spaces.base import centre

AVERAGE_PRECISION = "mAP"
_DECIMALS = 4  # vectors equal to so many decimals are of the same thing, such as a repeated caption


@dataclass(frozen=True)
class Ceiling:
    """How well `vectors` different exact vectors of `modality` find themselves once encoded as codes and decoded.

    `cosine` is the mean cosine to the original vectors. Both sides are centred on their own means.
    """

    modality: str
    space: str
    vectors: int
    at_1: Estimate
    at_10: Estimate
    cosine: float


@dataclass(frozen=True)
class Matrix:
    """All rows of one set of `things` things.

    `left_out` says by modality why it has no row or fewer things, `unreadable` says which things were left out and
    why, `notes` say what else was left out, and `ridge_fit` says what the ridge was fitted on (None: there are no
    baselines). `comparisons` and `ceilings` hold the requested ones.
    """

    name: str
    things: int
    rows: tuple[Row, ...]
    left_out: Mapping[str, str]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]
    ridge_fit: str | None
    comparisons: tuple[Comparison, ...]
    ceilings: tuple[Ceiling, ...]


def recall_matrix(
    instruments: Instruments, aligned: AlignedSet, training: AlignedSet | None, progress: Progress
) -> Matrix:
    """Measure a set; `training` has the pairs that the ridge is fitted on (without it: folds of the set itself).

    Raises `NotAligned` if there is nothing to compare, `UnsupportedModality` if the model supports none of the set's
    modalities.
    """
    read = read_set(instruments, aligned, progress)
    _check(read, instruments.embedder)
    known = encode_set(instruments, training, progress) if training else None
    baselines = Baselines(read.encoded, known)
    rows: list[Row] = []
    comparisons: list[Comparison] = []
    for line in query_kinds(aligned, {**read.vectors.single, **read.queries}):
        progress(f"{aligned.name}: asking {line.name}")
        for gallery in galleries_for(line, read.vectors):
            cell = Cell(instruments, read, line, gallery)
            rows += cell.rows(baselines)
            comparisons += cell.comparisons()
    return Matrix(
        name=aligned.name,
        things=len(aligned.keys),
        rows=tuple(rows),
        left_out=read.left_out,
        unreadable=read.unreadable,
        notes=aligned.notes,
        ridge_fit=_fitted_on(training) if instruments.encoders else None,
        comparisons=tuple(comparisons),
        ceilings=tuple(_ceilings(instruments, read.encoded)),
    )


def _fitted_on(training: AlignedSet | None) -> str:
    if training is None:
        return "five folds of the set itself, each mapped by a fit on the other four"
    return f"{len(training.keys):,} things of {training.name}"


def _check(read: ReadSet, embedder: Embedder) -> None:
    name, found = read.aligned.name, sorted(read.vectors.single)
    takes = ", ".join(sorted(embedder.modalities))
    if not found and read.left_out:
        has = ", ".join(read.left_out)
        raise UnsupportedModality(
            f"{name} has {has}, but the model {embedder.name} takes none of them; it takes {takes}"
        )
    if not found:
        raise NotAligned(f"nothing of {name} could be read: {'; '.join(read.unreadable[:3]) or 'it is empty'}")
    if len(found) == 1 and not read.queries and not read.aligned.labels:
        raise NotAligned(
            f"{name} has {found[0]} as the only modality that the model {embedder.name} takes ({takes}); a "
            "recall matrix compares "
            "at least two modalities"
        )


def _ceilings(instruments: Instruments, encoded: EncodedSet) -> Iterator[Ceiling]:
    """Yield ceilings for each space whose extractor is among the encoders, from pictures and from words."""
    embedder = instruments.embedder
    if Compare.CEILING not in instruments.compare or not isinstance(embedder, CodeEmbedder):
        return
    for space in instruments.spaces:
        for modality in ("rgb", TEXT):
            exact = _exact(encoded, space, modality)
            if exact is not None:
                yield _ceiling(embedder, space, modality, exact)


def _exact(encoded: EncodedSet, space: str, modality: str) -> FloatArray | None:
    """Return the different vectors (n, d) of the space's own extractor; None if it is not among the encoders."""
    if space not in EXTRACTORS or modality not in encoded.rows:
        return None
    vectors = encoded.rows[modality].vectors.get(EXTRACTORS[space])
    if vectors is None:
        return None
    _, first = np.unique(vectors.round(_DECIMALS), axis=0, return_index=True)
    different: FloatArray = vectors[np.sort(first)]
    return different


def _ceiling(embedder: CodeEmbedder, space: str, modality: str, exact: FloatArray) -> Ceiling:
    told = embedder.through_codes(exact, space)
    told, exact = centre(told, told.mean(axis=0)), centre(exact, exact.mean(axis=0))
    count = len(exact)
    none = np.zeros((count, 0), np.bool_)
    found = score(told, exact, Answers(np.arange(count), none, none))
    assert found is not None, "every vector has itself to find"
    cosine = float((told * exact).sum(axis=1).mean())
    return Ceiling(modality, space, count, found.at_1, found.at_10, cosine)


@dataclass(frozen=True)
class Summary:
    """A table of one matrix: `measure` names the numbers, `cells` are the default rows by query and gallery."""

    measure: str
    queries: tuple[str, ...]
    galleries: tuple[str, ...]
    cells: dict[tuple[str, str], Row]

    def tells_little(self, row: Row) -> bool:
        """Whether the number measures finding the query's own file; average precision measures others of its kind."""
        return row.contains_gallery and self.measure != AVERAGE_PRECISION

    def value(self, scores: Scores | None) -> float | None:
        """Return the score that the table shows."""
        if scores is None:
            return None
        if self.measure == AVERAGE_PRECISION:
            return scores.mean_average_precision.value if scores.mean_average_precision else None
        return scores.at_10.value


def summary(matrix: Matrix) -> Summary:
    """Summarise a matrix by R@10, or by mAP if things have labels, with queries and galleries in the matrix's order."""
    cells = {(row.query, row.gallery): row for row in matrix.rows if row.default}
    labelled = any(row.model.mean_average_precision for row in cells.values())
    queries = tuple(dict.fromkeys(query for query, _ in cells))
    galleries = tuple(dict.fromkeys(gallery for _, gallery in cells))
    return Summary(AVERAGE_PRECISION if labelled else "R@10", queries, galleries, cells)
