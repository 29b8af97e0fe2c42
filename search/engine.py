"""Answering queries: parts to vectors in one model pass, vectors to ids in a live index, ids to items."""

import threading
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from model.seam import Embedder, FloatArray
from search.catalogue import checks, collections, facets, fields, tunings, words
from search.catalogue.collections import Head, SpaceHead, SpaceState
from search.catalogue.heads import Heads
from search.catalogue.item_cache import ItemCache
from search.catalogue.session import Database
from search.errors import AnyseekError, CollectionNotFound, LimitExceeded
from search.filters.tree import And, Exists, Filter
from search.metrics import Stage, timed
from search.queries import (
    ItemVectors,
    Plan,
    Tuned,
    TunedSpaces,
    ValueVectors,
    embed_values,
    fuse_parts,
    plan,
    raw_item_vectors,
    raw_vectors,
)
from search.ranking import Chosen, Scores, fused, groups, page
from search.settings import Settings
from search.spaces.base import Backend, LiveSpace, Resolved, View
from search.spaces.opening import open_backend
from search.types import GroupValue, Hit, Item, Query, Results
from search.upkeep import write_snapshots

# An item may be deleted between the search and the reading of its row; then the search is repeated.
ATTEMPTS = 3

Answer = Results | AnyseekError
Found = dict[int, Scores | AnyseekError]  # by the number of the query
Choice = dict[int, list[Chosen] | AnyseekError]
# How many times as many items are looked at where those before are in too few groups.
_DEEPER = 8


class SearchEngine:
    """Queries over all collections of one catalogue with one model. Safe for many threads.

    Each query first reads new log entries from the catalogue, so it finds what other processes wrote before it.
    """

    def __init__(
        self, database: Database, settings: Settings, embedder: Embedder, backend: Backend | None = None
    ) -> None:
        """`backend` replaces the one of the settings; `close` closes it."""
        self.embedder = embedder
        self._database = database
        self._settings = settings
        self._backend = backend or open_backend(database, settings)
        self._spaces: dict[int, tuple[str, LiveSpace]] = {}  # by id, with the collection's name
        self._tunings: dict[int, tuple[int, Tuned]] = {}  # by the space's id, with the version
        self._opening = threading.Lock()
        self._heads = Heads(database)
        self._items = ItemCache(database, settings.limits.item_cache_bytes)

    def query(self, collection: str, query: Query) -> Results:
        """The `k` nearest items, or fewer if fewer pass the filter; an item of the query can be a hit itself.

        Raises `CollectionNotFound`, `BadQuery`, `LimitExceeded`, `SpaceNotFound`, `ItemNotFound`,
        `FingerprintMismatch` if the collection was made by other weights, `StoreCorrupt` if an item lost its vector.
        """
        answer = self.query_batch(collection, [query])[0]
        if isinstance(answer, AnyseekError):
            raise answer
        restricting = [query.where] if query.where is not None else []
        if query.group_by is not None:
            restricting.append(Exists(query.group_by))
        if restricting and len(answer.hits) < query.k and answer.note is None:
            return replace(answer, note=self._note(collection, And(tuple(restricting))))
        return answer

    def query_batch(self, collection: str, queries: Sequence[Query]) -> list[Answer]:
        """Answer many queries in one model pass, in order; a query that fails has its error in place of its answer.

        Raises `CollectionNotFound`, and `LimitExceeded` for too many queries.
        """
        most = self._settings.limits.queries_per_batch
        if len(queries) > most:
            raise LimitExceeded(f"the batch has {len(queries)} queries; the most is {most}")
        head = self._heads.get(collection)
        answers: dict[int, Answer] = {}
        plans: dict[int, Plan] = {}
        for number, query in enumerate(queries):
            try:
                plans[number] = plan(query, head, self.embedder, self._settings.limits)
            except AnyseekError as error:
                answers[number] = error
        values = embed_values(self.embedder, plans, self._tuned({planned.space for planned in plans.values()}))
        answers.update(self._answer(head, plans, values))
        self._add_vectors(head, plans, answers)
        return [answers[number] for number in range(len(queries))]

    def counts(self, collection: str) -> dict[str, int]:
        """The number of searchable vectors in each space. Raises `CollectionNotFound`."""
        head = self._heads.get(collection)
        counted = {}
        for space in head.spaces:
            live = self._live_space(head, space)
            live.refresh(head)
            with live.reading() as view:
                counted[space.name] = view.count()
        return counted

    def write_snapshots(self, collection: str, minimum_tail: int = 1) -> bool:
        """See `search.upkeep`; call it after each job, and from time to time while items are put."""
        return write_snapshots(self._database, self._settings, collection, self._live_space, minimum_tail)

    def forget(self, collection: str) -> None:
        """Release the collection's spaces, and remove the backend's data of deleted collections."""
        with self._opening:
            self._spaces = {key: held for key, held in self._spaces.items() if held[0] != collection}
            self._tunings = {}
        self._heads.forget()
        self._items.forget()
        self._backend.remove_unknown()

    def close(self) -> None:
        """Close the connection to an external index, such as Qdrant's."""
        self._backend.close()

    def _note(self, collection: str, where: Filter) -> str | None:
        """What is odd about a filter that few items pass."""
        with self._database.read() as session:
            return fields.note(session, collections.head(session, collection).id, where)

    def _tuned(self, spaces: Collection[SpaceHead]) -> TunedSpaces:
        """The means that were fitted on collections, by the id of the space; read when they have changed."""
        for space in spaces:
            if space.tuning_version and self._tunings.get(space.id, (0,))[0] != space.tuning_version:
                with self._database.read() as session:
                    found = tunings.of_space(session, space.id, space.fingerprint)
                self._tunings[space.id] = space.tuning_version, {tuning.modality: tuning.mean for tuning in found}
        return {space.id: self._tunings[space.id][1] for space in spaces if space.tuning_version}

    def _live_space(self, head: Head, space: SpaceHead) -> LiveSpace:
        with self._opening:
            if space.id not in self._spaces:
                self._let_go_of_dropped(head)
                self._spaces[space.id] = (head.name, self._backend.open(head, space))
            return self._spaces[space.id][1]

    def _let_go_of_dropped(self, head: Head) -> None:
        """Release the spaces that a collection has lost by a switch to another model."""
        kept = {space.id for space in (*head.spaces, *head.beside) if space.state != SpaceState.KEPT}
        self._spaces = {key: held for key, held in self._spaces.items() if held[0] != head.name or key in kept}

    def _answer(self, head: Head, plans: Mapping[int, Plan], values: ValueVectors) -> dict[int, Answer]:
        by_space: dict[SpaceHead, dict[int, Plan]] = defaultdict(dict)
        for number, planned in plans.items():
            by_space[planned.space][number] = planned
        answers: dict[int, Answer] = {}
        for space, group in by_space.items():
            for attempt in range(ATTEMPTS):
                now = head if attempt == 0 else self._head_again(head)
                found, lacking, seen = self._found(now, space, group, values)
                chosen = self._chosen(now, space, group, values, found)
                ids = _ids(chosen)
                held = self._items.get(seen, ids)
                if gone := [item_id for item_id in ids if item_id not in held]:
                    continue
                break
            vanished = self._vanished(head, gone)
            for number, outcome in chosen.items():
                if isinstance(outcome, AnyseekError):
                    answers[number] = outcome
                    continue
                results = _results(outcome, held, group[number], lacking, vanished)
                note = results.note or _score_note(group[number], found[number])
                answers[number] = replace(results, note=note)
        return answers

    def _found(
        self, head: Head, space: SpaceHead, plans: Mapping[int, Plan], values: ValueVectors
    ) -> tuple[Found, int, Head]:
        """As `_search`, with what words find fused in."""
        of_parts = {number: planned for number, planned in plans.items() if planned.parts}
        found, lacking, seen = self._search(head, space, of_parts, values) if of_parts else ({}, 0, head)
        for number, planned in plans.items():
            by_parts = found.get(number, [])
            if planned.words and not isinstance(by_parts, AnyseekError):
                found[number] = self._with_words(head, planned, by_parts)
        return found, lacking, seen

    def _with_words(self, head: Head, planned: Plan, by_parts: Scores) -> Scores:
        """What parts and words find, each as deep as the plan says, fused by reciprocal rank."""
        ranks = [(item_id, rank) for rank, (item_id, _) in enumerate(by_parts, 1)]
        lists: list[tuple[float, list[tuple[int, int]]]] = [(1.0, ranks)] if planned.parts else []
        with self._database.read() as session:
            for asked in planned.words:
                ranked = words.ranked(session, head.id, asked.text, planned.where, planned.depth)
                lists.append((asked.weight, ranked))
        return fused(lists)

    def _chosen(
        self, head: Head, space: SpaceHead, plans: Mapping[int, Plan], values: ValueVectors, found: Found
    ) -> Choice:
        """Those of the items found that become hits, by the number of the query."""
        chosen: Choice = {}
        for number, scores in found.items():
            planned = plans[number]
            if isinstance(scores, AnyseekError):
                chosen[number] = scores
            elif planned.group_by is None:
                chosen[number] = page(scores, planned)
            else:
                chosen[number] = self._groups(head, space, number, planned, values, scores)
        return chosen

    def _groups(
        self, head: Head, space: SpaceHead, number: int, planned: Plan, values: ValueVectors, scores: Scores
    ) -> list[Chosen] | AnyseekError:
        """The best items of the best groups, exactly: as many items are looked at as that takes."""
        assert planned.group_by is not None
        known: dict[int, list[GroupValue]] = {}
        while True:
            new = [item_id for item_id, _ in scores if item_id not in known]
            with self._database.read() as session:
                known |= {item_id: [] for item_id in new}
                known |= facets.values_of(session, head.id, planned.group_by, new)
            chosen, complete = groups(scores, known, planned)
            if complete or planned.words or len(scores) < planned.depth:
                return chosen
            planned = replace(planned, depth=_DEEPER * planned.depth)
            found = self._search(self._head_again(head), space, {number: planned}, values)[0][number]
            if isinstance(found, AnyseekError):
                return found
            scores = found

    def _search(
        self, head: Head, space: SpaceHead, plans: Mapping[int, Plan], values: ValueVectors
    ) -> tuple[Found, int, Head]:
        """The nearest ids of each query of one space, as of `head` or later, or the error of that query.

        Also how many items the index lacks because their vectors are damaged, and the head that filters were read at.
        """
        live = self._live_space(head, space)
        keys = {part.item for planned in plans.values() for part in planned.parts if part.item is not None}
        filters = {planned.where for planned in plans.values() if planned.where is not None}
        stored: ItemVectors = {}
        resolved: Resolved = {}
        if keys or filters:
            with self._database.read() as session:
                head = _same(head, collections.head(session, head.name))
                stored = raw_item_vectors(session, head, space, keys)
                resolved = live.resolve(session, head, filters)
        with timed(Stage.INDEX):
            live.refresh(head)
            with live.reading(resolved) as view:
                vectors, errors = _fused(plans, values, stored, view.centre)
                return {**_nearest(view, plans, vectors), **errors}, view.lacking, head

    def _head_again(self, before: Head) -> Head:
        return _same(before, self._heads.get(before.name))

    def _add_vectors(self, head: Head, plans: Mapping[int, Plan], answers: dict[int, Answer]) -> None:
        """Give the hits of queries that ask for it their items' vectors; a damaged vector is left out."""
        for number, planned in plans.items():
            results = answers[number]
            if not planned.vectors or isinstance(results, AnyseekError) or not results.hits:
                continue
            with self._database.read() as session:
                vectors = raw_vectors(session, head, planned.space, [hit.item.id for hit in results.hits])
            hits = tuple(replace(hit, vector=vectors.get(hit.item.id)) for hit in results.hits)
            answers[number] = replace(results, hits=hits)

    def _vanished(self, head: Head, gone: Sequence[int]) -> set[int]:
        """Those of `gone` that were never deleted: their rows are damaged."""
        if not gone:
            return set()
        with self._database.read() as session:
            return set(checks.vanished_items(session, head, gone))


def _same(before: Head, now: Head) -> Head:
    """`now`, if it belongs to the same collection. Raises `CollectionNotFound` if another collection has its name."""
    if now.id != before.id:
        raise CollectionNotFound(f"the collection {before.name!r} has been deleted in the meantime")
    return now


def _fused(
    plans: Mapping[int, Plan], values: ValueVectors, stored: ItemVectors, mean: FloatArray
) -> tuple[dict[int, FloatArray], dict[int, AnyseekError]]:
    """The vector of each query, or its error."""
    vectors: dict[int, FloatArray] = {}
    errors: dict[int, AnyseekError] = {}
    for number, planned in plans.items():
        try:
            vectors[number] = fuse_parts(planned, values.get(number, {}), stored, mean)
        except AnyseekError as error:
            errors[number] = error
    return vectors, errors


def _nearest(view: View, plans: Mapping[int, Plan], vectors: Mapping[int, FloatArray]) -> dict[int, Scores]:
    """(id, score) of the hits of each query; queries that look as deep with the same filter are searched together."""
    alike: dict[tuple[int, Filter | None], list[int]] = defaultdict(list)
    for number in vectors:
        alike[plans[number].depth, plans[number].where].append(number)
    found: dict[int, Scores] = {}
    for (depth, where), numbers in alike.items():
        ids, scores = view.search(np.stack([vectors[number] for number in numbers]), depth, where)
        for row, number in enumerate(numbers):
            clipped = np.clip(scores[row], -1, 1)  # rounding moves some outside
            found[number] = list(zip(ids[row].tolist(), clipped.tolist(), strict=True))
    return found


def _ids(chosen: Choice) -> list[int]:
    """The ids of all hits, each once."""
    some = (outcome for outcome in chosen.values() if isinstance(outcome, list))
    return list(dict.fromkeys(one.item_id for outcome in some for one in outcome))


def _results(
    chosen: list[Chosen], held: Mapping[int, Item], planned: Plan, lacking: int, vanished: set[int]
) -> Results:
    """The hits; a damaged item leaves its rank empty."""
    sound = [one for one in chosen if one.item_id in held and not held[one.item_id].damaged]
    damaged = {one.item_id for one in chosen if one.item_id in held and held[one.item_id].damaged}
    hits = [Hit(held[one.item_id], one.score, one.rank, group=one.group) for one in sound]
    fusion = planned.fusion if len(planned.parts) > 1 else None
    left_out = len(damaged | (vanished & {one.item_id for one in chosen}))
    space = planned.space.name if planned.parts or planned.vectors else None
    return Results(tuple(hits), space, fusion, _damage_note(left_out, lacking))


def _score_note(planned: Plan, found: Scores | AnyseekError) -> str | None:
    """That nothing is good enough, and how good the best is."""
    if planned.min_score is None or isinstance(found, AnyseekError) or not found or found[0][1] >= planned.min_score:
        return None
    return f"no item has a score of at least {planned.min_score:g}; the highest is {found[0][1]:.3f}"


def _damage_note(hits: int, lacking: int) -> str | None:
    """What an answer lacks because the database is damaged, in one sentence."""
    said = []
    if hits:
        said.append(f"{hits} of the hits are left out because their rows in the database are damaged")
    if lacking:
        said.append(f"{lacking} items are not searched because their vectors are damaged or lost")
    return f"{' and '.join(said)}; anyseek verify names them" if said else None
