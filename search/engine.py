"""Answering queries: parts to vectors in one model pass, vectors to ids in a live index, ids to items."""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from anyseek.model.modalities.reading.budget import check_wanted
from anyseek.model.seam import Embedder
from anyseek.search.answers.explaining import Explainer
from anyseek.search.answers.hits import Chosen, Found, groups, page
from anyseek.search.answers.result_extras import damage_note, score_note, with_requested_extras
from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import checks, collections, facet_counts, facets, words
from anyseek.search.catalogue.collections import Head, SpaceHead, SpaceState
from anyseek.search.catalogue.item_cache import Heads, ItemCache
from anyseek.search.catalogue.session import Database
from anyseek.search.confidence.score_samples import Backgrounds
from anyseek.search.confidence.tuned import Tunings
from anyseek.search.duplicates import Duplicates, find_duplicates
from anyseek.search.errors import AnyseekError, CollectionNotFound, LimitExceeded
from anyseek.search.filters.tree import And, Exists, Filter
from anyseek.search.maps import CollectionMap, MapMaker, MapRequest
from anyseek.search.query.fusing import Ranked
from anyseek.search.query.queries import ITEMS_ARE, Plan, home_of
from anyseek.search.query.rankings import Asked, Ranking, ask, nearest_items, ranking_vectors, with_standings
from anyseek.search.query.vectors import (
    ItemVectors,
    Place,
    ValueVectors,
    embed_values,
    raw_item_vectors,
)
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import Backend, LiveSpace, Resolved, open_backend
from anyseek.search.telemetry.metrics import Stage, timed
from anyseek.search.types import GroupValue, Hit, Item, Query, Results
from anyseek.search.upkeep.derived import DerivedRows
from anyseek.search.upkeep.snapshots import write_snapshots

# An item may be deleted between the search and the reading of its row; then the search is repeated.
ATTEMPTS = 3

Answer = Results | AnyseekError
FoundByRanking = dict[Place, Ranking | AnyseekError]
FoundByQuery = dict[int, Found | AnyseekError]  # by the number of the query
Choice = dict[int, list[Chosen] | AnyseekError]
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
        derived: DerivedRows | None = None,
    ) -> None:
        """`backend` replaces the one of the settings; `close` closes it. `derived`: the process's."""
        self.embedder = embedder
        self._database = database
        self._settings = settings
        self._backend = backend or open_backend(database, settings)
        self._derived = derived or DerivedRows(database, self._backend.forget_filters)
        self._spaces: dict[int, tuple[str, LiveSpace]] = {}  # by id, with the collection's name
        self._tunings = Tunings(database)
        self._backgrounds = Backgrounds(database)
        self._opening = threading.Lock()
        self._heads = Heads(database)
        self._items = ItemCache(database, settings.limits.item_cache_bytes)
        self._explainer = Explainer(database, embedder, self._live_space, self._backgrounds)
        self._maps = MapMaker(database, embedder, self._live_space)

    def query(self, collection: str, query: Query) -> Results:
        """The `k` nearest items, or fewer if fewer pass the filter; an item of the query can be a hit itself.

        Raises `CollectionNotFound`, `BadQuery`, `LimitExceeded`, `SpaceNotFound`, `ItemNotFound`,
        `FingerprintMismatch` if the collection was made by other weights, `StoreCorrupt` if an item lost its vector.
        """
        answer = self.query_together(collection, [query])[0]
        if isinstance(answer, AnyseekError):
            raise answer
        return answer

    def query_together(self, collection: str, queries: Sequence[Query]) -> list[Answer]:
        """Answer many queries in one model pass as `query` answers each, with notes on filters that few items pass.

        A query that fails has its error in place of its answer. Raises as `query_batch` does.
        """
        answers = self.query_batch(collection, queries)
        return [self._noted(collection, query, answer) for query, answer in zip(queries, answers, strict=True)]

    def query_batch(self, collection: str, queries: Sequence[Query]) -> list[Answer]:
        """Answer many queries in one model pass, in order; a query that fails has its error in place of its answer.

        Raises `CollectionNotFound`, and `LimitExceeded` for too many queries.
        """
        most = self._settings.limits.queries_per_batch
        if len(queries) > most:
            raise LimitExceeded(f"the batch has {len(queries)} queries; the most is {most}")
        head = self._heads.get(collection)
        answers: dict[int, Answer] = {}
        asked: dict[int, Asked] = {}
        for number, query in enumerate(queries):
            try:
                one = ask(query, head, self.embedder, self._settings.limits)
                self._check_derived(one)
                asked[number] = one
            except AnyseekError as error:
                answers[number] = error
        answers.update(self._answer(head, asked))
        for number, one in asked.items():
            results = answers[number]
            if isinstance(results, Results):
                answers[number] = with_requested_extras(self._database, head, one, results)
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

    def duplicates(self, collection: str, assets: AssetStore) -> Duplicates:
        """The near-duplicates among a collection's pictures, whose thumbnails are in `assets`.

        Raises `CollectionNotFound`, `BadQuery` for a model without pictures, `FingerprintMismatch`.
        """
        head = self._heads.get(collection)
        space = home_of(ITEMS_ARE, head, self.embedder)
        live = self._live_space(head, space)
        live.refresh(head)
        return find_duplicates(self._database, assets, head, space.name, live)

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
            self._spaces = {key: held for key, held in self._spaces.items() if held[0] != collection}
        self._tunings.forget()
        self._backgrounds.forget()
        self._heads.forget()
        self._items.forget()
        self._backend.remove_unknown()

    def close(self) -> None:
        """Close the connection to an external index, such as Qdrant's."""
        self._backend.close()

    def _check_derived(self, asked: Asked) -> None:
        """Raises `StoreCorrupt` if the query reads facets or words that are damaged and cannot be mended."""
        if asked.where is not None or asked.query.group_by is not None or asked.query.facets:
            self._derived.facets.check()
        if asked.query.words:
            self._derived.words.check()

    def _noted(self, collection: str, query: Query, answer: Answer) -> Answer:
        """The answer with what is odd about its filter, if few items pass it."""
        restricting = [query.where] if query.where is not None else []
        if query.group_by is not None:
            restricting.append(Exists(query.group_by))
        if isinstance(answer, AnyseekError) or answer.note is not None:
            return answer
        if not restricting or len(answer.hits) >= query.k:
            return answer
        return replace(answer, note=self._note(collection, And(tuple(restricting))))

    def _note(self, collection: str, where: Filter) -> str | None:
        """What is odd about a filter that few items pass."""
        with self._database.read() as session:
            return facet_counts.note_absent(session, collections.head(session, collection).id, where)

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

    def _answer(self, head: Head, asked: Mapping[int, Asked]) -> dict[int, Answer]:
        plans = {(number, place): each for number, one in asked.items() for place, each in enumerate(one.rankings)}
        values = embed_values(self.embedder, plans, self._tunings.means({planned.space for planned in plans.values()}))
        for attempt in range(ATTEMPTS):
            check_wanted()
            now = head if attempt == 0 else self._head_again(head)
            ranked, lacking, seen = self._ranked(now, plans, values)
            found, seen = self._merged(seen, asked, ranked)
            chosen, seen = self._chosen(seen, asked, found, values)
            ids = _ids(chosen)
            held = self._items.get(seen, ids)
            if gone := [item_id for item_id in ids if item_id not in held]:
                continue
            break
        vanished = self._vanished(head, gone)
        answers: dict[int, Answer] = {}
        for number, outcome in chosen.items():
            one = asked[number]
            if isinstance(outcome, AnyseekError):
                answers[number] = outcome
                continue
            missing = max((lacking[ranking.space.id] for ranking in one.rankings), default=0)
            results = _results(outcome, held, one, missing, vanished)
            merged = found[number]
            assert not isinstance(merged, AnyseekError)
            note = results.note or one.sameness_note(head, merged.scores) or score_note(one.query, merged)
            answers[number] = results if note is None else replace(results, note=note)
        self._explain(head, asked, answers, values)
        return answers

    def _explain(
        self, head: Head, asked: Mapping[int, Asked], answers: dict[int, Answer], values: ValueVectors
    ) -> None:
        """Add explanations to the answers of queries that ask for them, or answer with why there are none."""
        for number, one in asked.items():
            results = answers[number]
            if isinstance(results, AnyseekError) or not one.query.is_explained:
                continue
            own = {place: values.get((number, place), {}) for place in range(len(one.rankings))}
            tuned = self._tunings.means({ranking.space for ranking in one.rankings})
            try:
                explained = self._explainer.explain(head, one, results.hits, own, tuned)
                answers[number] = replace(results, explanations=explained)
            except AnyseekError as error:
                answers[number] = error

    def _ranked(
        self, head: Head, plans: Mapping[Place, Plan], values: ValueVectors
    ) -> tuple[FoundByRanking, dict[int, int], Head]:
        """The nearest ids of each ranking, by the space's id how many items its index lacks, and the latest head."""
        by_space: dict[SpaceHead, dict[Place, Plan]] = defaultdict(dict)
        for place, planned in plans.items():
            by_space[planned.space][place] = planned
        ranked: FoundByRanking = {}
        lacking: dict[int, int] = {}
        latest = head
        for space, group in by_space.items():
            of_space, lacking[space.id], seen = self._search(head, space, group, values)
            ranked |= of_space
            latest = max(latest, seen, key=lambda one: one.last_seq)
        return ranked, lacking, latest

    def _merged(self, head: Head, asked: Mapping[int, Asked], ranked: FoundByRanking) -> tuple[FoundByQuery, Head]:
        """The outcome of each query from those of its rankings, with what words find, and the latest head."""
        found: FoundByQuery = {}
        by_words, head = self._by_words(head, asked)
        for number, one in asked.items():
            own = [ranked[number, place] for place in range(len(one.rankings))]
            failed = [outcome for outcome in own if isinstance(outcome, AnyseekError)]
            sound = [outcome for outcome in own if not isinstance(outcome, AnyseekError)]
            found[number] = failed[0] if failed else self._together(one, sound, by_words.get(number, []))
        return found, head

    def _together(self, asked: Asked, found: Sequence[Ranking], by_words: Sequence[Ranked]) -> Found:
        return asked.merged(found, by_words)

    def _by_words(self, head: Head, asked: Mapping[int, Asked]) -> tuple[dict[int, list[Ranked]], Head]:
        """What the words of each query find, and the head as of which they do."""
        having = {number: one for number, one in asked.items() if one.query.words}
        if not having:
            return {}, head
        found: dict[int, list[Ranked]] = {}
        with self._database.read() as session:
            head = _same(head, collections.head(session, head.name))
            for number, one in having.items():
                found[number] = [
                    words.ranked(session, head.id, given.text, one.where, one.depth) for given in one.query.words
                ]
        return found, head

    def _chosen(
        self, head: Head, asked: Mapping[int, Asked], found: FoundByQuery, values: ValueVectors
    ) -> tuple[Choice, Head]:
        """Those of the items found that become hits, by the number of the query, and the latest head."""
        chosen: Choice = {}
        for number, merged in found.items():
            if isinstance(merged, AnyseekError):
                chosen[number] = merged
            elif asked[number].query.group_by is None:
                chosen[number] = page(merged, asked[number].query, asked[number].pages.seen)
            else:
                chosen[number], head = self._groups(head, number, asked[number], merged, values)
        return chosen, head

    def _groups(
        self, head: Head, number: int, asked: Asked, merged: Found, values: ValueVectors
    ) -> tuple[list[Chosen] | AnyseekError, Head]:
        """The best items of the best groups; of one ranking exactly: as many items are looked at as that takes."""
        assert asked.query.group_by is not None
        known: dict[int, list[GroupValue]] = {}
        depth = asked.depth
        while True:
            new = [item_id for item_id, _ in merged.scores if item_id not in known]
            with self._database.read() as session:
                head = _same(head, collections.head(session, head.name))
                known |= {item_id: [] for item_id in new}
                known |= facets.values_of(session, head.id, asked.query.group_by, new)
            chosen, complete = groups(merged, known, asked.query, asked.pages.seen)
            if complete or not asked.is_one_ranking or len(merged.scores) < depth:
                return chosen, head
            depth *= _DEEPER
            planned = replace(asked.rankings[0], depth=depth)
            found, _, head = self._search(self._head_again(head), planned.space, {(number, 0): planned}, values)
            deeper = found[number, 0]
            if isinstance(deeper, AnyseekError):
                return deeper, head
            merged = self._together(asked, [deeper], [])

    def _search(
        self, head: Head, space: SpaceHead, plans: Mapping[Place, Plan], values: ValueVectors
    ) -> tuple[FoundByRanking, int, Head]:
        """The nearest ids of each ranking in one space, as of `head` or later, or the error of that ranking.

        Also how many items the index lacks because their vectors are damaged, and the head that filters were read at.
        """
        live = self._live_space(head, space)
        asked = (part for planned in plans.values() for part in planned.parts)
        keys = {(part.collection, part.item) for part in asked if part.item is not None}
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
                vectors, errors = ranking_vectors(plans, values, stored, view.centre)
                found, mean = nearest_items(view, plans, vectors), view.centre
                count, lacking = view.count(), view.lacking
        sample = self._backgrounds.get(head, space, self.embedder.spaces[space.name], mean, count)
        return {**with_standings(sample, vectors, found, count), **errors}, lacking, head

    def _head_again(self, before: Head) -> Head:
        return _same(before, self._heads.get(before.name))

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


def _ids(chosen: Choice) -> list[int]:
    """The ids of all hits, each once."""
    some = (outcome for outcome in chosen.values() if isinstance(outcome, list))
    return list(dict.fromkeys(one.item_id for outcome in some for one in outcome))


def _results(chosen: list[Chosen], held: Mapping[int, Item], asked: Asked, lacking: int, vanished: set[int]) -> Results:
    """The hits; a damaged item leaves its rank empty."""
    sound = [one for one in chosen if one.item_id in held and not held[one.item_id].damaged]
    damaged = {one.item_id for one in chosen if one.item_id in held and held[one.item_id].damaged}
    hits = [Hit(held[one.item_id], one.score, one.rank, group=one.group, probability=one.probability) for one in sound]
    left_out = len(damaged | (vanished & {one.item_id for one in chosen}))
    note, following = damage_note(left_out, lacking), asked.pages.following(asked.query, chosen)
    return Results(tuple(hits), asked.space, asked.fusion, note, following=following)
