"""Tune a collection's search on the collection itself, without labels: the means of queries by modality.

Queries are made from the collection's own items: edges are drawn from their pictures, and captions, maps and whatever
else items have beside a picture are used as they are. Each query should find its picture among those of the others.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from anyseek.indexer.runs import Tools
from anyseek.indexer.samples import PICTURE, read_originals, sample_for
from anyseek.model.modalities.edge_detection import varied_canny
from anyseek.model.seam import Embedder, FloatArray, Sample, Value
from anyseek.search.catalogue import audit, collections, items, listing
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError, BadInput
from anyseek.search.query.means import FEWEST, Trial, try_mean
from anyseek.search.query.planning import check_made_by, default_among
from anyseek.search.query.vectors import raw_vectors
from anyseek.search.spaces.base import centre
from anyseek.search.types import Item, Tuning

MOST_ITEMS, DEFAULT_ITEMS = 4_096, 256
_AT_ONCE = 16  # pictures in memory
_DRAWN = "canny_edge"
# Raw vectors by the name of the space and the id of the item.
_Stored = Mapping[str, Mapping[int, FloatArray]]


class NothingToTune(BadInput):
    code = "nothing-to-tune"


@dataclass(frozen=True)
class Tuned:
    """The trials of the means of each kind of query; those that help are used, were this not a dry run.

    `unreadable` counts the chosen items whose originals could not be read.
    """

    trials: tuple[Trial, ...]
    items: int
    unreadable: int

    @property
    def kept(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.helps)


@dataclass(frozen=True)
class _Queries:
    """Queries of one modality: raw vectors (n, d), and the row of the picture that each should find."""

    rows: list[FloatArray] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _Made:
    """The raw vectors (m, d) of the readable pictures by space, the queries by modality, and the unreadable items."""

    pictures: Mapping[str, FloatArray]
    queries: Mapping[str, _Queries]
    unreadable: int


def tune(tools: Tools, collection: str, most: int = DEFAULT_ITEMS, dry_run: bool = False) -> Tuned:
    """Fit means to queries for at most `most` items, drawn by a seed, and use those that lose nothing.

    Older tunings are replaced. Raises `CollectionNotFound`, `FingerprintMismatch`, `NothingToTune`, and `BadInput` for
    a number of items that is out of range.
    """
    if not FEWEST <= most <= MOST_ITEMS:
        raise BadInput(f"tuning takes {FEWEST} to {MOST_ITEMS:,} items, not {most}")
    with tools.database.read() as session:
        head = collections.head(session, collection)
    tuned = _tried(tools, head, most)
    if not tuned.trials:
        raise NothingToTune(
            f"the collection {collection!r} cannot be tuned: of {tuned.items} items fewer than {FEWEST} have a picture "
            "that can be read and that queries could be made from"
        )
    if not dry_run:
        _write(tools, head, tuned)
    return tuned


def _tried(tools: Tools, head: Head, most: int) -> Tuned:
    """Try means on queries for at most `most` items; nothing is written. Raises `FingerprintMismatch`."""
    check_made_by(head, tools.embedder)
    with tools.database.read() as session:
        ids = listing.drawn_ids(session, head.id, most)
        means = {space.name: collections.centre_of(session, space.id) for space in head.spaces}
        chosen = list(items.by_ids(session, ids).values())
        stored = {space.name: raw_vectors(session, head, space, ids) for space in head.spaces}
    usual = _usual_spaces(tools.embedder, means)
    made = _made(tools, chosen, usual, stored)
    trials = []
    for modality, queries in sorted(made.queries.items()):
        if len(queries.rows) < FEWEST:
            continue
        space = tools.embedder.spaces[usual[modality]]
        gallery = centre(made.pictures[space.name], means[space.name], space.blocks)
        trials.append(try_mean(space, modality, np.stack(queries.rows), gallery, queries.answers))
    return Tuned(tuple(trials), len(chosen), made.unreadable)


def reset(database: Database, collection: str) -> None:
    """Return to the model's own means. Raises `CollectionNotFound`."""
    with database.write() as session:
        collections.lock(session, collections.get(session, collection))
        for space in collections.head(session, collection).spaces:
            collections.replace_tunings(session, space.id, ())
        audit.record(session, "collection.reset-tuning", collection)


def _write(tools: Tools, before: Head, tuned: Tuned) -> None:
    """Raises `FingerprintMismatch` if the collection was switched to another model in the meantime."""
    with tools.database.write() as session:
        collections.lock(session, collections.get(session, before.name))
        head = collections.head_by_id(session, before.id)
        check_made_by(head, tools.embedder)
        for space in head.spaces:
            means = [_tuning(trial, space) for trial in tuned.kept if trial.space == space.name]
            collections.replace_tunings(session, space.id, means)
        audit.record(session, "collection.tune", head.name)


def _tuning(trial: Trial, space: SpaceHead) -> Tuning:
    recall = (trial.before.at_10, trial.after.at_10)
    return Tuning(trial.modality, space.fingerprint, trial.mean, trial.queries, *recall, datetime.now(UTC))


def _usual_spaces(embedder: Embedder, held: Collection[str]) -> Mapping[str, str]:
    """The space that answers queries of each modality in a collection with the spaces `held`."""
    found = {modality: default_among(held, modality, embedder) for modality in embedder.modalities}
    return {modality: space for modality, space in found.items() if space is not None}


def _made(tools: Tools, chosen: Sequence[Item], usual: Mapping[str, str], stored: _Stored) -> _Made:
    """The vectors of the items' pictures alone, and queries for them, embedded."""
    embedder, spaces = tools.embedder, sorted(set(usual.values()))
    pictures: dict[str, list[FloatArray]] = defaultdict(list)
    made: dict[str, _Queries] = defaultdict(_Queries)
    count = unreadable = 0
    for batch in _read(tools, chosen):
        unreadable += sum(values is None for _, values in batch)
        read = [(item, values) for item, values in batch if values is not None and PICTURE in values]
        if not read:
            continue
        for space, rows in _of_pictures(embedder, read, spaces, stored).items():
            pictures[space].append(rows)
        for modality, queries in _queries([values for _, values in read], embedder, count).items():
            space = usual[modality]
            made[modality].rows.extend(embedder.embed(list(queries.values()), [space])[space])
            made[modality].answers.extend(queries)
        count += len(read)
    return _Made({space: np.concatenate(rows) for space, rows in pictures.items()}, made, unreadable)


def _of_pictures(
    embedder: Embedder, read: Sequence[tuple[Item, Mapping[str, Value]]], spaces: Sequence[str], stored: _Stored
) -> Mapping[str, FloatArray]:
    """The vectors of pictures alone: the stored ones of items that are only a picture to the model, others made now.

    A picture is embedded without its item's caption, or a caption would find itself.
    """
    held = [
        {space: stored[space][item.id] for space in spaces if item.id in stored[space]}
        if sample_for(values, embedder.modalities).values.keys() == {PICTURE}
        else {}
        for item, values in read
    ]
    lacking = [row for row, vectors in enumerate(held) if len(vectors) < len(spaces)]
    if lacking:
        made = embedder.embed_gallery([Sample({PICTURE: read[row][1][PICTURE]}) for row in lacking], spaces)
        for place, row in enumerate(lacking):
            held[row] = {space: made[space][place] for space in spaces}
    return {space: np.stack([vectors[space] for vectors in held]) for space in spaces}


def _read(tools: Tools, chosen: Sequence[Item]) -> Iterator[list[tuple[Item, Mapping[str, Value] | None]]]:
    """Items with their values, a few at a time; None for an item that cannot be read."""

    def values(item: Item) -> Mapping[str, Value] | None:
        try:
            return read_originals(item, tools.assets, tools.settings.limits)
        except AnyseekError:
            return None

    for start in range(0, len(chosen), _AT_ONCE):
        yield [(item, values(item)) for item in chosen[start : start + _AT_ONCE]]


def _queries(read: Sequence[Mapping[str, Value]], embedder: Embedder, held: int) -> Mapping[str, Mapping[int, Sample]]:
    """Queries by modality and by the place of their picture; `held` pictures came before."""
    found: dict[str, dict[int, Sample]] = defaultdict(dict)
    for place, values in enumerate(read, held):
        own = {name: value for name, value in values.items() if name != PICTURE}
        if _DRAWN not in own:
            picture = values[PICTURE]
            assert isinstance(picture, np.ndarray)
            own[_DRAWN] = varied_canny(picture.astype(np.uint8, copy=False), np.random.default_rng(place))
        for name in own.keys() & embedder.modalities:
            found[name][place] = Sample({name: own[name]})
    return found
