"""Tune a collection's search on the collection itself, without labels: the means of queries by modality.

Queries are made from the collection's own items: edges are drawn from their pictures, and captions, maps and whatever
else items have beside a picture are used as they are. Each query should find its picture among those of the others.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from anyseek.indexer.runs import Tools
from anyseek.indexer.samples import PICTURE, read_originals
from anyseek.model.modalities.edge_detection import varied_canny
from anyseek.model.seam import Embedder, FloatArray, Sample, Value
from anyseek.search.catalogue import audit, collections, items, listing
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError, BadInput
from anyseek.search.query.means import FEWEST, Trial, try_mean
from anyseek.search.query.planning import check_made_by, default_among
from anyseek.search.spaces.base import centre
from anyseek.search.types import Item, Tuning

MOST_ITEMS, DEFAULT_ITEMS = 4_096, 256
_AT_ONCE = 16  # pictures in memory
_DRAWN = "canny_edge"


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
    embedder = tools.embedder
    check_made_by(head, embedder)
    with tools.database.read() as session:
        ids = listing.drawn_ids(session, head.id, most)
        means = {space.name: collections.centre_of(session, space.id) for space in head.spaces}
        chosen = list(items.by_ids(session, ids).values())
    spaces = {modality: default_among(means, modality, embedder) for modality in embedder.modalities}
    usual = {modality: space for modality, space in spaces.items() if space is not None}
    pictures: dict[str, list[FloatArray]] = defaultdict(list)  # raw vectors by space
    queries: dict[str, list[FloatArray]] = defaultdict(list)  # raw vectors (d,) by modality
    answers: dict[str, list[int]] = defaultdict(list)  # the row of the picture that each query should find
    count = unreadable = 0
    for start in range(0, len(chosen), _AT_ONCE):
        batch = [_values(tools, item) for item in chosen[start : start + _AT_ONCE]]
        unreadable += batch.count(None)
        read = [values for values in batch if values is not None and PICTURE in values]
        if not read:
            continue
        alone = [Sample({PICTURE: values[PICTURE]}) for values in read]  # with its caption, a caption would find itself
        for space, rows in embedder.embed_gallery(alone, sorted(set(usual.values()))).items():
            pictures[space].append(rows)
        for modality, samples in _queries(read, embedder, count).items():
            space = usual[modality]
            queries[modality].extend(embedder.embed(list(samples.values()), [space])[space])
            answers[modality].extend(samples)
        count += len(read)
    trials = []
    for modality, vectors in sorted(queries.items()):
        if len(vectors) >= FEWEST:
            about = embedder.spaces[usual[modality]]
            gallery = centre(np.concatenate(pictures[about.name]), means[about.name], about.blocks)
            trials.append(try_mean(about, modality, np.stack(vectors), gallery, answers[modality]))
    return Tuned(tuple(trials), len(chosen), unreadable)


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
                for trial in tuned.kept
                if trial.space == space.name
            ]
            collections.replace_tunings(session, space.id, means)
        audit.record(session, "collection.tune", head.name)


def _values(tools: Tools, item: Item) -> Mapping[str, Value] | None:
    """The values of an item; None if it cannot be read."""
    try:
        return read_originals(item, tools.assets, tools.settings.limits)
    except AnyseekError:
        return None


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
