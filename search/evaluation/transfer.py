"""The transfer suite: does a model find real photos better than its encoders alone, on sources it was not trained on?

Each row measures the model, the encoders alone with each side centred, and a ridge regression fitted on other pairs of
the same source (five folds), which shows what a linear map gains from seeing the source. The gain over the encoders is
computed query by query. The rule is that its lower 95% bound is not below -0.01 in any row.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from anyseek.search.evaluation.baselines import Baselines, Sides
from anyseek.search.evaluation.cells import centred_items, default_space
from anyseek.search.evaluation.instruments import Instruments, Progress
from anyseek.search.evaluation.measures import Estimate, Outcomes, Scores, gain, outcomes, scores_of
from anyseek.search.evaluation.query_kinds import QueryKind, query_kinds
from anyseek.search.evaluation.reading import ReadSet, read_set
from anyseek.search.evaluation.transfer_sets import PHOTO, TransferSet
from anyseek.search.query.vectors import centre_queries

TOLERATED = -0.01  # the lowest accepted lower bound of a gain
FEWEST = 20  # a row with fewer queries is not judged
ALL = "all"  # the row of all kinds of queries for one gallery


@dataclass(frozen=True)
class TransferRow:
    """How well one kind of query finds the photos of one source.

    With `whole`, all of the source's queries were used, else only those of its test split. `measure` is `at_10` or
    `mean_average_precision`; `gain` is the model's measure minus that of the encoders alone. Baselines are None if the
    encoders do not encode the query; `ridge` is also None if there are too few pairs.
    """

    source: str
    query: str
    whole: bool
    measure: str
    space: str
    model: Scores
    encoders: Scores | None
    ridge: Scores | None
    gain: Estimate | None

    @property
    def holds(self) -> bool:
        """Whether the model is not worse than the encoders alone; rows of few queries are not judged."""
        return self.gain is None or self.model.queries < FEWEST or self.gain.low >= TOLERATED

    def value(self, scores: Scores | None) -> float | None:
        """Return the score named by `measure`."""
        found: Estimate | None = None if scores is None else getattr(scores, self.measure)
        return None if found is None else found.value


@dataclass(frozen=True)
class Transfer:
    """All rows. `left_out` says what has no row, and why."""

    rows: tuple[TransferRow, ...]
    left_out: tuple[str, ...]

    def mean(self, column: str) -> float | None:
        """Return the mean of `model`, `encoders` or `ridge` over the rows; every source has the same total weight."""
        by_source: dict[str, list[float]] = {}
        for row in self.rows:
            value = row.value(getattr(row, column))
            if value is not None and row.query != ALL:
                by_source.setdefault(row.source, []).append(value)
        return float(np.mean([np.mean(values) for values in by_source.values()])) if by_source else None


@dataclass(frozen=True)
class _Measured:
    """One kind of query in one set, answered in three ways."""

    query: str
    space: str
    model: Outcomes
    encoders: Outcomes | None
    ridge: Outcomes | None


def measure_transfer(instruments: Instruments, sets: Iterable[TransferSet], progress: Progress) -> Transfer:
    """Measure every set; the model answers as the service would, in the default space of the query's modality."""
    rows: list[TransferRow] = []
    left_out: list[str] = []
    for one in sets:
        read = read_set(instruments, one.aligned, progress)
        left_out += [f"{one.source}: {reason}" for reason in read.unreadable]
        left_out += [f"{one.source}: {modality}: {reason}" for modality, reason in read.left_out.items()]
        measured = [_measure(instruments, read, line) for line in _lines(read)]
        if len(measured) > 1 and len({found.space for found in measured}) == 1:
            measured.append(_together(measured))
        rows += [_row(one, found) for found in measured]
    return Transfer(tuple(rows), tuple(left_out))


def _lines(read: ReadSet) -> list[QueryKind]:
    """The kinds of queries that were embedded."""
    return [line for line in query_kinds(read.aligned, {**read.vectors.single, **read.queries}) if line.from_outside]


def _measure(instruments: Instruments, read: ReadSet, line: QueryKind) -> _Measured:
    (modality,) = line.modalities
    space = default_space(instruments, modality)
    about = instruments.embedder.spaces[space]
    photos = read.vectors.single[PHOTO]
    exact = read.vectors.exact.get(PHOTO)
    stored = exact if exact is not None and space in exact.vectors else photos
    kept, answers = line.answers(photos, read.encoded.labels, ())
    asked = read.queries[line.name]
    queries = centre_queries(about, [modality], asked.vectors[space][asked.of(line.places)])
    model = outcomes(queries[kept], centred_items(stored.vectors[space], about), answers)
    baselines = Baselines(read.encoded, None)

    def beside(sides: Sides | None) -> Outcomes | None:
        return None if sides is None else outcomes(sides[0][kept], sides[1], answers)

    return _Measured(
        line.name, space, model, beside(baselines.encoders(line, PHOTO)), beside(baselines.ridge(line, PHOTO))
    )


def _together(measured: list[_Measured]) -> _Measured:
    """Combine all queries of a gallery, whatever their kind."""

    def joined(parts: list[Outcomes | None]) -> Outcomes | None:
        known = [one for one in parts if one is not None]
        if len(known) < len(parts):
            return None
        ranks = np.concatenate([one.ranks for one in known])
        return Outcomes(ranks, np.concatenate([one.precisions for one in known]), known[0].gallery)

    model = joined([one.model for one in measured])
    assert model is not None
    encoders, ridge = joined([one.encoders for one in measured]), joined([one.ridge for one in measured])
    return _Measured(ALL, measured[0].space, model, encoders, ridge)


def _row(one: TransferSet, found: _Measured) -> TransferRow:
    measure = "mean_average_precision" if one.by_label else "at_10"
    model = scores_of(found.model)
    assert model is not None
    difference = None if found.encoders is None else getattr(gain(found.encoders, found.model), measure)
    return TransferRow(
        source=one.source,
        query=found.query,
        whole=one.whole,
        measure=measure,
        space=found.space,
        model=model,
        encoders=None if found.encoders is None else scores_of(found.encoders),
        ridge=None if found.ridge is None else scores_of(found.ridge),
        gain=difference,
    )
