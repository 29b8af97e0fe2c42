"""Answering queries: parts to vectors in one model pass, vectors to ids in a live index, ids to items."""

import shutil
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from model.embedder import Embedder, FloatArray
from search.catalogue import collections, items
from search.catalogue.collections import Head, SpaceHead, SpaceState
from search.catalogue.session import Database
from search.errors import AnyseekError, CollectionNotFound, LimitExceeded
from search.filters.tree import Filter
from search.live_space import LiveSpace, Resolved, View
from search.opening import SpaceOpener
from search.planning import Plan, plan
from search.query_vectors import ItemVectors, ValueVectors, embed_values, fuse_parts, raw_item_vectors
from search.settings import Settings
from search.snapshot_writer import write_snapshots
from search.types import Hit, Item, Query, Results

# An item may be deleted between the search and the reading of its row; then the search is done again.
ATTEMPTS = 3

Answer = Results | AnyseekError
Scores = list[tuple[int, float]]  # item ids with their scores, best first


class SearchEngine:
    """Queries over all collections of one catalogue with one model. Safe for many threads.

    Each query first looks at the catalogue for new log entries, so what another process had written by then is found.
    """

    def __init__(
        self, database: Database, settings: Settings, embedder: Embedder, open_space: SpaceOpener | None = None
    ) -> None:
        self.embedder = embedder
        self._database = database
        self._settings = settings
        self._open = open_space or SpaceOpener(database, settings)
        self._indexes: dict[int, tuple[str, LiveSpace]] = {}  # by space id, with the collection's name
        self._opening = threading.Lock()

    def query(self, collection: str, query: Query) -> Results:
        """The `k` nearest items, fewer only when the collection has fewer that pass; an item is a hit of itself.

        Raises `CollectionNotFound`, `BadQuery`, `LimitExceeded`, `SpaceNotFound`, `ItemNotFound`,
        `FingerprintMismatch` if the collection was made by other weights, `StoreCorrupt` if an item lost its vector.
        """
        answer = self.query_batch(collection, [query])[0]
        if isinstance(answer, AnyseekError):
            raise answer
        return answer

    def query_batch(self, collection: str, queries: Sequence[Query]) -> list[Answer]:
        """Answers in the order of `queries`, an error in the place of each that has one; one model pass for all.

        Raises `CollectionNotFound`, and `LimitExceeded` for too many queries.
        """
        most = self._settings.limits.queries_per_batch
        if len(queries) > most:
            raise LimitExceeded(f"the batch has {len(queries)} queries; the most is {most}")
        head = self._head(collection)
        answers: dict[int, Answer] = {}
        plans: dict[int, Plan] = {}
        for number, query in enumerate(queries):
            try:
                plans[number] = plan(query, head, self.embedder, self._settings.limits)
            except AnyseekError as error:
                answers[number] = error
        values = embed_values(self.embedder, plans)
        answers.update(self._answer(head, plans, values))
        return [answers[number] for number in range(len(queries))]

    def counts(self, collection: str) -> dict[str, int]:
        """How many vectors are searchable in each space. Raises `CollectionNotFound`."""
        head = self._head(collection)
        counted = {}
        for space in head.spaces:
            index = self._space_index(head, space)
            index.refresh(head)
            with index.reading({}) as view:
                counted[space.name] = view.index.count()
        return counted

    def write_snapshots(self, collection: str, minimum_tail: int = 1) -> bool:
        """See `search.snapshot_writer`; call it when a job has ended and now and then while items are put."""
        return write_snapshots(self._database, self._settings, collection, self._space_index, minimum_tail)

    def forget(self, collection: str) -> None:
        """Let go of the collection's indexes in memory; snapshots of collections that are gone are removed."""
        with self._opening:
            self._indexes = {key: held for key, held in self._indexes.items() if held[0] != collection}
        folders = [path for path in self._settings.indexes.glob("*") if path.name.isdigit()]
        with self._database.read() as session:
            known = collections.ids(session)
        for folder in folders:
            if int(folder.name) not in known:
                shutil.rmtree(folder, ignore_errors=True)
        self._open.forget_unknown()

    def close(self) -> None:
        """Let go of an index outside this process, such as Qdrant's."""
        self._open.close()

    def _head(self, collection: str) -> Head:
        with self._database.read() as session:
            return collections.head(session, collection)

    def _space_index(self, head: Head, space: SpaceHead) -> LiveSpace:
        with self._opening:
            if space.id not in self._indexes:
                self._let_go_of_dropped(head)
                self._indexes[space.id] = (head.name, self._open(head, space))
            return self._indexes[space.id][1]

    def _let_go_of_dropped(self, head: Head) -> None:
        """Of a collection that was switched to another model only what it still has stays in memory."""
        held = {space.id for space in (*head.spaces, *head.beside) if space.state != SpaceState.KEPT}
        self._indexes = {key: one for key, one in self._indexes.items() if one[0] != head.name or key in held}

    def _answer(self, head: Head, plans: Mapping[int, Plan], values: ValueVectors) -> dict[int, Answer]:
        by_space: dict[SpaceHead, dict[int, Plan]] = defaultdict(dict)
        for number, planned in plans.items():
            by_space[planned.space][number] = planned
        answers: dict[int, Answer] = {}
        for space, group in by_space.items():
            for attempt in range(ATTEMPTS):
                found = self._search(head if attempt == 0 else self._head_again(head), space, group, values)
                held = self._items(found)
                if all(item_id in held for item_id in _ids(found)):
                    break
            for number, outcome in found.items():
                answers[number] = (
                    outcome if isinstance(outcome, AnyseekError) else _results(outcome, held, group[number])
                )
        return answers

    def _search(
        self, head: Head, space: SpaceHead, plans: Mapping[int, Plan], values: ValueVectors
    ) -> dict[int, Scores | AnyseekError]:
        """Nearest ids of each query of one space, as of `head` or later; or why there are none."""
        index = self._space_index(head, space)
        keys = {part.item for planned in plans.values() for part in planned.parts if part.item is not None}
        filters = {planned.where for planned in plans.values() if planned.where is not None}
        stored: ItemVectors = {}
        resolved: Resolved = {}
        if keys or filters:
            with self._database.read() as session:
                head = _same(head, collections.head(session, head.name))
                stored = raw_item_vectors(session, head, space, keys)
                resolved = index.resolve(session, head, filters)
        index.refresh(head)
        vectors: dict[int, FloatArray] = {}
        errors: dict[int, AnyseekError] = {}
        with index.reading(resolved) as view:
            for number, planned in plans.items():
                try:
                    vectors[number] = fuse_parts(planned, values.get(number, {}), stored, view.centre)
                except AnyseekError as error:
                    errors[number] = error
            return {**_nearest(view, plans, vectors), **errors}

    def _head_again(self, before: Head) -> Head:
        return _same(before, self._head(before.name))

    def _items(self, found: Mapping[int, Scores | AnyseekError]) -> dict[int, Item]:
        with self._database.read() as session:
            return items.by_ids(session, _ids(found))


def _same(before: Head, now: Head) -> Head:
    """`now`, if it is of the same collection. Raises `CollectionNotFound` if another has its name."""
    if now.id != before.id:
        raise CollectionNotFound(f"the collection {before.name!r} was deleted meanwhile")
    return now


def _nearest(view: View, plans: Mapping[int, Plan], vectors: Mapping[int, FloatArray]) -> dict[int, Scores]:
    """(id, score) of the hits of each query; queries of the same k and filter are searched together."""
    alike: dict[tuple[int, Filter | None], list[int]] = defaultdict(list)
    for number in vectors:
        alike[plans[number].k, plans[number].where].append(number)
    found: dict[int, Scores] = {}
    for (k, where), numbers in alike.items():
        ids, scores = view.search(np.stack([vectors[number] for number in numbers]), k, where)
        for row, number in enumerate(numbers):
            found[number] = list(zip(ids[row].tolist(), scores[row].tolist(), strict=True))
    return found


def _ids(found: Mapping[int, Scores | AnyseekError]) -> list[int]:
    return [item_id for scores in found.values() if isinstance(scores, list) for item_id, _ in scores]


def _results(scores: Scores, held: Mapping[int, Item], planned: Plan) -> Results:
    """Hits with ranks from 1 on; a score that rounding has put outside [-1, 1] is put back."""
    alive = [(held[item_id], score) for item_id, score in scores if item_id in held]
    hits = [Hit(item, min(1.0, max(-1.0, score)), rank) for rank, (item, score) in enumerate(alive, 1)]
    return Results(tuple(hits), planned.space.name, planned.fusion if len(planned.parts) > 1 else None)
