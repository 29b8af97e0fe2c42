"""Tune a collection's search on the collection itself, without labels: means of queries, by kind of query.

Queries are made from the collection's own items: edges are drawn from their pictures; captions, maps and whatever else
items have beside a picture are asked with as they are. Each of them should find its picture among those of the others.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from indexer.runs import Tools
from indexer.samples import PICTURE, read_originals
from model.modalities.edge_detection import varied_canny
from model.seam import Embedder, FloatArray, Sample, Value
from search.catalogue import audit, collections, items, listing, tunings
from search.catalogue.collections import Head, SpaceHead
from search.catalogue.session import Database
from search.errors import AnyseekError, BadInput
from search.queries import check_made_by, default_among
from search.query_means import FEWEST, Trial, try_mean
from search.spaces.base import centre
from search.types import Item, Tuning

MOST_ITEMS, DEFAULT_ITEMS = 4_096, 256
_AT_ONCE = 16  # pictures in memory
_DRAWN = "canny_edge"


class NothingToTune(BadInput):
    code = "nothing-to-tune"


@dataclass(frozen=True)
class Tuned:
    """The trial of each kind of query, and those whose means are used now, or would be, were this not a dry run.

    `unreadable` counts the chosen items whose originals could not be read.
    """

    trials: tuple[Trial, ...]
    kept: tuple[Trial, ...]
    items: int
    unreadable: int


@dataclass(frozen=True)
class _Asked:
    """Raw vectors of queries of one modality (n, d), and the place of each one's picture."""

    rows: list[FloatArray]
    answers: list[int]


def tune(tools: Tools, collection: str, most: int = DEFAULT_ITEMS, dry_run: bool = False) -> Tuned:
    """Fit means to queries for at most `most` items, drawn by a seed, and use those that lose nothing.

    Older tunings are replaced. Raises `CollectionNotFound`, `FingerprintMismatch`, `NothingToTune`, and `BadInput` for
    a number of items that is out of range.
    """
    if not FEWEST <= most <= MOST_ITEMS:
        raise BadInput(f"tuning takes {FEWEST} to {MOST_ITEMS:,} items, not {most}")
    with tools.database.read() as session:
        head = collections.head(session, collection)
        check_made_by(head, tools.embedder)
        ids = listing.drawn_ids(session, head.id, most)
        means = {space.name: collections.centre_of(session, space.id) for space in head.spaces}
        chosen = list(items.by_ids(session, ids).values())
    usual = _usual_spaces(tools.embedder, means)
    gallery, asked, unreadable = _embedded(tools, chosen, usual)
    trials = []
    for modality, queries in sorted(asked.items()):
        if len(queries.rows) >= FEWEST:
            space = tools.embedder.spaces[usual[modality]]
            stored = centre(gallery[space.name], means[space.name], space.blocks)
            trials.append(try_mean(space, modality, np.stack(queries.rows), stored, queries.answers))
    if not trials:
        raise NothingToTune(
            f"the collection {collection!r} cannot be tuned: of {len(chosen)} items fewer than {FEWEST} have a picture "
            "that can be read and that queries could be made from"
        )
    kept = tuple(trial for trial in trials if trial.helps)
    if not dry_run:
        _write(tools, head, kept)
    return Tuned(tuple(trials), kept, len(chosen), unreadable)


def reset(database: Database, collection: str) -> None:
    """Return to the model's own means. Raises `CollectionNotFound`."""
    with database.write() as session:
        for space in collections.head(session, collection).spaces:
            tunings.replace(session, space.id, ())
        audit.record(session, "collection.reset-tuning", collection)


def _write(tools: Tools, before: Head, kept: Sequence[Trial]) -> None:
    """Raises `FingerprintMismatch` if the collection was switched to another model in the meantime."""
    with tools.database.write() as session:
        head = collections.head_by_id(session, before.id)
        check_made_by(head, tools.embedder)
        for space in head.spaces:
            tunings.replace(session, space.id, [_tuning(trial, space) for trial in kept if trial.space == space.name])
        audit.record(session, "collection.tune", head.name)


def _tuning(trial: Trial, space: SpaceHead) -> Tuning:
    recall = (trial.before.at_10, trial.after.at_10)
    return Tuning(trial.modality, space.fingerprint, trial.mean, trial.queries, *recall, datetime.now(UTC))


def _usual_spaces(embedder: Embedder, held: Collection[str]) -> Mapping[str, str]:
    """The space that answers queries of each modality in a collection with the spaces `held`."""
    found = {modality: default_among(held, modality, embedder) for modality in embedder.modalities}
    return {modality: space for modality, space in found.items() if space is not None}


def _embedded(
    tools: Tools, chosen: Sequence[Item], usual: Mapping[str, str]
) -> tuple[Mapping[str, FloatArray], Mapping[str, _Asked], int]:
    """Raw vectors of the items' pictures alone by space, those of queries by modality, and how many are unreadable.

    A picture is embedded without its item's caption, or a caption would find itself.
    """
    embedder = tools.embedder
    spaces = sorted(set(usual.values()))
    pictures: dict[str, list[FloatArray]] = defaultdict(list)
    asked: dict[str, _Asked] = defaultdict(lambda: _Asked([], []))
    held = unreadable = 0
    for some in _read(tools, chosen):
        unreadable += sum(values is None for values in some)
        read = [values for values in some if values is not None and PICTURE in values]
        if not read:
            continue
        vectors = embedder.embed_gallery([Sample({PICTURE: values[PICTURE]}) for values in read], spaces)
        for space, rows in vectors.items():
            pictures[space].append(rows)
        for modality, queries in _queries(read, embedder, held).items():
            space = usual[modality]
            asked[modality].rows.extend(embedder.embed(list(queries.values()), [space])[space])
            asked[modality].answers.extend(queries)
        held += len(read)
    return {space: np.concatenate(rows) for space, rows in pictures.items()}, asked, unreadable


def _read(tools: Tools, chosen: Sequence[Item]) -> Iterator[list[Mapping[str, Value] | None]]:
    """The values of items, a few at a time; None for an item that cannot be read."""

    def values(item: Item) -> Mapping[str, Value] | None:
        try:
            return read_originals(item, tools.assets, tools.settings.limits)
        except AnyseekError:
            return None

    for start in range(0, len(chosen), _AT_ONCE):
        yield [values(item) for item in chosen[start : start + _AT_ONCE]]


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
