"""The recall matrix: every kind of query against every kind of item, in every space, beside both baselines."""

from collections.abc import Mapping
from dataclasses import dataclass

from model.embedder import Embedder, UnsupportedModality
from search.errors import NotAligned
from search.evaluation.aligned import AlignedSet
from search.evaluation.asked import lines_of
from search.evaluation.baselines import Baselines
from search.evaluation.ceilings import Ceiling, ceilings
from search.evaluation.cells import Cell, Row
from search.evaluation.comparisons import Comparison
from search.evaluation.galleries import galleries_for
from search.evaluation.instruments import Instruments, Progress
from search.evaluation.reading import ReadSet, encode_set, read_set


@dataclass(frozen=True)
class Matrix:
    """All rows of one set of `things` things.

    `left_out` says by modality why it has no row or fewer things, `unreadable` which things were left out and why,
    `notes` what else was, `ridge_fit` what the ridge was fitted on (None: there are no baselines). `comparisons` and
    `ceilings` are those that were asked for.
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

    Raises `NotAligned` if there is nothing to compare, `UnsupportedModality` if the model takes nothing of the set.
    """
    read = read_set(instruments, aligned, progress)
    _check(read, instruments.embedder)
    known = encode_set(instruments, training, progress) if training else None
    baselines = Baselines(read.encoded, known)
    rows: list[Row] = []
    comparisons: list[Comparison] = []
    for line in lines_of(aligned, {**read.vectors.single, **read.queries}):
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
        ceilings=tuple(ceilings(instruments, read.encoded)),
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
            f"{name} has {has}, and the model {embedder.name} takes none of them; it takes {takes}"
        )
    if not found:
        raise NotAligned(f"nothing of {name} could be read: {'; '.join(read.unreadable[:3]) or 'it is empty'}")
    if len(found) == 1 and not read.queries and not read.aligned.labels:
        raise NotAligned(
            f"{name} has {found[0]} alone of what the model {embedder.name} takes ({takes}); a recall matrix compares "
            "at least two modalities"
        )
