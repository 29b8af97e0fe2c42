"""Explains hits: what each part of a query found alone, and how an item would stand without it.

No part is embedded again unless all were embedded together. All variants of a query are searched for in one search of
each space, `DEPTH` deep; scores of items beyond it are computed from their stored vectors.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anyseek.model.modalities.reading.budget import check_wanted
from anyseek.model.seam import Embedder, FloatArray, Fusion
from anyseek.search.answers.explanation import Explanation, PartShare, RankingShare
from anyseek.search.answers.match_evidence import (
    Names,
    RankingCodes,
    ranking_codes,
    ranking_names,
    shared_words,
    why_none,
)
from anyseek.search.catalogue import collections, items, words
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.confidence.score_samples import Backgrounds
from anyseek.search.errors import ItemNotFound
from anyseek.search.query.fusing import Ranked, Weighted, fused, parts_of_score, ranks_of
from anyseek.search.query.queries import Plan
from anyseek.search.query.rankings import Asked, Ranking, nearest_items, ranking_vectors, weight_of, with_standings
from anyseek.search.query.vectors import Place, TunedSpaces, ValueVectors, embed_values, raw_item_vectors, raw_vectors
from anyseek.search.spaces.base import OpenSpace, centre
from anyseek.search.types import Hit, Item, Part, Words

DEPTH = 1_000  # how deep a query of one ranking is looked at

# Vectors of values by the number of the ranking, and the place of the part in it; that of parts asked jointly is at 0.
PartVectors = Mapping[int, Mapping[int, FloatArray]]

_WHOLE = 0  # the number of the variant of a ranking that has all its parts


def _alone(place: int) -> int:
    return 2 * place + 1


def _rest(place: int) -> int:
    return 2 * place + 2


@dataclass(frozen=True)
class _Standing:
    """Scores of items that are explained, and ranks of those within the depth."""

    scores: Mapping[int, float]
    ranks: Mapping[int, int]


@dataclass(frozen=True)
class _Standings:
    """How all items stand in the query, and without each of its parts and words; None if nothing wanted is left."""

    whole: _Standing
    without_parts: Mapping[Place, _Standing | None]
    without_words: Sequence[_Standing | None]


@dataclass(frozen=True)
class _Measured:
    """What the variants of the rankings find, by the ranking's number and the variant's, and the orders of words.

    `exact` has the scores of the items that are explained. A variant whose parts cancel each other out is in neither.
    """

    found: Mapping[Place, Ranking]
    exact: Mapping[Place, Mapping[int, float]]
    by_words: Sequence[Ranked]
    codes: Mapping[int, RankingCodes]  # by the ranking's number
    names: Mapping[int, Names]
    note: str | None


@dataclass(frozen=True)
class _InSpace:
    """What `_Measured` has of the rankings of one space."""

    found: Mapping[Place, Ranking]
    exact: Mapping[Place, Mapping[int, float]]
    codes: Mapping[int, RankingCodes]
    names: Mapping[int, Names]


@dataclass(frozen=True)
class Explainer:
    """Explains items for answered queries. `live_space` opens a space of a collection."""

    database: Database
    embedder: Embedder
    live_space: OpenSpace
    backgrounds: Backgrounds

    def explain(
        self, head: Head, asked: Asked, hits: Sequence[Hit], values: PartVectors, tuned: TunedSpaces
    ) -> tuple[Explanation, ...]:
        """The first of the `hits`, and the items that the query names; `values` are the query's vectors.

        Raises `ItemNotFound` for an item that is named and not there, and what searching raises.
        """
        subjects = self._subjects(head, asked, hits)
        variants = _variants(asked)
        measured = self._measure(head, asked, variants, self._values(asked, variants, values, tuned), list(subjects))
        likened = self._likened(head, asked)
        standings = _standings(asked, measured)
        return tuple(_explanation(asked, measured, standings, item, likened) for item in subjects.values())

    def _subjects(self, head: Head, asked: Asked, hits: Sequence[Hit]) -> dict[int, Item]:
        """The items to explain by their ids, hits first."""
        named = self._by_keys(head, asked.query.explain_keys)
        missing = [key for key in asked.query.explain_keys if key not in named]
        if missing:
            raise ItemNotFound(f"the collection {head.name!r} has no item {missing[0]!r} to explain")
        return {item.id: item for item in (*(hit.item for hit in hits[: asked.query.explain]), *named.values())}

    def _likened(self, head: Head, asked: Asked) -> dict[str, Item]:
        """The items of the collection that are parts of the query, by key."""
        own = (part for part in asked.query.parts if part.collection in (None, head.name))
        return self._by_keys(head, [part.item for part in own if part.item is not None])

    def _by_keys(self, head: Head, keys: Sequence[str]) -> dict[str, Item]:
        if not keys:
            return {}
        with self.database.read() as session:
            ids = items.ids_of_keys(session, head.id, keys)
            held = items.by_ids(session, list(ids.values()))
        found = {key: held[ids[key]] for key in keys if ids.get(key) in held}
        for item in found.values():
            items.refuse_damaged(item)
        return found

    def _values(
        self, asked: Asked, variants: Mapping[Place, Plan], values: PartVectors, tuned: TunedSpaces
    ) -> ValueVectors:
        """The vectors of the variants: those of the query; but what went through the model together is embedded."""
        known: dict[Place, Mapping[int, FloatArray]] = {}
        anew: dict[Place, Plan] = {}
        for place, planned in variants.items():
            whole = asked.rankings[place[0]]
            if whole.fusion is Fusion.JOINT and len(planned.parts) < len(whole.parts):
                anew[place] = planned
                continue
            own = values.get(place[0], {})
            kept = _kept(place[1], len(whole.parts))
            known[place] = {new: own[old] for new, old in enumerate(kept) if old in own}
        return {**known, **embed_values(self.embedder, anew, tuned)}

    def _measure(
        self, head: Head, asked: Asked, variants: Mapping[Place, Plan], values: ValueVectors, ids: list[int]
    ) -> _Measured:
        by_space: dict[SpaceHead, dict[Place, Plan]] = defaultdict(dict)
        for place, planned in variants.items():
            by_space[planned.space][place] = planned
        found: dict[Place, Ranking] = {}
        exact: dict[Place, Mapping[int, float]] = {}
        codes: dict[int, RankingCodes] = {}
        names: dict[int, Names] = {}
        for space, plans in by_space.items():
            check_wanted()
            inside = self._in_space(head, space, plans, values, ids)
            found |= inside.found
            exact |= inside.exact
            codes |= inside.codes
            names |= inside.names
        with self.database.read() as session:
            by_words = [
                words.ranked(session, head.id, given.text, asked.where, _depth(asked)) for given in asked.query.words
            ]
        note = why_none(self.embedder, [ranking.space.name for ranking in asked.rankings])
        return _Measured(found, exact, by_words, codes, names, note)

    def _in_space(
        self, head: Head, space: SpaceHead, plans: Mapping[Place, Plan], values: ValueVectors, ids: list[int]
    ) -> _InSpace:
        live = self.live_space(head, space)
        parts = (part for planned in plans.values() for part in planned.parts)
        keys = {(part.collection, part.item) for part in parts if part.item is not None}
        filters = {planned.where for planned in plans.values() if planned.where is not None}
        with self.database.read() as session:
            now = collections.head_by_id(session, head.id)
            stored, own = raw_item_vectors(session, now, space, keys), raw_vectors(session, now, space, ids)
            resolved = live.resolve(session, now, filters)
        live.refresh(now)
        with live.reading(resolved) as view:
            vectors, _ = ranking_vectors(plans, values, stored, view.centre)
            rows = {item_id: centre(vector[None], view.centre, space.blocks)[0] for item_id, vector in own.items()}
            found, mean, count = nearest_items(view, plans, vectors), view.centre, view.count()
        sample = self.backgrounds.get(now, space, self.embedder.spaces[space.name], mean, count)
        exact: dict[Place, Mapping[int, float]] = {
            place: {item_id: max(-1.0, min(1.0, float(row @ vector))) for item_id, row in rows.items()}
            for place, vector in vectors.items()
        }
        whole = {place[0]: planned for place, planned in plans.items() if place[1] == _WHOLE}
        codes = {number: ranking_codes(self.embedder, planned, stored, own) for number, planned in whole.items()}
        names = {number: self._names(number, planned, vectors, own) for number, planned in whole.items()}
        return _InSpace(with_standings(sample, vectors, found, count), exact, codes, names)

    def _names(
        self, number: int, planned: Plan, vectors: Mapping[Place, FloatArray], own: Mapping[int, FloatArray]
    ) -> Names:
        places = range(len(planned.parts))
        of_parts = {place: vectors[number, _alone(place)] for place in places if (number, _alone(place)) in vectors}
        return ranking_names(self.embedder, planned.space.name, of_parts, own)


def _depth(asked: Asked) -> int:
    return DEPTH if asked.is_one_ranking else asked.depth


def _kept(variant: int, parts: int) -> Sequence[int]:
    """The places of the parts that a variant of a ranking has."""
    if variant == _WHOLE:
        return range(parts)
    place = (variant - 1) // 2
    return [place] if variant == _alone(place) else [other for other in range(parts) if other != place]


def _variants(asked: Asked) -> dict[Place, Plan]:
    """Every ranking as a whole, of each of its parts alone, and without each of them if something wanted is left."""
    found: dict[Place, Plan] = {}
    for number, ranking in enumerate(asked.rankings):
        whole = replace(ranking, depth=_depth(asked))
        found[number, _WHOLE] = whole
        for place, part in enumerate(whole.parts):
            alone = (replace(part, weight=1.0),)
            found[number, _alone(place)] = replace(whole, parts=alone, fusion=Fusion.LATE)
            others = whole.parts[:place] + whole.parts[place + 1 :]
            if _finds(others, whole.parts):
                fusion = Fusion.LATE if whole.fusion is Fusion.JOINT and len(others) == 1 else whole.fusion
                found[number, _rest(place)] = replace(whole, parts=others, fusion=fusion)
    return found


def _finds(others: Sequence[Part], parts: Sequence[Part]) -> bool:
    """Whether some of the parts of a ranking ask for the same kind of thing: for what is wanted, if anything was."""
    wants = any(part.weight > 0 for part in parts)
    return any(part.weight > 0 if wants else part.weight for part in others)


def _standings(asked: Asked, measured: _Measured) -> _Standings:
    without_parts: dict[Place, _Standing | None] = {}
    for number, ranking in enumerate(asked.rankings):
        for place in range(len(ranking.parts)):
            check_wanted()
            without_parts[number, place] = _without_part(asked, measured, number, place)
    without_words = [_without_words(asked, measured, number) for number in range(len(asked.query.words))]
    return _Standings(_whole(asked, measured), without_parts, without_words)


def _explanation(
    asked: Asked, measured: _Measured, standings: _Standings, item: Item, likened: Mapping[str, Item]
) -> Explanation:
    whole = standings.whole
    score = whole.scores.get(item.id, 0.0)
    shares = []
    for number, ranking in enumerate(asked.rankings):
        for place, part in enumerate(ranking.parts):
            alone = _one_ranking(measured, (number, _alone(place)))
            rest = standings.without_parts[number, place]
            given = _part_share(_as_asked(asked, number, part), ranking.space.name, item, alone, rest, score)
            codes = measured.codes[number].shared(place, item.id)
            names = measured.names[number].shared(place, item.id)
            shares.append(replace(given, words=shared_words(part, item, likened), names=names, codes=codes))
    for number, given_words in enumerate(asked.query.words):
        ranks = dict(measured.by_words[number])
        rest = standings.without_words[number]
        told = _part_share(given_words, None, item, _Standing({}, ranks), rest, score)
        shares.append(replace(told, words=shared_words(given_words, item, likened)))
    rankings = () if asked.is_one_ranking else _ranking_shares(asked, measured, item)
    together = measured.codes[0].together(item.id) if asked.is_one_ranking else None
    rank, depth = whole.ranks.get(item.id), _depth(asked)
    named = [name for names in measured.names.values() for name in names.of_item(item.id)]
    names = tuple(dict.fromkeys(named))
    return Explanation(item.key, score, rank, depth, tuple(shares), rankings, together, names, measured.note)


def _part_share(
    part: Part | Words, space: str | None, item: Item, alone: _Standing, rest: _Standing | None, score: float
) -> PartShare:
    without = None if rest is None else rest.scores.get(item.id, 0.0)
    modality, text, key = _named(part)
    return PartShare(
        modality=modality,
        text=text,
        item=key,
        weight=part.weight,
        space=space,
        similarity=alone.scores.get(item.id),
        rank=alone.ranks.get(item.id),
        score_without=without,
        rank_without=None if rest is None else rest.ranks.get(item.id),
        contribution=None if without is None else score - without,
    )


def _named(part: Part | Words) -> tuple[str | None, str | None, str | None]:
    """What tells a part from others: its modality, its text, and the key of an item."""
    if isinstance(part, Words):
        return "words", part.text, None
    return part.modality, part.value if isinstance(part.value, str) else None, part.item


def _as_asked(asked: Asked, number: int, part: Part) -> Part:
    """A part with the weight that the query has: of what is only pushed away, a ranking has the opposite."""
    pushes = not asked.is_one_ranking and asked.weights[number] < 0
    return replace(part, weight=-part.weight) if pushes else part


def _one_ranking(measured: _Measured, place: Place) -> _Standing:
    ranks = dict(ranks_of(measured.found[place].scores)) if place in measured.found else {}
    return _Standing(measured.exact.get(place, {}), ranks)


def _whole(asked: Asked, measured: _Measured) -> _Standing:
    if asked.is_one_ranking:
        return _one_ranking(measured, (0, _WHOLE))
    added = _added(_weighted(asked, measured, {}))
    assert added is not None, "a query of several rankings wants one of them"
    return added


def _without_part(asked: Asked, measured: _Measured, number: int, place: int) -> _Standing | None:
    """How items stand without one part of a ranking; None if nothing wanted is left."""
    there = (number, _rest(place))
    if asked.is_one_ranking:
        return _one_ranking(measured, there) if there in measured.found else None
    others = [_as_asked(asked, number, part) for part in asked.rankings[number].parts]
    del others[place]
    # What is asked in several spaces has a ranking in each.
    spaces = max(1, len(asked.query.spaces))
    apart = len(asked.rankings) // spaces
    alike = range(number % apart, len(asked.rankings), apart)
    weight = weight_of(others) / spaces
    left = _weighted(asked, measured, {one: _changed(measured, (one, _rest(place)), weight) for one in alike})
    return _added(left)


def _changed(measured: _Measured, place: Place, weight: float) -> tuple[float, Ranking] | None:
    return (weight, measured.found[place]) if place in measured.found else None


def _without_words(asked: Asked, measured: _Measured, number: int) -> _Standing | None:
    return _added(_weighted(asked, measured, {len(asked.rankings) + number: None}))


def _weighted(asked: Asked, measured: _Measured, instead: Mapping[int, tuple[float, Ranking] | None]) -> list[Weighted]:
    """The rankings of a query with their weights, those of words last; `instead` replaces some, or leaves them out."""
    nothing = Ranking([], None, 0)
    found = [measured.found.get((number, _WHOLE), nothing) for number in range(len(asked.rankings))]
    changed = {number: one for number, one in instead.items() if one is not None and number < len(found)}
    weights = [changed[number][0] if number in changed else weight for number, weight in enumerate(asked.weights)]
    rankings = [changed[number][1] if number in changed else one for number, one in enumerate(found)]
    every = replace(asked, weights=tuple(weights)).weighted(rankings, measured.by_words)
    return [one for number, one in enumerate(every) if instead.get(number, one) is not None]


def _added(weighted: Sequence[Weighted]) -> _Standing | None:
    """How items stand in rankings together; None if none of them is wanted."""
    if not any(ranking.weight > 0 for ranking in weighted):
        return None
    scores = fused(weighted)
    return _Standing(dict(scores), dict(ranks_of(scores)))


def _ranking_shares(asked: Asked, measured: _Measured, item: Item) -> tuple[RankingShare, ...]:
    spaces = [*(ranking.space.name for ranking in asked.rankings), *(None for _ in asked.query.words)]
    weighted = _weighted(asked, measured, {})
    given = parts_of_score(weighted, item.id)
    return tuple(
        RankingShare(space, ranking.weight, dict(ranking.ranked).get(item.id), share)
        for space, ranking, share in zip(spaces, weighted, given, strict=True)
    )
