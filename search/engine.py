"""The search engine: parts to vectors in one model pass, vectors to ids in a live index, ids to items."""

import threading
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from anyseek.model.modalities.reading.budget import raise_if_abandoned
from anyseek.model.seam import Embedder
from anyseek.search.answers.explaining import Explainer
from anyseek.search.answers.hits import (
    SelectedHits,
    count_facets,
    damage_note,
    language_note,
    make_hit,
    score_note,
    select_groups,
    select_page,
)
from anyseek.search.answers.paging import HitCandidate
from anyseek.search.answers.results import Facet, GroupValue, Interpretation, Results
from anyseek.search.assets.base import AssetStore
from anyseek.search.catalogue import checks, facet_counts, facets
from anyseek.search.catalogue.collections import Head, SpaceHead, SpaceState
from anyseek.search.catalogue.item_cache import Heads, ItemCache, Snapshot
from anyseek.search.catalogue.session import Database
from anyseek.search.confidence.score_samples import ScoreSamples
from anyseek.search.duplicates import Duplicates, find_duplicates
from anyseek.search.errors import AnyseekError, LimitExceeded
from anyseek.search.filters.tree import And, Exists
from anyseek.search.maps import CollectionMap, MapMaker, MapRequest
from anyseek.search.query.nearest import (
    condition_rows,
    nearest_items,
    plans_by_space,
    ranking_vectors,
    with_probabilities,
    with_z_scores,
)
from anyseek.search.query.planning import ITEM_MODALITY, home_space
from anyseek.search.query.query import Query
from anyseek.search.query.rankings import PlannedQuery, Ranking, plan_query, ranking_of_words
from anyseek.search.query.vectors import (
    ItemVectors,
    Plans,
    QueryMeans,
    RankingKey,
    ValueVectors,
    embed_values,
    raw_item_vectors,
)
from anyseek.search.result_cache import ResultCache
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import Backend, LiveSpace, ResolvedFilters, open_backend, raw_vectors
from anyseek.search.telemetry.spans import Stage, time_stage
from anyseek.search.types import Item
from anyseek.search.upkeep.derived import ConsistencyMonitor
from anyseek.search.upkeep.snapshots import write_snapshots

Answer = Results | AnyseekError
_CACHED_DUPLICATES = 4  # of collections
# If a ranking has too few groups, it is searched again this many times as deep.
_DEEPENING_FACTOR = 8


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
        """`backend` replaces the one of the settings; `close` closes it. `derived` is shared within the process."""
        self.embedder = embedder
        self._database = database
        self._settings = settings
        self._backend = backend or open_backend(database, settings)
        self._derived = derived or ConsistencyMonitor(database, self._backend.clear_filter_cache)
        self._spaces: dict[int, tuple[str, LiveSpace]] = {}  # by id, with the collection's name
        self._query_means = QueryMeans(database)
        self._score_samples = ScoreSamples(database)
        self._spaces_lock = threading.Lock()
        self._heads = Heads(database)
        self._items = ItemCache(settings.limits.item_cache_bytes)
        self._explainer = Explainer(embedder, self._live_space, self._score_samples)
        self._maps = MapMaker(database, embedder, self._live_space)
        self._duplicates: ResultCache[tuple[int, ...], Duplicates] = ResultCache(_CACHED_DUPLICATES)

    def query(self, collection: str, query: Query) -> Results:
        """The `k` nearest items, or fewer if fewer pass the filter; an item of the query can be a hit itself.

        Parts are decoded, and the filter is a `Filter`. Raises `CollectionNotFound`, `BadQuery`, `LimitExceeded`,
        `SpaceNotFound`, `ItemNotFound`, `FingerprintMismatch` if the collection was made by other weights,
        `StoreCorrupt` if an item lost its vector.
        """
        answer = self.query_batch(collection, [query], with_notes=True)[0]
        if isinstance(answer, AnyseekError):
            raise answer
        return answer

    def query_batch(self, collection: str, queries: Sequence[Query], with_notes: bool = False) -> list[Answer]:
        """Answer many queries in one model pass, in order; a query that fails has its error in place of its answer.

        All are answered from one state of the collection. With notes, an answer says why few items pass its filter.
        Raises `CollectionNotFound`, and `LimitExceeded` for too many queries.
        """
        limit = self._settings.limits.queries_per_batch
        if len(queries) > limit:
            raise LimitExceeded(f"the batch has {len(queries)} queries; the most is {limit}")
        head = self._heads.get(collection)
        answers: dict[int, Answer] = {}
        planned: dict[int, PlannedQuery] = {}
        for number, query in enumerate(queries):
            try:
                planned_query = plan_query(query, head, self.embedder, self._settings.limits)
                self._check_derived(planned_query)
                planned[number] = planned_query
            except AnyseekError as error:
                answers[number] = error
        answers.update(self._answer(head, planned, with_notes))
        return [answers[number] for number in range(len(queries))]

    def counts(self, collection: str) -> dict[str, int]:
        """The number of searchable vectors in each space. Raises `CollectionNotFound`."""
        head = self._heads.get(collection)
        counts_by_space = {}
        for space in head.spaces:
            live = self._live_space(head, space)
            live.refresh(head)
            with live.open_view() as view:
                counts_by_space[space.name] = view.count()
        return counts_by_space

    def duplicates(self, collection: str, assets: AssetStore) -> Duplicates:
        """The near-duplicates among a collection's pictures, whose thumbnails are in `assets`; cached by state.

        Raises `CollectionNotFound`, `BadQuery` for a model without pictures, `FingerprintMismatch`.
        """
        head = self._heads.get(collection)
        space = home_space(ITEM_MODALITY, head, self.embedder)
        live, state = self._live_space(head, space), (head.id, space.id, head.last_seq, space.centre_version)
        return self._duplicates.get(state, lambda: find_duplicates(self._database, assets, head, space.name, live))

    def map(self, collection: str, wanted: MapRequest) -> CollectionMap:
        """A map of the collection's items. Raises `CollectionNotFound`, and as `search.maps.MapMaker.make` does."""
        if wanted.colour_by is not None:
            self._derived.facets.check()
        return self._maps.make(self._heads.get(collection), wanted)

    def write_snapshots(self, collection: str, minimum_tail: int = 1) -> bool:
        """Write the snapshots that are due; call it after each job, and from time to time while items are put."""
        return write_snapshots(self._database, self._settings, collection, self._live_space, minimum_tail)

    def forget(self, collection: str) -> None:
        """Release the collection's spaces, and remove the backend's data of deleted collections."""
        with self._spaces_lock:
            self._spaces = {key: space for key, space in self._spaces.items() if space[0] != collection}
        self._query_means.forget()
        self._score_samples.forget()
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
        with self._spaces_lock:
            if space.id not in self._spaces:
                self._release_dropped_spaces(head)
                self._spaces[space.id] = (head.name, self._backend.open(head, space))
            return self._spaces[space.id][1]

    def _release_dropped_spaces(self, head: Head) -> None:
        """Release the spaces that a collection has lost by a switch to another model."""
        kept = {space.id for space in (*head.spaces, *head.beside) if space.state != SpaceState.KEPT}
        self._spaces = {key: space for key, space in self._spaces.items() if space[0] != head.name or key in kept}

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
            outcomes, missing_counts, items, damaged = self._select_hits(snapshot, planned, plans, values)
            answers: dict[int, Answer] = {}
            for number, query in planned.items():
                outcome = outcomes[number]
                if isinstance(outcome, AnyseekError):
                    answers[number] = outcome
                    continue
                missing_count = max((missing_counts[plan.space.id] for plan in query.rankings), default=0)
                own_vectors = {place: values.get((number, place), {}) for place in range(len(query.rankings))}
                try:
                    results = self._results(snapshot, query, outcome.chosen, items)
                    note = damage_note(len(damaged & {hit.item_id for hit in outcome.chosen}), missing_count)
                    note = note or language_note(self.embedder, query.query) or outcome.note or results.note
                    if note is None and with_notes:
                        note = self._filter_note(snapshot, query, results)
                    results = replace(results, note=note)
                    if query.query.is_explained:
                        hits = [items[hit.item_id] for hit in _undamaged(outcome.chosen, items)]
                        explained = self._explainer.explain(snapshot, query, hits, own_vectors, means)
                        results = replace(results, explanations=explained)
                    answers[number] = results
                except AnyseekError as error:
                    answers[number] = error
        return answers

    def _select_hits(
        self, snapshot: Snapshot, planned: Mapping[int, PlannedQuery], plans: Plans, values: ValueVectors
    ) -> tuple[dict[int, SelectedHits | AnyseekError], dict[int, int], dict[int, Item], set[int]]:
        """The selected hits of each query, how many items each index lacks, the items, and the ids of damaged items.

        The index may be newer than the snapshot. Items that are not in the snapshot are skipped.
        """
        unknown_ids: set[int] = set()
        while True:
            raise_if_abandoned()
            ranked, missing_counts = self._rank(snapshot, plans, values, unknown_ids)
            outcomes: dict[int, SelectedHits | AnyseekError] = {}
            for number, query in planned.items():
                raise_if_abandoned()
                rankings = [ranked[number, place] for place in range(len(query.rankings))]
                try:
                    ranking = self._merge(snapshot, query, rankings)
                    chosen, ranking = self._select(snapshot, number, query, ranking, values, unknown_ids)
                    note = query.equal_scores_note(snapshot.head, ranking) or score_note(query.query, ranking)
                    outcomes[number] = SelectedHits(chosen, note)
                except LimitExceeded:
                    raise  # the time limit of the request, which ends the whole batch
                except AnyseekError as error:
                    outcomes[number] = error
            hits = (hit for outcome in outcomes.values() if isinstance(outcome, SelectedHits) for hit in outcome.chosen)
            ids = list(dict.fromkeys(hit.item_id for hit in hits))
            items = self._items.get(snapshot, ids)
            missing_ids = [item_id for item_id in ids if item_id not in items]
            lost = checks.vanished_items(snapshot.session, snapshot.head, missing_ids) if missing_ids else ()
            lost_ids = set(lost)
            if lost_ids.issuperset(missing_ids):
                return outcomes, missing_counts, items, lost_ids | {item.id for item in items.values() if item.damaged}
            unknown_ids |= set(missing_ids) - lost_ids

    def _rank(
        self, snapshot: Snapshot, plans: Plans, values: ValueVectors, excluded_ids: Set[int]
    ) -> tuple[dict[RankingKey, Ranking | AnyseekError], dict[int, int]]:
        """The nearest items of each ranking, and by the id of the space, how many items its index lacks."""
        ranked: dict[RankingKey, Ranking | AnyseekError] = {}
        missing_counts: dict[int, int] = {}
        for space, own in plans_by_space(plans):
            found, missing_counts[space.id] = self._search(snapshot, space, own, values, excluded_ids, ranked)
            ranked |= found
        return ranked, missing_counts

    def _search(
        self,
        snapshot: Snapshot,
        space: SpaceHead,
        plans: Plans,
        values: ValueVectors,
        excluded_ids: Set[int],
        ranked: Mapping[RankingKey, Ranking | AnyseekError],
    ) -> tuple[dict[RankingKey, Ranking | AnyseekError], int]:
        """The nearest items of each ranking in one space, or its error, and how many items the index lacks.

        `ranked` has the rankings of spaces that were searched before.
        """
        live, model_space = self._live_space(snapshot.head, space), self.embedder.spaces[space.name]
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
            rankings, mean = nearest_items(view, model_space, plans, vectors, excluded_ids), view.centre
            conditions = condition_rows(view, plans, rankings, lambda place: _rankings_of_query(place[0], ranked))
            count, missing_count = view.count(), view.missing_count
        sample = self._score_samples.get(snapshot.head, space, model_space, mean, count)
        rankings = with_z_scores(sample, vectors, rankings, count, conditions)
        rankings = with_probabilities(snapshot, space, model_space, plans, vectors, rankings, sample)
        return {**rankings, **errors}, missing_count

    def _merge(
        self, snapshot: Snapshot, query: PlannedQuery, rankings_or_errors: Sequence[Ranking | AnyseekError]
    ) -> Ranking:
        """The merged ranking of a query, with the rankings of its words. Raises the error of a ranking."""
        rankings = [ranking for ranking in rankings_or_errors if isinstance(ranking, Ranking)]
        for error in rankings_or_errors:
            if isinstance(error, AnyseekError):
                raise error
        by_words = [
            ranking_of_words(snapshot.words.ranked(part.value, query.where, query.depth), part.weight)
            for part in query.query.words
        ]
        return query.merge(rankings, by_words)

    def _select(
        self,
        snapshot: Snapshot,
        number: int,
        query: PlannedQuery,
        ranking: Ranking,
        values: ValueVectors,
        excluded_ids: Set[int],
    ) -> tuple[list[HitCandidate], Ranking]:
        """The items of a ranking that become hits, and the ranking that they come from.

        With groups, the best items of the best groups; a single ranking is searched as deep as that takes.
        """
        path, depth, seen = query.query.group_by, query.depth, query.pages.seen
        if path is None:
            return select_page(ranking, query.query, seen), ranking
        group_values: dict[int, list[GroupValue]] = {}
        while True:
            new_ids = [item_id for item_id in ranking.ids.tolist() if item_id not in group_values]
            group_values |= {item_id: [] for item_id in new_ids}
            group_values |= facets.values_of(snapshot.session, snapshot.head.id, path, new_ids)
            chosen, is_complete = select_groups(ranking, group_values, query.query, seen)
            if is_complete or not query.is_one_ranking or len(ranking.ids) < depth:
                return chosen, ranking
            depth *= _DEEPENING_FACTOR
            plan = replace(query.rankings[0], depth=depth)
            deeper, _ = self._search(snapshot, plan.space, {(number, 0): plan}, values, excluded_ids, {})
            ranking = self._merge(snapshot, query, list(deeper.values()))

    def _results(
        self, snapshot: Snapshot, query: PlannedQuery, chosen: Sequence[HitCandidate], items: Mapping[int, Item]
    ) -> Results:
        """The hits with the facets and vectors that the query requests; a damaged item leaves its rank empty."""
        intact = _undamaged(chosen, items)
        vectors = {}
        if query.vector_space is not None and intact:
            ids = [hit.item_id for hit in intact]
            vectors = raw_vectors(snapshot.session, snapshot.head, query.vector_space, ids)
        facet_list: tuple[Facet, ...] = ()
        note = None
        if query.query.facets:
            facet_list, note = count_facets(snapshot.session, snapshot.head.id, query.query, query.where)
        understood = tuple(
            Interpretation(read.name, read.form, round(read.sure, 3), read.sentence, place)
            for place, part in enumerate(query.query.contents, 1)
            if (read := part.understood) is not None
        )
        return Results(
            tuple(make_hit(hit, items[hit.item_id], vectors.get(hit.item_id)) for hit in intact),
            query.space,
            None if query.fusion is None else query.fusion.value,
            note,
            facet_list,
            query.pages.next_cursor(query.query, chosen),
            understood=understood,
        )

    def _filter_note(self, snapshot: Snapshot, query: PlannedQuery, results: Results) -> str | None:
        """A note on the filter of a query, if few items pass it."""
        filters = [] if query.query.where is None else [query.query.where]
        if query.query.group_by is not None:
            filters.append(Exists(query.query.group_by))
        if not filters or len(results.hits) >= query.query.k:
            return None
        return facet_counts.explain_absence(snapshot.session, snapshot.head.id, And(tuple(filters)))


def _rankings_of_query(number: int, ranked: Mapping[RankingKey, Ranking | AnyseekError]) -> list[Ranking]:
    return [each for place, each in ranked.items() if place[0] == number and isinstance(each, Ranking)]


def _undamaged(chosen: Sequence[HitCandidate], items: Mapping[int, Item]) -> list[HitCandidate]:
    return [hit for hit in chosen if hit.item_id in items and not items[hit.item_id].damaged]
