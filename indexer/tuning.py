"""Tuning: fits the mean query vector of each modality to a collection, without labels.

Queries are made from the collection's own items: edges are detected in their pictures; captions, maps and other
modalities are used directly. The right answer to each query is the picture of its item.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from anyseek.indexer.runs import IndexerContext
from anyseek.indexer.samples import PICTURE, read_originals
from anyseek.model.modalities.edge_detection import random_canny
from anyseek.model.seam import Embedder, FloatArray, Sample, Value
from anyseek.search.catalogue import audit, collections, items, listing
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError, BadInput
from anyseek.search.query.means import MIN_QUERIES, Trial, try_mean
from anyseek.search.query.planning import check_fingerprints, default_space_among
from anyseek.search.spaces.base import centre
from anyseek.search.types import Item, Tuning

MAX_ITEMS, DEFAULT_ITEMS = 4_096, 256
_BATCH = 16  # pictures in memory at once
_EDGES = "canny_edge"


class NothingToTune(BadInput):
    code = "nothing-to-tune"


@dataclass(frozen=True)
class TuningResult:
    """The trial of a mean for each query modality; means that help are used, except in a dry run.

    `unreadable` counts the sampled items whose originals could not be read.
    """

    trials: tuple[Trial, ...]
    items: int
    unreadable: int

    @property
    def improvements(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.helps)


def tune(context: IndexerContext, collection: str, most: int = DEFAULT_ITEMS, dry_run: bool = False) -> TuningResult:
    """Fit query means on at most `most` items, sampled with a fixed seed, and use those that do not lose recall.

    Former tunings are replaced. Raises `CollectionNotFound`, `FingerprintMismatch`, `NothingToTune`, and `BadInput` for
    a number of items out of range.
    """
    if not MIN_QUERIES <= most <= MAX_ITEMS:
        raise BadInput(f"tuning takes {MIN_QUERIES} to {MAX_ITEMS:,} items, not {most}")
    with context.database.read() as session:
        head = collections.head(session, collection)
    tuned = _try_means(context, head, most)
    if not tuned.trials:
        raise NothingToTune(
            f"the collection {collection!r} cannot be tuned: of {tuned.items} items fewer than {MIN_QUERIES} have a "
            "picture that can be read and that queries could be made from"
        )
    if not dry_run:
        _write_means(context, head, tuned)
    return tuned


def _try_means(context: IndexerContext, head: Head, most: int) -> TuningResult:
    """Fit and evaluate means on at most `most` items; nothing is written. Raises `FingerprintMismatch`."""
    embedder = context.embedder
    check_fingerprints(head, embedder)
    with context.database.read() as session:
        ids = listing.sample_ids(session, head.id, most)
        means = {space.name: collections.centre_of(session, space.id) for space in head.spaces}
        chosen = list(items.by_ids(session, ids).values())
    spaces = {modality: default_space_among(means, modality, embedder) for modality in embedder.modalities}
    space_of = {modality: space for modality, space in spaces.items() if space is not None}
    pictures: dict[str, list[FloatArray]] = defaultdict(list)  # raw vectors by space
    queries: dict[str, list[FloatArray]] = defaultdict(list)  # raw vectors (d,) by modality
    answers: dict[str, list[int]] = defaultdict(list)  # the gallery row of each query's right answer
    count = unreadable = 0
    for start in range(0, len(chosen), _BATCH):
        batch = [_read_values(context, item) for item in chosen[start : start + _BATCH]]
        unreadable += batch.count(None)
        read = [values for values in batch if values is not None and PICTURE in values]
        if not read:
            continue
        only_pictures = [
            Sample({PICTURE: values[PICTURE]}) for values in read
        ]  # a caption query would find its caption
        for space, rows in embedder.embed_gallery(only_pictures, sorted(set(space_of.values()))).items():
            pictures[space].append(rows)
        for modality, samples in _make_queries(read, embedder, count).items():
            space = space_of[modality]
            queries[modality].extend(embedder.embed(list(samples.values()), [space])[space])
            answers[modality].extend(samples)
        count += len(read)
    trials = []
    for modality, vectors in sorted(queries.items()):
        if len(vectors) >= MIN_QUERIES:
            space_info = embedder.spaces[space_of[modality]]
            gallery = centre(np.concatenate(pictures[space_info.name]), means[space_info.name], space_info.blocks)
            trials.append(try_mean(space_info, modality, np.stack(vectors), gallery, answers[modality]))
    return TuningResult(tuple(trials), len(chosen), unreadable)


def clear_tuning(database: Database, collection: str) -> None:
    """Remove the tuning, so that the model's own means are used. Raises `CollectionNotFound`."""
    with database.write() as session:
        collections.lock(session, collections.get(session, collection))
        for space in collections.head(session, collection).spaces:
            collections.replace_tunings(session, space.id, ())
        audit.record(session, "collection.reset-tuning", collection)


def _write_means(context: IndexerContext, before: Head, tuned: TuningResult) -> None:
    """Raises `FingerprintMismatch` if the collection has been switched to another model meanwhile."""
    with context.database.write() as session:
        collections.lock(session, collections.get(session, before.name))
        head = collections.head_by_id(session, before.id)
        check_fingerprints(head, context.embedder)
        for space in head.spaces:
            means = [
                Tuning(
                    trial.modality,
                    space.fingerprint,
                    trial.mean,
                    trial.queries,
                    trial.before.at_10,
                    trial.after.at_10,
                    datetime.now(UTC),
                )
                for trial in tuned.improvements
                if trial.space == space.name
            ]
            collections.replace_tunings(session, space.id, means)
        audit.record(session, "collection.tune", head.name)


def _read_values(context: IndexerContext, item: Item) -> Mapping[str, Value] | None:
    """The decoded values of an item; None if its originals cannot be read."""
    try:
        return read_originals(item, context.assets, context.settings.limits)
    except AnyseekError:
        return None


def _make_queries(read: Sequence[Mapping[str, Value]], embedder: Embedder, first: int) -> dict[str, dict[int, Sample]]:
    """Queries by modality and by the row of their picture in the gallery, starting at row `first`."""
    queries: dict[str, dict[int, Sample]] = defaultdict(dict)
    for row, values in enumerate(read, first):
        own = {name: value for name, value in values.items() if name != PICTURE}
        if _EDGES not in own:
            picture = values[PICTURE]
            assert isinstance(picture, np.ndarray)
            own[_EDGES] = random_canny(picture.astype(np.uint8, copy=False), np.random.default_rng(row))
        for name in own.keys() & embedder.modalities:
            queries[name][row] = Sample({name: own[name]})
    return queries
