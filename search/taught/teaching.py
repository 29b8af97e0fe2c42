"""Teaches a collection an attribute: learns it from labelled items and captions, applies it, and says what would help.

Learning reads the vectors of the examples alone. Applying goes through all items in pages of one transaction each, and
goes on where it was stopped.
"""

import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy.orm import Session

from anyseek.model.seam import Embedder, FloatArray, Sample
from anyseek.search.catalogue import audit, collections, items, listing, taught
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.taught import Example, TaughtFacet, TaughtNotFound, TaughtTaken
from anyseek.search.errors import BadInput, Conflict, ItemNotFound, LimitExceeded
from anyseek.search.query.vectors import centre_queries
from anyseek.search.spaces.base import centre, raw_vectors
from anyseek.search.taught.learning import Fit, Kind, Label, fit_classes, fit_number, spread_out
from anyseek.search.types import TAUGHT

logger = logging.getLogger(__name__)

MAX_EXAMPLES = 10_000
MAX_FACETS = 50  # of a collection
MAX_CLASSES = 200
SUGGESTIONS = 10
_MAX_LABEL = 200  # characters
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}", re.ASCII)
_PAGE = 1_000
_ATTEMPTS = 3  # while others teach the same
# Items assumed to be "no" while nobody has said so of any.
_BACKGROUND = 200
# Among so many of the most doubtful items, those that differ are suggested.
_DOUBTFUL = 100
_LIKE = 3
_CAPTION = "caption"

LoadEmbedder = Callable[[], Embedder]


class NothingToLearn(BadInput):
    """The examples do not suffice."""

    code = "nothing-to-learn"


class TaughtMeanwhile(Conflict):
    code = "taught-meanwhile"


@dataclass(frozen=True)
class Reason:
    """The value of an item, and the keys of the nearest examples with that value (of a number, simply the nearest)."""

    value: Label
    certainty: float | None
    like: tuple[str, ...]


def teach(
    database: Database,
    collection: str,
    name: str,
    changes: Sequence[tuple[Example, bool]],
    load_embedder: LoadEmbedder,
    anew: bool = False,
) -> TaughtFacet:
    """Learn the facet `name` from its examples with `changes`: each is added, or removed where it has True.

    `anew` drops earlier examples. The facet is stored, and applied by `apply`. The model is loaded only for captions.

    Raises `BadInput` for a name or labels that do not fit, `ItemNotFound`, `NothingToLearn`, `LimitExceeded`,
    `TaughtTaken`, `CollectionNotFound`.
    """
    for _ in range(_ATTEMPTS):
        with database.read() as session:
            held = collections.get(session, collection)
            before = {facet.name: facet for facet in taught.list_all(session, held.id)}
            _check_place(session, held.id, collection, name, before)
            _check_keys(session, held.id, collection, [each for each, is_removed in changes if not is_removed])
            earlier = before[name].examples if name in before and not anew else ()
            facet = _learn(
                session, collections.head(session, collection), name, _merged(earlier, changes), load_embedder
            )
        with database.write() as session:
            collections.lock(session, held)
            now = {facet.name: facet.version for facet in taught.list_all(session, held.id)}
            if now.get(name) == (before[name].version if name in before else None):
                taught.store(session, held.id, facet)
                audit.record(session, "facet.teach", collection, name)
                return taught.get(session, held, name)
    raise TaughtMeanwhile(f"{name!r} is being taught by others at the same time; try again")


def apply(database: Database, collection: str, name: str, seconds: float = math.inf) -> bool:
    """Give all items their values of a facet, for about `seconds` at most; return whether all have them.

    Call it again to go on, also after the process was killed. Raises `TaughtNotFound`, `CollectionNotFound`.
    """
    deadline = time.monotonic() + seconds
    while True:
        with database.write() as session:
            held = collections.get(session, collection)
            collections.lock(session, held)
            facet = taught.get(session, held, name)
            if facet.applied_id is None or not taught.apply_page(session, held, facet, _PAGE):
                return True
        if time.monotonic() > deadline:
            return False


def forget(database: Database, collection: str, name: str, seconds: float = math.inf) -> bool:
    """Remove a facet and its values; as `apply` otherwise."""
    with database.write() as session:
        held = collections.get(session, collection)
        collections.lock(session, held)
        taught.get(session, held, name)
        taught.forget(session, held.id, name)
        audit.record(session, "facet.forget", collection, name)
    return apply(database, collection, name, seconds)


def refresh(database: Database, collection: str, load_embedder: LoadEmbedder) -> None:
    """Learn facets anew whose vectors are no longer those of the collection, and apply what is not applied to all."""
    with database.read() as session:
        held = collections.get(session, collection)
        facets = taught.list_all(session, held.id)
    for facet in facets:
        try:
            if not facet.is_forgotten and facet.space_in(held) is None:
                teach(database, collection, facet.name, [], load_embedder)
                apply(database, collection, facet.name)
            elif facet.applied_id is not None:
                apply(database, collection, facet.name)
        except TaughtNotFound:
            continue  # forgotten meanwhile
        except (BadInput, Conflict) as error:
            logger.warning("%s of %s is not learned anew: %s", facet.name, collection, error)


def suggest(session: Session, collection: str, name: str, count: int = SUGGESTIONS) -> list[str]:
    """The keys of items whose labels would help most: doubtful ones that differ from each other and the examples.

    Raises `TaughtNotFound`, `CollectionNotFound`.
    """
    held = collections.get(session, collection)
    facet = taught.get(session, held, name)
    examples = set(items.ids_of_keys(session, held.id, list(facet.labels)).values())
    candidates = taught.doubtful_ids(session, held.id, facet, _DOUBTFUL + len(examples))
    candidates = candidates or listing.sample_ids(session, held.id, _DOUBTFUL + len(examples))
    chosen = [item_id for item_id in candidates if item_id not in examples][: max(_DOUBTFUL, count)]
    ids, vectors = _centred(session, collections.head(session, collection), facet, chosen)
    _, known = _centred(session, collections.head(session, collection), facet, sorted(examples))
    places = spread_out(vectors, count, known)
    by_id = items.by_ids(session, [ids[place] for place in places])
    return [by_id[ids[place]].key for place in places if ids[place] in by_id]


def explain(session: Session, collection: str, name: str, key: str) -> Reason:
    """Why an item has its value. Raises `TaughtNotFound`, `ItemNotFound`, `CollectionNotFound`, `NothingToLearn`."""
    held = collections.get(session, collection)
    facet, item = taught.get(session, held, name), items.get(session, held, key)
    value = item.attributes.get(TAUGHT, {}).get(name)
    if value is None:
        raise NothingToLearn(f"the item {key!r} has no value of {name!r}, as it has no vector in {facet.space!r}")
    labels = {of: label for of, label in facet.labels.items() if of != key}
    if facet.kind is not Kind.NUMBER:
        labels = {of: label for of, label in labels.items() if label == value["value"]}
    keys = {item_id: of for of, item_id in items.ids_of_keys(session, held.id, list(labels)).items()}
    head = collections.head(session, collection)
    ids, vectors = _centred(session, head, facet, sorted(keys))
    _, own = _centred(session, head, facet, [item.id])
    nearest = np.argsort(-(vectors @ own[0]), kind="stable")[:_LIKE] if len(own) else ()
    certainty = value.get("confidence", value.get("yes"))
    return Reason(value["value"], certainty, tuple(keys[ids[place]] for place in nearest))


def _check_place(
    session: Session, collection_id: int, collection: str, name: str, before: dict[str, TaughtFacet]
) -> None:
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name[:80]!r} cannot be the name of an attribute to teach; use 1 to 60 letters, digits, _ or -"
        )
    if name not in before and len(before) >= MAX_FACETS:
        raise LimitExceeded(f"the collection {collection!r} was taught {len(before)} attributes, which is the most")
    if not before and taught.has_own(session, collection_id):
        raise TaughtTaken(
            f"items of {collection!r} have an attribute 'taught' of their own, which is never written over; rename it"
        )


def _check_keys(session: Session, collection_id: int, collection: str, examples: Sequence[Example]) -> None:
    """Raises `ItemNotFound`."""
    keys = [example.key for example in examples if example.key is not None]
    known = items.ids_of_keys(session, collection_id, keys)
    missing = [key for key in keys if key not in known]
    if missing:
        more = f" and {len(missing) - 1} more of the examples" if len(missing) > 1 else ""
        raise ItemNotFound(f"the collection {collection!r} has no item {missing[0]!r}{more}")


def _merged(before: Sequence[Example], changes: Sequence[tuple[Example, bool]]) -> tuple[Example, ...]:
    """The examples with changes made; an item or a caption has one label, the newest."""
    merged = {(example.key, example.caption): example for example in before}
    for example, is_removed in changes:
        merged.pop((example.key, example.caption), None)
        if not is_removed:
            merged[example.key, example.caption] = example
    if len(merged) > MAX_EXAMPLES:
        raise LimitExceeded(f"there are {len(merged):,} examples; the most is {MAX_EXAMPLES:,}")
    return tuple(merged.values())


def kind_of(examples: Sequence[Example]) -> Kind:
    """What the labels are. Raises `BadInput` if they are of several kinds, too long or too many."""
    labels = [example.label for example in examples]
    if all(isinstance(label, bool) for label in labels):
        return Kind.YES_NO
    if all(isinstance(label, int | float) and not isinstance(label, bool) for label in labels):
        if any(example.caption is not None for example in examples):
            raise BadInput("a caption cannot be an example of a number; label items")
        if all(math.isfinite(label) for label in labels if isinstance(label, int | float)):
            return Kind.NUMBER
    elif all(isinstance(label, str) and 1 <= len(label) <= _MAX_LABEL for label in labels):
        if len(set(labels)) > MAX_CLASSES:
            raise LimitExceeded(f"the labels name {len(set(labels))} classes; the most is {MAX_CLASSES}")
        return Kind.CLASSES
    raise BadInput(
        f"the labels are of several kinds; give either true and false, or finite numbers, or names of classes of "
        f"1 to {_MAX_LABEL} characters"
    )


def _learn(
    session: Session, head: Head, name: str, examples: tuple[Example, ...], load_embedder: LoadEmbedder
) -> TaughtFacet:
    """The facet in the space where held-out examples have the lowest loss; of equals, that of most dimensions."""
    kind = kind_of(examples)
    has_captions = any(example.caption is not None for example in examples)
    embedder = load_embedder() if has_captions else None
    fits: list[tuple[float, int, TaughtFacet]] = []
    for space in head.spaces:
        if embedder is not None and not embedder.spaces[space.name].knows(_CAPTION):
            continue
        mean = collections.centre_of(session, space.id)
        fit = _fit(session, head, space, mean, kind, examples, embedder)
        of_space = (space.name, space.fingerprint, fit.method, fit.rule, mean, space.blocks, fit.held_out)
        fits.append((fit.loss, -space.dimension, TaughtFacet(name, kind, examples, *of_space)))
    return min(fits, key=lambda each: each[:2])[2]


def _fit(
    session: Session,
    head: Head,
    space: SpaceHead,
    mean: FloatArray,
    kind: Kind,
    examples: Sequence[Example],
    embedder: Embedder | None,
) -> Fit:
    labels = {example.key: example.label for example in examples if example.key is not None}
    ids = items.ids_of_keys(session, head.id, list(labels))
    stored = raw_vectors(session, head, space, list(ids.values()))
    usable = {key: stored[item_id] for key, item_id in ids.items() if item_id in stored}
    rows = centre(np.stack(list(usable.values())), mean, space.blocks) if usable else _no_rows(space)
    if kind is Kind.NUMBER:
        numbers = [float(labels[key]) for key in usable]
        if len(set(numbers)) < 2:
            raise NothingToLearn("a number is learned from at least two items with different labels")
        return fit_number(numbers, rows)
    names = [_class_name(labels[key]) for key in usable]
    captions = [example for example in examples if example.caption is not None]
    if embedder is not None:
        rows = np.concatenate([rows, _caption_rows(embedder, space, [each.caption or "" for each in captions])])
    names += [_class_name(each.label) for each in captions]
    is_counted = np.arange(len(names)) < len(usable)
    is_assumed = kind is Kind.YES_NO and set(names) == {"yes"}
    if is_assumed:
        others = _background(session, head, space, mean, set(ids.values()))
        rows, names = np.concatenate([rows, others]), names + ["no"] * len(others)
        is_counted = np.concatenate([is_counted, np.ones(len(others), bool)])
    if len(set(names)) < 2:
        raise NothingToLearn(
            "at least two classes need an example; label an item of another class"
            if kind is Kind.CLASSES
            else "the examples do not say what is true; label an item with yes"
        )
    fit = fit_classes(kind, names, rows, is_counted)
    return replace(fit, held_out=None) if is_assumed else fit


def _class_name(label: Label) -> str:
    return label if isinstance(label, str) else "yes" if label else "no"


def _caption_rows(embedder: Embedder, space: SpaceHead, captions: Sequence[str]) -> FloatArray:
    """Centred rows (n, d) of captions, as a query by words has them."""
    raw = embedder.embed([Sample({_CAPTION: caption}) for caption in captions], [space.name])[space.name]
    return centre_queries(embedder.spaces[space.name], [_CAPTION], raw)


def _background(session: Session, head: Head, space: SpaceHead, mean: FloatArray, examples: set[int]) -> FloatArray:
    """Rows of items that are no examples, drawn with a fixed seed."""
    drawn = [item_id for item_id in listing.sample_ids(session, head.id, _BACKGROUND) if item_id not in examples]
    vectors = list(raw_vectors(session, head, space, drawn).values())
    return centre(np.stack(vectors), mean, space.blocks) if vectors else _no_rows(space)


def _centred(session: Session, head: Head, facet: TaughtFacet, ids: Sequence[int]) -> tuple[list[int], FloatArray]:
    """Those of `ids` that have a vector, in their order, and their rows (n, d) as the facet sees them."""
    for space in head.spaces:
        if space.name == facet.space and space.fingerprint == facet.fingerprint:
            vectors = raw_vectors(session, head, space, ids)
            usable = [item_id for item_id in ids if item_id in vectors]
            if usable:
                rows = np.stack([vectors[item_id] for item_id in usable])
                return usable, centre(rows, facet.mean, facet.blocks)
    return [], np.empty((0, len(facet.mean)), np.float32)


def _no_rows(space: SpaceHead) -> FloatArray:
    return np.empty((0, space.dimension), np.float32)
