"""Taught facets: attributes learned from examples, and their values below `taught` in the items' attributes.

Items written later get their values in the same transaction as their vectors. Values are derived: they do not raise an
item's revision, so neither a re-embedding nor a client that sends a version sees a change.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import item_rows, log
from anyseek.search.catalogue.derived_tables import FACETS, is_below
from anyseek.search.catalogue.tables import FacetRow, ItemRow, TaughtRow
from anyseek.search.catalogue.values import from_bytes, now, to_bytes, utc
from anyseek.search.errors import Conflict, NotFound
from anyseek.search.spaces.base import centre
from anyseek.search.taught.learning import HeldOut, Kind, Label, Rule
from anyseek.search.types import TAUGHT, Attributes, Collection, Item, NewItem, Space

Value = dict[str, Any]
_DIGITS = 3  # of probabilities
_PRECISION = 5  # significant digits of numbers


class TaughtNotFound(NotFound):
    code = "taught-not-found"


class TaughtTaken(Conflict):
    """Items have an attribute `taught` of their own, which would be overwritten."""

    code = "taught-taken"


@dataclass(frozen=True)
class Example:
    """A labelled item, by its key, or a labelled caption."""

    label: Label
    key: str | None = None
    caption: str | None = None


@dataclass(frozen=True)
class TaughtFacet:
    """An attribute learned from `examples` in the space `space` while it had this `fingerprint`.

    `rule` takes unit vectors centred on `mean` (d,). `held_out` is its error, None where it cannot be known. Items up
    to `applied_id` have their values, all of them where it is None.
    """

    name: str
    kind: Kind
    examples: tuple[Example, ...]
    space: str
    fingerprint: str
    method: str
    rule: Rule
    mean: FloatArray
    blocks: tuple[int, ...]
    held_out: HeldOut | None
    made_at: datetime | None = None
    version: int = 0
    applied_id: int | None = 0

    @property
    def is_forgotten(self) -> bool:
        """Whether its values are being removed, and then itself."""
        return not self.examples

    @property
    def labels(self) -> dict[str, Label]:
        """The labels of the items among the examples, by key."""
        return {example.key: example.label for example in self.examples if example.key is not None}

    def space_in(self, collection: Collection) -> Space | None:
        """The serving space that it was learned from; None if the collection has other vectors, or it is forgotten."""
        space = collection.spaces.get(self.space)
        fits = space is not None and space.fingerprint == self.fingerprint and not self.is_forgotten
        return space if fits else None

    def values(self, keys: Sequence[str], vectors: FloatArray) -> list[Value]:
        """The value of each item (key and raw vector (n, d)) as its attributes have it; an example has its label."""
        labels, outputs = self.labels, self.rule.outputs(centre(vectors, self.mean, self.blocks))
        return [
            _of_label(self.kind, labels[key]) if key in labels else _of_output(self.rule, output)
            for key, output in zip(keys, outputs.tolist(), strict=True)
        ]


def list_all(session: Session, collection_id: int) -> list[TaughtFacet]:
    """The taught facets of a collection, by name."""
    rows = session.scalars(
        select(TaughtRow)
        .where(TaughtRow.collection_id == collection_id)
        .order_by(TaughtRow.name)
        .execution_options(populate_existing=True)
    )
    return [_facet(row) for row in rows]


def get(session: Session, collection: Collection, name: str) -> TaughtFacet:
    """The taught facet called `name`. Raises `TaughtNotFound`."""
    for facet in list_all(session, collection.id):
        if facet.name == name:
            return facet
    raise TaughtNotFound(f"the collection {collection.name!r} was not taught {name!r}; anyseek facets list names all")


def store(session: Session, collection_id: int, facet: TaughtFacet) -> None:
    """Insert or replace a facet, to be applied to all items from the first on."""
    version = session.scalar(select(TaughtRow.version).where(*_named(collection_id, facet.name)))
    values = {
        "kind": facet.kind.value,
        "examples": [
            {name: value for name, value in asdict(each).items() if value is not None} for each in facet.examples
        ],
        "space": facet.space,
        "fingerprint": facet.fingerprint,
        "method": facet.method,
        "labels": list(facet.rule.labels),
        "weights": to_bytes(facet.rule.weights),
        "bias": to_bytes(facet.rule.bias),
        "mean": to_bytes(facet.mean),
        "blocks": list(facet.blocks),
        "held_out": None if facet.held_out is None else asdict(facet.held_out),
        "made_at": now(),
        "version": (version or 0) + 1,
        "applied_id": 0,
    }
    if version is None:
        session.execute(insert(TaughtRow).values(collection_id=collection_id, name=facet.name, **values))
    else:
        session.execute(update(TaughtRow).where(*_named(collection_id, facet.name)).values(**values))


def forget(session: Session, collection_id: int, name: str) -> None:
    """Drop the examples of a facet; `apply_page` then removes its values, and itself after the last."""
    dropped = {"examples": [], "version": TaughtRow.version + 1, "applied_id": 0}
    session.execute(update(TaughtRow).where(*_named(collection_id, name)).values(**dropped))


def has_own(session: Session, collection_id: int) -> bool:
    """Whether items have an attribute `taught` of their own, while nothing was taught."""
    below = is_below(TAUGHT)
    query = select(FacetRow.id).where(FacetRow.collection_id == collection_id, (FacetRow.path == TAUGHT) | below)
    return not list_all(session, collection_id) and session.scalar(query.limit(1)) is not None


def apply_page(session: Session, collection: Collection, facet: TaughtFacet, limit: int) -> bool:
    """Bring the next `limit` items that `facet` was not applied to up to date; return whether there may be more.

    The caller holds the collection's lock, under which it has read the facet.
    """
    above = (item_rows.in_collection(collection.id), ItemRow.id > (facet.applied_id or 0))
    ids = list(session.scalars(select(ItemRow.id).where(*above).order_by(ItemRow.id).limit(limit)))
    items = [item for item in item_rows.read_by_ids(session.connection(), ids) if not item.damaged]
    values = dict(_values_of(session, collection, facet, items))
    updated = [replace(item, attributes=_with(item.attributes, {facet.name: values.get(item.id)})) for item in items]
    changed = [new for new, item in zip(updated, items, strict=True) if new.attributes != item.attributes]
    item_rows.store_attributes(session, collection.id, changed)
    FACETS.replace_below(session, collection.id, changed, TAUGHT)
    entries = [log.NewEntry(log.PAYLOAD, item.id, item.revision) for item in changed]
    log.append(session, collection.id, log.lock(session, collection.id), entries)
    of_facet = _named(collection.id, facet.name)
    if len(ids) == limit or not facet.is_forgotten:
        session.execute(update(TaughtRow).where(*of_facet).values(applied_id=ids[-1] if len(ids) == limit else None))
    else:
        session.execute(delete(TaughtRow).where(*of_facet))
    return len(ids) == limit


def doubtful_ids(session: Session, collection_id: int, facet: TaughtFacet, limit: int) -> list[int]:
    """The ids of items whose value is least certain, the most doubtful first; none of a number, which has no doubt."""
    doubts = {Kind.YES_NO: ("yes", func.abs(FacetRow.number - 0.5)), Kind.CLASSES: ("confidence", FacetRow.number)}
    if facet.kind not in doubts:
        return []
    name, doubt = doubts[facet.kind]
    of_path = (FacetRow.collection_id == collection_id, FacetRow.path == f"{TAUGHT}.{facet.name}.{name}")
    query = select(FacetRow.item_id).where(*of_path, FacetRow.number.is_not(None))
    return list(session.scalars(query.order_by(doubt, FacetRow.item_id).limit(limit)))


def with_values(session: Session, collection: Collection, new_items: Sequence[NewItem]) -> Sequence[NewItem]:
    """The items to write, with the values that follow from their vectors in place of any that they have."""
    facets = list_all(session, collection.id)
    if not facets or not new_items:
        return new_items
    attributes: list[Attributes] = [{**new.attributes, TAUGHT: {}} for new in new_items]
    for facet in facets:
        if facet.space_in(collection) is not None:
            vectors = np.stack([new.vectors[facet.space] for new in new_items])
            values = facet.values([new.key for new in new_items], vectors)
            attributes = [_with(own, {facet.name: value}) for own, value in zip(attributes, values, strict=True)]
    return [replace(new, attributes=_with(own, {})) for new, own in zip(new_items, attributes, strict=True)]


def keep_values(session: Session, collection: Collection, before: Attributes, after: Attributes) -> Attributes:
    """Changed attributes with the taught values of those before, which only forgetting the facet removes."""
    if TAUGHT not in before or not list_all(session, collection.id):
        return after
    return _with({**after, TAUGHT: before[TAUGHT]}, {})


def _values_of(
    session: Session, collection: Collection, facet: TaughtFacet, items: Sequence[Item]
) -> Iterator[tuple[int, Value]]:
    """The ids and values of those items that have a usable vector in the facet's space."""
    space, by_id = facet.space_in(collection), {item.id: item for item in items}
    if space is None:
        return
    for page in log.latest_vectors(session, collection.id, space.id, list(by_id)):
        ids, vectors = page.of(space.fingerprint, space.dimension)
        yield from zip(
            ids.tolist(), facet.values([by_id[item_id].key for item_id in ids.tolist()], vectors), strict=True
        )


def _with(attributes: Attributes, values: Mapping[str, Value | None]) -> Attributes:
    """The attributes with some values set, or removed where they are None.

    The taught ones come last, so that in an item with too many facets they are the ones left out of the index.
    """
    others = {name: value for name, value in attributes.items() if name != TAUGHT}
    merged = {**attributes.get(TAUGHT, {}), **values}
    taught = {name: merged[name] for name in sorted(merged) if merged[name] is not None}
    return {**others, TAUGHT: taught} if taught else others


def _of_output(rule: Rule, output: list[float]) -> Value:
    if rule.kind is Kind.NUMBER:
        return {"value": float(f"{output[0]:.{_PRECISION}g}")}
    if rule.kind is Kind.YES_NO:
        return {"value": output[1] >= 0.5, "yes": round(output[1], _DIGITS)}
    confidence = max(output)
    return {"value": rule.labels[output.index(confidence)], "confidence": round(confidence, _DIGITS)}


def _of_label(kind: Kind, label: Label) -> Value:
    if kind is Kind.NUMBER:
        return {"value": label}
    return {"value": label, "yes": float(bool(label))} if kind is Kind.YES_NO else {"value": label, "confidence": 1.0}


def _named(collection_id: int, name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return TaughtRow.collection_id == collection_id, TaughtRow.name == name


def _facet(row: TaughtRow) -> TaughtFacet:
    mean, bias = from_bytes(row.mean), from_bytes(row.bias)
    rule = Rule(Kind(row.kind), tuple(row.labels), from_bytes(row.weights).reshape(len(bias), len(mean)), bias)
    return TaughtFacet(
        row.name,
        rule.kind,
        tuple(Example(**example) for example in row.examples),
        row.space,
        row.fingerprint,
        row.method,
        rule,
        mean,
        tuple(row.blocks),
        None if row.held_out is None else HeldOut(**row.held_out),
        utc(row.made_at),
        row.version,
        row.applied_id,
    )
