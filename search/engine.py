"""Answering queries: parts to vectors in one model pass, vectors to ids in a live index, ids to items."""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from anyseek.model.modalities.reading.budget import raise_if_abandoned
from anyseek.model.seam import Embedder, FloatArray
from anyseek.search.answers.explaining import Explainer
from anyseek.search.answers.hits import Found, counted_facets, damage_note, groups, page, score_note
from anyseek.search.answers.paging import Chosen
from anyseek.search.answers.results import Facet, GroupValue, Hit, Results, Understood
from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import checks, facet_counts, facets
from anyseek.search.catalogue.collections import Head, SpaceHead, SpaceState
from anyseek.search.catalogue.item_cache import Heads, ItemCache, Snapshot
from anyseek.search.catalogue.session import Database
from anyseek.search.confidence.probabilities import Backgrounds
from anyseek.search.duplicates import Duplicates, find_duplicates
from anyseek.search.errors import AnyseekError, LimitExceeded
from anyseek.search.filters.tree import And, Exists
from anyseek.search.kept import Kept
from anyseek.search.maps import CollectionMap, MapMaker, MapRequest
from anyseek.search.query.planning import ITEMS_ARE, Plan, home_of
from anyseek.search.query.query import Query
from anyseek.search.query.rankings import (
    PlannedQuery,
    Ranking,
    nearest_items,
    plan_query,
    ranking_of_words,
    ranking_vectors,
    with_standings,
)
from anyseek.search.query.vectors import (
    ItemVectors,
    Place,
    QueryMeans,
    ValueVectors,
    embed_values,
    raw_item_vectors,
)
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import Backend, LiveSpace, ResolvedFilters, open_backend, raw_vectors
from anyseek.search.telemetry.spans import Stage, time_stage
from anyseek.search.types import Item
from anyseek.search.upkeep.derived import ConsistencyMonitor
from anyseek.search.upkeep.snapshots import write_snapshots

Answer = Results | AnyseekError
_KEPT_DUPLICATES = 4  # of collections
# How many times as many items are looked at where those before are in too few groups.
_DEEPER = 8


class SearchEngine:
    """Queries over all collections of one catalogue with one model. Safe for many threads.

    Each query first reads new log entries from the catalogue, so it finds what other processes wrote before it.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        embedder: Embedder,
        backend: Backend | None = None,
        derived: ConsistencyMonitor | None = None,
    ) -> None:
        """`backend` replaces the one of the settings; `close` closes it. `derived`: the process's."""
        self.embedder = embedder
        self._database = database
        self._settings = settings
        self._backend = backend or open_backend(database, settings)
        self._derived = derived or ConsistencyMonitor(database, self._backend.clear_filter_cache)
        self._spaces: dict[int, tuple[str, LiveSpace]] = {}  # by id, with the collection's name
        self._query_means = QueryMeans(database)
        self._backgrounds = Backgrounds(database)
        self._opening = threading.Lock()
        self._heads = Heads(database)
        self._items = ItemCache(settings.limits.item_cache_bytes)
        self._explainer = Explainer(embedder, self._live_space, self._backgrounds)
        self._maps = MapMaker(database, embedder, self._live_space)
        self._duplicates: Kept[tuple[int, ...], Duplicates] = Kept(_KEPT_DUPLICATES)

    def query(self, collection: str, query: Query) -> Results:
        """The `k` nearest items, or fewer if fewer pass the filter; an item of the query can be a hit itself.

        Its parts are decoded, and its filter is one. Raises `CollectionNotFound`, `BadQuery`, `LimitExceeded`,
        `SpaceNotFound`, `ItemNotFound`, `FingerprintMismatch` if the collection was made by other weights,
        `StoreCorrupt` if an item lost its vector.
        """
        answer = self.query_batch(collection, [query], with_notes=True)[0]
        if isinstance(answer, AnyseekError):
            raise answer
        return answer

    def query_batch(self, collection: str, queries: Sequence[Query], with_notes: bool = False) -> list[Answer]:
        """Answer many queries in one model pass, in order; a query that fails has its error in place of its answer.

        All are answered as of one state of the collection. With notes, an answer says what is odd about a filter that
        few items pass. Raises `CollectionNotFound`, and `LimitExceeded` for too many queries.
        """
        most = self._settings.limits.queries_per_batch
        if len(queries) > most:
            raise LimitExceeded(f"the batch has {len(queries)} queries; the most is {most}")
        head = self._heads.get(collection)
        answers: dict[int, Answer] = {}
        planned: dict[int, PlannedQuery] = {}
        for number, query in enumerate(queries):
            try:
                plan = plan_query(query, head, self.embedder, self._settings.limits)
                self._check_derived(plan)
                planned[number] = plan
            except AnyseekError as error:
                answers[number] = error
        answers.update(self._answer(head, planned, with_notes))
        return [answers[number] for number in range(len(queries))]

    def counts(self, collection: str) -> dict[str, int]:
        """The number of searchable vectors in each space. Raises `CollectionNotFound`."""
        head = self._heads.get(collection)
        counted = {}
        for space in head.spaces:
            live = self._live_space(head, space)
            live.refresh(head)
            with live.open_view() as view:
                counted[space.name] = view.count()
        return counted

    def duplicates(self, collection: str, assets: AssetStore) -> Duplicates:
        """The near-duplicates among a collection's pictures, whose thumbnails are in `assets`; found once for a state.

        Raises `CollectionNotFound`, `BadQuery` for a model without pictures, `FingerprintMismatch`.
        """
        head = self._heads.get(collection)
        space = home_of(ITEMS_ARE, head, self.embedder)
        live, state = self._live_space(head, space), (head.id, space.id, head.last_seq, space.centre_version)
        return self._duplicates.get(state, lambda: find_duplicates(self._database, assets, head, space.name, live))

    def map(self, collection: str, wanted: MapRequest) -> CollectionMap:
        """A map of the collection's items. Raises `CollectionNotFound`, and as `search.maps.MapMaker.make` does."""
        if wanted.colour_by is not None:
            self._derived.facets.check()
        return self._maps.make(self._heads.get(collection), wanted)

    def write_snapshots(self, collection: str, minimum_tail: int = 1) -> bool:
        """See `anyseek.search.upkeep.snapshots`; call it after each job, and from time to time while items are put."""
        return write_snapshots(self._database, self._settings, collection, self._live_space, minimum_tail)

    def forget(self, collection: str) -> None:
        """Release the collection's spaces, and remove the backend's data of deleted collections."""
        with self._opening:
            self._spaces = {key: opened for key, opened in self._spaces.items() if opened[0] != collection}
        self._query_means.forget()
        self._backgrounds.forget()
        self._heads.forget()
        self._items.forget()
        self._maps.forget()
        self._duplicates.forget()
        self._backend.remove_unknown()

    def close(self) -> None:
        """Close the connection to an external index, such as Qdrant's."""
        self._backend.close()

    def _check_derived(self, planned: PlannedQuery) -> None:
        """Raises `StoreCorrupt` if the query reads facets or words that are damaged and cannot be mended."""
        if planned.where is not None or planned.query.group_by is not None or planned.query.facets:
            self._derived.facets.check()
        if planned.query.words:
            self._derived.words.check()

    def _live_space(self, head: Head, space: SpaceHead) -> LiveSpace:
        with self._opening:
            if space.id not in self._spaces:
                self._release_dropped(head)
                self._spaces[space.id] = (head.name, self._backend.open(head, space))
            return self._spaces[space.id][1]

    def _release_dropped(self, head: Head) -> None:
        """Release the spaces that a collection has lost by a switch to another model."""
        kept = {space.id for space in (*head.spaces, *head.beside) if space.state != SpaceState.KEPT}
        self._spaces = {key: opened for key, opened in self._spaces.items() if opened[0] != head.name or key in kept}

    def _answer(self, head: Head, planned: Mapping[int, PlannedQuery], with_notes: bool) -> dict[int, Answer]:
        plans = {
            (number, place): plan for number, query in planned.items() for place, plan in enumerate(query.rankings)
        }
        spaces = {plan.space for plan in plans.values()}
        means = self._query_means.of_spaces(spaces)
        values = embed_values(self.embedder, plans, means)
        for space in spaces:
            raise_if_abandoned()
            with time_stage(Stage.INDEX):
                self._live_space(head, space).refresh(head)
        with Snapshot(self._database, head) as snapshot:
            found, lacking, items, damaged = self._found(snapshot, planned, plans, values)
            answers: dict[int, Answer] = {}
            for number, query in planned.items():
                outcome = found[number]
                if isinstance(outcome, AnyseekError):
                    answers[number] = outcome
                    continue
                missing = max((lacking[plan.space.id] for plan in query.rankings), default=0)
                own = {place: values.get((number, place), {}) for place in range(len(query.rankings))}
                try:
                    results = self._results(snapshot, query, outcome.chosen, items)
                    note = damage_note(len(damaged & {hit.item_id for hit in outcome.chosen}), missing)
                    note = note or outcome.note or results.note
                    if note is None and with_notes:
                        note = self._filter_note(snapshot, query, results)
                    results = replace(results, note=note)
                    if query.query.is_explained:
                        hits = [items[hit.item_id] for hit in _sound(outcome.chosen, items)]
                        explained = self._explainer.explain(snapshot, query, hits, own, means)
                        results = replace(results, explanations=explained)
                    answers[number] = results
                except AnyseekError as error:
                    answers[number] = error
        return answers

    def _found(
        self, snapshot: Snapshot, planned: Mapping[int, PlannedQuery], plans: Mapping[Place, Plan], values: ValueVectors
    ) -> tuple[dict[int, Found | AnyseekError], dict[int, int], dict[int, Item], set[int]]:
        """The outcome of each query, how many items each index lacks, the items of hits, and the ids of damaged ones.

        The index may be newer than the snapshot. What is not in the snapshot is no hit, and the items after it move up.
        """
        unknown: set[int] = set()
        while True:
            raise_if_abandoned()
            ranked, lacking = self._ranked(snapshot, plans, values, unknown)
            found: dict[int, Found | AnyseekError] = {}
            for number, query in planned.items():
                raise_if_abandoned()
                own = [ranked[number, place] for place in range(len(query.rankings))]
                try:
                    merged = self._merged(snapshot, query, own)
                    chosen, merged = self._chosen(snapshot, number, query, merged, values, unknown)
                    note = query.sameness_note(snapshot.head, merged) or score_note(query.query, merged)
                    found[number] = Found(chosen, note)
                except LimitExceeded:
                    raise  # the seconds of the request, of which others that are answered with it need not hear
                except AnyseekError as error:
                    found[number] = error
            hits = (hit for outcome in found.values() if isinstance(outcome, Found) for hit in outcome.chosen)
            ids = list(dict.fromkeys(hit.item_id for hit in hits))
            items = self._items.get(snapshot, ids)
            missing = [item_id for item_id in ids if item_id not in items]
            lost = set(checks.vanished_items(snapshot.session, snapshot.head, missing)) if missing else set()
            if lost.issuperset(missing):
                return found, lacking, items, lost | {item.id for item in items.values() if item.damaged}
            unknown |= set(missing) - lost

    def _ranked(
        self, snapshot: Snapshot, plans: Mapping[Place, Plan], values: ValueVectors, without: Set[int]
    ) -> tuple[dict[Place, Ranking | AnyseekError], dict[int, int]]:
        """The nearest ids of each ranking, and by the space's id how many items its index lacks."""
        by_space: dict[SpaceHead, dict[Place, Plan]] = defaultdict(dict)
        for place, plan in plans.items():
            by_space[plan.space][place] = plan
        ranked: dict[Place, Ranking | AnyseekError] = {}
        lacking: dict[int, int] = {}
        for space, group in by_space.items():
            of_space, lacking[space.id] = self._search(snapshot, space, group, values, without)
            ranked |= of_space
        return ranked, lacking

    def _search(
        self,
        snapshot: Snapshot,
        space: SpaceHead,
        plans: Mapping[Place, Plan],
        values: ValueVectors,
        without: Set[int],
    ) -> tuple[dict[Place, Ranking | AnyseekError], int]:
        """The nearest ids of each ranking in one space, or the error of that ranking.

        Also how many items the index lacks because their vectors are damaged.
        """
        live = self._live_space(snapshot.head, space)
        parts = (part for plan in plans.values() for part in plan.parts)
        keys = {(part.collection, part.item) for part in parts if part.item is not None}
        filters = {plan.where for plan in plans.values() if plan.where is not None}
        stored: ItemVectors = {}
        resolved: ResolvedFilters = {}
        if keys or filters:
            stored = raw_item_vectors(snapshot.session, snapshot.head, space, keys)
            resolved = live.resolve(snapshot.session, snapshot.head, filters)
        snapshot.head.centre_version(space.id)  # it may have been dropped since
        with time_stage(Stage.INDEX), live.open_view(resolved) as view:
            vectors, errors = ranking_vectors(plans, values, stored, view.centre)
            found, mean = nearest_items(view, plans, vectors, without), view.centre
            count, lacking = view.count(), view.missing_count
        sample = self._backgrounds.get(snapshot.head, space, self.embedder.spaces[space.name], mean, count)
        return {**with_standings(sample, vectors, found, count), **errors}, lacking

    def _merged(self, snapshot: Snapshot, query: PlannedQuery, own: Sequence[Ranking | AnyseekError]) -> Ranking:
        """The outcome of a query from those of its rankings, with what words find. Raises the error of a ranking."""
        sound = [ranking for ranking in own if isinstance(ranking, Ranking)]
        for error in own:
            if isinstance(error, AnyseekError):
                raise error
        by_words = [
            ranking_of_words(snapshot.words.ranked(part.value, query.where, query.depth), part.weight)
            for part in query.query.words
        ]
        return query.merged(sound, by_words)

    def _chosen(
        self,
        snapshot: Snapshot,
        number: int,
        query: PlannedQuery,
        found: Ranking,
        values: ValueVectors,
        without: Set[int],
    ) -> tuple[list[Chosen], Ranking]:
        """Those of the items found that become hits, and what was found.

        Of groups, the best items of the best groups; of one ranking exactly: as many items are looked at as that takes.
        """
        path, depth, seen = query.query.group_by, query.depth, query.pages.seen
        if path is None:
            return page(found, query.query, seen), found
        known: dict[int, list[GroupValue]] = {}
        while True:
            new = [item_id for item_id in found.ids.tolist() if item_id not in known]
            known |= {item_id: [] for item_id in new}
            known |= facets.values_of(snapshot.session, snapshot.head.id, path, new)
            chosen, complete = groups(found, known, query.query, seen)
            if complete or not query.is_one_ranking or len(found.ids) < depth:
                return chosen, found
            depth *= _DEEPER
            plan = replace(query.rankings[0], depth=depth)
            deeper, _ = self._search(snapshot, plan.space, {(number, 0): plan}, values, without)
            found = self._merged(snapshot, query, list(deeper.values()))

    def _results(
        self,
        snapshot: Snapshot,
        query: PlannedQuery,
        chosen: Sequence[Chosen],
        items: Mapping[int, Item],
    ) -> Results:
        """The hits with what the query requests beside them; a damaged item leaves its rank empty."""
        sound = _sound(chosen, items)
        vectors = {}
        if query.vectors_of is not None and sound:
            ids = [hit.item_id for hit in sound]
            vectors = raw_vectors(snapshot.session, snapshot.head, query.vectors_of, ids)
        counted: tuple[Facet, ...] = ()
        note = None
        if query.query.facets:
            counted, note = counted_facets(snapshot.session, snapshot.head.id, query.query, query.where)
        understood = tuple(
            Understood(read.name, read.form, round(read.sure, 3), read.sentence, place)
            for place, part in enumerate(query.query.contents, 1)
            if (read := part.understood) is not None
        )
        return Results(
            tuple(_hit(hit, items[hit.item_id], vectors.get(hit.item_id)) for hit in sound),
            query.space,
            None if query.fusion is None else query.fusion.value,
            note,
            counted,
            query.pages.following(query.query, chosen),
            understood=understood,
        )

    def _filter_note(self, snapshot: Snapshot, query: PlannedQuery, results: Results) -> str | None:
        """A note on the filter of a query, if few items pass it."""
        restricting = [] if query.query.where is None else [query.query.where]
        if query.query.group_by is not None:
            restricting.append(Exists(query.query.group_by))
        if not restricting or len(results.hits) >= query.query.k:
            return None
        return facet_counts.note_absent(snapshot.session, snapshot.head.id, And(tuple(restricting)))


def _sound(chosen: Sequence[Chosen], items: Mapping[int, Item]) -> list[Chosen]:
    return [hit for hit in chosen if hit.item_id in items and not items[hit.item_id].damaged]


def _hit(chosen: Chosen, item: Item, vector: FloatArray | None) -> Hit:
    group = chosen.group
    return Hit(
        item.key,
        chosen.score,
        chosen.rank,
        item.caption,
        item.attributes,
        tuple(sorted(item.assets)),
        item.path,
        None if vector is None else tuple(vector.tolist()),
        int(group) if isinstance(group, float) and group.is_integer() else group,
        probability=chosen.probability,
    )
