"""Tune a collection's search on the collection itself, without labels: means and curves, by kind of query.

Queries are made from the collection's own items: edges are drawn from their pictures; captions, maps and whatever else
items have beside a picture are asked with as they are. Each of them should find its picture among those of the others,
and captions and edges say by what they find how likely hits are. So do parts of pictures, their colours, and
segmentations as if painted by hand. No means are fitted to these, as users ask with other pictures and palettes; and no
curves to maps as items have them: they fit their pictures better than any that is asked with.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from anyseek.indexer.runs import Tools
from anyseek.indexer.samples import PICTURE, read_originals, sample_for
from anyseek.model.modalities.edge_detection import varied_canny
from anyseek.model.modalities.formats.color_palette import palette_of
from anyseek.model.modalities.rough_maps import painted, rounded
from anyseek.model.seam import Embedder, EmbeddingSpace, FloatArray, Regions, Sample, Value
from anyseek.search.catalogue import audit, collections, items, listing, tunings
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.curve import Curve, OwnCurve
from anyseek.search.errors import AnyseekError, BadInput
from anyseek.search.evaluation.measures import IntArray
from anyseek.search.own_curves import CurveTrial, centred_as_used, part_of, sample_of, try_curve, usual_of
from anyseek.search.probabilities import Background, Sort, sort_of
from anyseek.search.queries import check_made_by, default_among
from anyseek.search.query_means import FEWEST, Trial, try_mean
from anyseek.search.query_vectors import centre_queries, raw_vectors
from anyseek.search.types import Item, Tuning

MOST_ITEMS, DEFAULT_ITEMS = 4_096, 256
_AT_ONCE = 16  # pictures in memory
_DRAWN, _COLOURS, _REGIONS = "canny_edge", "color_palette", "semseg"
_AS_ASKED = frozenset({"caption", _DRAWN})  # whose queries are like those of users, so that curves are fitted to them
_CELLS = range(10, 15)  # a side, of a painting
# Raw vectors by the name of the space and the id of the item.
_Stored = Mapping[str, Mapping[int, FloatArray]]
_SAME, _NEARLY = 0.999, 0.9  # the cosine of two vectors of one picture, and the share of items


class NothingToTune(BadInput):
    code = "nothing-to-tune"


@dataclass(frozen=True)
class Tuned:
    """The trials of the means and curves of each kind of query; those that help are used, were this not a dry run.

    `unreadable` counts the chosen items whose originals could not be read.
    """

    trials: tuple[Trial, ...]
    curves: tuple[CurveTrial, ...]
    items: int
    unreadable: int

    @property
    def kept(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.helps)


@dataclass(frozen=True)
class _Asked:
    """Queries of one modality: raw vectors (n, d), the place of each one's picture, and the text of those of words."""

    rows: list[FloatArray] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    words: list[str | None] = field(default_factory=list)

    def things(self, pictures: int, rivals: Sequence[str | None]) -> IntArray:
        """Equal numbers for what is equally right, as its words are the same: int64 (pictures + rivals,)."""
        things, first = np.arange(pictures + len(rivals)), dict[str, int]()
        for place, words in (*zip(self.answers, self.words, strict=True), *enumerate(rivals, pictures)):
            if words is not None:
                things[place] = first.setdefault(words, place)
        return things


@dataclass(frozen=True)
class _Made:
    """The `items` that could be read, their pictures' raw vectors (m, d) by space, and queries by modality.

    To `computed` ones only curves are fitted.
    """

    items: list[Item]
    pictures: Mapping[str, FloatArray]
    asked: Mapping[str, _Asked]
    computed: Mapping[str, _Asked]
    unreadable: int


@dataclass(frozen=True)
class _Rivals:
    """Further items of the collection that a query should not find: raw vectors (n, d), and captions.

    `common` (d,) is what the stored vectors of all these items have in common
    (`anyseek.search.probabilities.Background`).
    """

    rows: FloatArray
    captions: list[str | None]
    common: FloatArray


def tune(tools: Tools, collection: str, most: int = DEFAULT_ITEMS, dry_run: bool = False) -> Tuned:
    """Fit means to queries for at most `most` items, drawn by a seed, and use those that lose nothing.

    Older tunings are replaced. Raises `CollectionNotFound`, `FingerprintMismatch`, `NothingToTune`, and `BadInput` for
    a number of items that is out of range.
    """
    if not FEWEST <= most <= MOST_ITEMS:
        raise BadInput(f"tuning takes {FEWEST} to {MOST_ITEMS:,} items, not {most}")
    with tools.database.read() as session:
        head = collections.head(session, collection)
    tuned = tried(tools, head, most)
    if not tuned.trials:
        raise NothingToTune(
            f"the collection {collection!r} cannot be tuned: of {tuned.items} items fewer than {FEWEST} have a picture "
            "that can be read and that queries could be made from"
        )
    if not dry_run:
        _write(tools, head, tuned)
    return tuned


def tried(
    tools: Tools, head: Head, most: int, with_means: bool = True, check: Callable[[], None] = lambda: None
) -> Tuned:
    """Try means and curves, or only curves, on queries for at most `most` items; nothing is written.

    `check` is called before every few items, and ends this by what it raises. Raises `FingerprintMismatch`.
    """
    check_made_by(head, tools.embedder)
    with tools.database.read() as session:
        ids = listing.drawn_ids(session, head.id, most)
        means = {space.name: collections.centre_of(session, space.id) for space in head.spaces}
        chosen = list(items.by_ids(session, ids).values())
        stored = {space.name: raw_vectors(session, head, space, ids) for space in head.spaces}
    made = _made(tools, chosen, _usual_spaces(tools.embedder, means), stored, check)
    trials, curves = _tried(tools, head, made, means, with_means, check)
    return Tuned(trials, curves, len(chosen), made.unreadable)


def _tried(
    tools: Tools,
    head: Head,
    made: _Made,
    means: Mapping[str, FloatArray],
    with_means: bool,
    check: Callable[[], None],
) -> tuple[tuple[Trial, ...], tuple[CurveTrial, ...]]:
    """Try what `tried` does for each kind of query; `means` are those that the spaces' items are centred on."""
    if not made.items:
        return (), ()
    rivals, usual = _rivals(tools, head, made), _usual_spaces(tools.embedder, means)
    trials: list[Trial] = []
    curves: list[CurveTrial] = []
    for modality in sorted({*made.asked, *made.computed}):
        check()
        space = tools.embedder.spaces[usual[modality]]
        further = rivals[space.name]
        sample = sample_of(space, np.concatenate([made.pictures[space.name], further.rows]), means[space.name])
        trial = _tried_mean(space, modality, sample, made) if with_means else None
        trials += [] if trial is None else [trial]
        curve = _tried_curve(space, modality, sample, made, further, trial)
        curves += [] if curve is None else [curve]
    return tuple(trials), tuple(curves)


def _tried_mean(space: EmbeddingSpace, modality: str, sample: Background, made: _Made) -> Trial | None:
    """None if too few items have such queries. The pictures of the items that were read are the first of the sample."""
    asked = made.asked.get(modality)
    if asked is None or len(asked.rows) < FEWEST:
        return None
    return try_mean(space, modality, np.stack(asked.rows), sample.vectors[: len(made.items)], asked.answers)


def _tried_curve(
    space: EmbeddingSpace, modality: str, sample: Background, made: _Made, further: _Rivals, tried: Trial | None
) -> CurveTrial | None:
    """Fit a curve to what queries find with the mean that is used; None if there are too few."""
    queries = made.computed.get(modality) or (made.asked.get(modality) if modality in _AS_ASKED else None)
    if queries is None or len(queries.rows) < FEWEST:
        return None
    raw, things = np.stack(queries.rows), queries.things(len(made.items), further.captions)
    if modality in _AS_ASKED:
        used = centred_as_used(space, modality, raw, tried)
    else:
        tuned = {modality: tried.mean} if tried is not None and tried.helps else {}
        used = centre_queries(space, [modality], raw, tuned)
    found = try_curve(space.name, modality, sample, used, queries.answers, things)
    if found is None or sort_of([modality]) is not Sort.WORDS:
        return found
    return replace(found, usual=usual_of(used, further.common))


def reset(database: Database, collection: str) -> None:
    """Return to the model's own means and the curves that ship. Raises `CollectionNotFound`."""
    with database.write() as session:
        collections.lock(session, collections.get(session, collection))
        for space in collections.head(session, collection).spaces:
            tunings.replace(session, space.id, ())
        audit.record(session, "collection.reset-tuning", collection)


def _write(tools: Tools, before: Head, tuned: Tuned) -> None:
    """Raises `FingerprintMismatch` if the collection was switched to another model in the meantime."""
    with tools.database.write() as session:
        collections.lock(session, collections.get(session, before.name))
        head = collections.head_by_id(session, before.id)
        check_made_by(head, tools.embedder)
        for space in head.spaces:
            means = [_tuning(trial, space) for trial in tuned.kept if trial.space == space.name]
            tunings.replace(session, space.id, means, curves_of(tuned.curves, space))
        audit.record(session, "collection.tune", head.name)


def _tuning(trial: Trial, space: SpaceHead) -> Tuning:
    recall = (trial.before.at_10, trial.after.at_10)
    return Tuning(trial.modality, space.fingerprint, trial.mean, trial.queries, *recall, datetime.now(UTC))


def curves_of(trials: Sequence[CurveTrial], space: SpaceHead) -> list[OwnCurve]:
    """The curves that are used in a space from now on."""
    return [
        _curve(trial, curve, space)
        for trial in trials
        if trial.space == space.name and (curve := trial.used) is not None
    ]


def _curve(trial: CurveTrial, curve: Curve, space: SpaceHead) -> OwnCurve:
    after = trial.after if trial.helps else trial.before
    errors = (trial.before.error_of_best, after.error_of_best)
    return OwnCurve(trial.modality, space.fingerprint, curve, trial.queries, *errors, datetime.now(UTC))


def _usual_spaces(embedder: Embedder, held: Collection[str]) -> Mapping[str, str]:
    """The space that answers queries of each modality in a collection with the spaces `held`."""
    found = {modality: default_among(held, modality, embedder) for modality in embedder.modalities}
    return {modality: space for modality, space in found.items() if space is not None}


def _made(
    tools: Tools, chosen: Sequence[Item], usual: Mapping[str, str], stored: _Stored, check: Callable[[], None]
) -> _Made:
    """The vectors of the items' pictures alone, and queries for them, embedded."""
    embedder, spaces = tools.embedder, sorted(set(usual.values()))
    pictures: dict[str, list[FloatArray]] = defaultdict(list)
    asked: dict[str, _Asked] = defaultdict(_Asked)
    computed: dict[str, _Asked] = defaultdict(_Asked)
    held: list[Item] = []
    unreadable = 0
    for some in _read(tools, chosen):
        check()
        unreadable += sum(values is None for _, values in some)
        read = [(item, values) for item, values in some if values is not None and PICTURE in values]
        if not read:
            continue
        values = [each for _, each in read]
        for space, rows in _of_pictures(embedder, read, spaces, stored).items():
            pictures[space].append(rows)
        for into, make in ((asked, _queries), (computed, _computed)):
            for modality, queries in make(values, embedder, len(held)).items():
                check()
                space = usual[modality]
                into[modality].rows.extend(embedder.embed(list(queries.values()), [space])[space])
                into[modality].answers.extend(queries)
                into[modality].words.extend(_words(sample.values[modality]) for sample in queries.values())
        held += [item for item, _ in read]
    return _Made(held, {space: np.concatenate(rows) for space, rows in pictures.items()}, asked, computed, unreadable)


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


def _rivals(tools: Tools, head: Head, made: _Made) -> Mapping[str, _Rivals]:
    """Items beside those that were read, by space: of few items alone, hits would be likelier than they are.

    None where stored vectors are not those of pictures alone: an item's own caption would be compared with pictures.
    """
    own = [item.id for item in made.items]
    with tools.database.read() as session:
        others = sorted({*listing.drawn_ids(session, head.id, MOST_ITEMS)} - {*own})
        captions = {item_id: item.caption for item_id, item in items.by_ids(session, others).items()}
        found: dict[str, _Rivals] = {}
        for space in head.spaces:
            if space.name in made.pictures:
                stored = raw_vectors(session, head, space, [*own, *others])
                common = _common(tools.embedder.spaces[space.name], stored)
                kept = [item_id for item_id in others if item_id in stored and item_id in captions]
                kept = kept if _are_of_pictures(made.pictures[space.name], own, stored) else []
                rows = np.array([stored[item_id] for item_id in kept], np.float32).reshape(-1, space.dimension)
                found[space.name] = _Rivals(rows, [captions[item_id] for item_id in kept], common)
    return found


def _common(space: EmbeddingSpace, stored: Mapping[int, FloatArray]) -> FloatArray:
    """What these vectors have in common that other collections lack: (d,)."""
    rows = np.array(list(stored.values()), np.float32).reshape(-1, space.dimension)
    return sample_of(space, rows, space.gallery_prior).common


def _are_of_pictures(pictures: FloatArray, ids: Sequence[int], stored: Mapping[int, FloatArray]) -> bool:
    """Whether nearly all items have the vectors (m, d) of their pictures alone."""
    same = [
        item_id in stored and float(row @ stored[item_id]) > _SAME for item_id, row in zip(ids, pictures, strict=True)
    ]
    return sum(same) >= _NEARLY * len(same)


def _words(value: Value) -> str | None:
    return value if isinstance(value, str) else None


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


def _computed(read: Sequence[Mapping[str, Value]], embedder: Embedder, held: int) -> Mapping[str, Mapping[int, Sample]]:
    """Parts of pictures, palettes of two to five of their colours, and segmentations as if painted, as `_queries`."""
    found: dict[str, dict[int, Sample]] = defaultdict(dict)
    for place, values in enumerate(read, held):
        picture = np.asarray(values[PICTURE]).astype(np.uint8, copy=False)
        own: dict[str, Value] = {PICTURE: part_of(picture), _COLOURS: palette_of(picture, 2 + place % 4)}
        if isinstance(regions := values.get(_REGIONS), Regions):
            own[_REGIONS] = rounded(painted(regions, _CELLS[place % len(_CELLS)]))
        for name in own.keys() & embedder.modalities:
            found[name][place] = Sample({name: own[name]})
    return found
