"""Measures whether what is asked together holds together: queries of two conditions, and of one without another.

    python -m benchmarks.conditions [--measure PACKS] [--queries 300] [--seed 0] [--json]

`--measure` reads the packs segmentation, captions and photos of the folder PACKS, for about ten minutes on two cores,
and writes docs/measurements/conditions.json. It prints tables of that file beside those of `conditions-before.json`,
measured before words counted as much as items and clear colours were conditions. A row has the share of the first ten
hits that meet both conditions, and that of the better part alone. For a query with a negative part, the one after the
minus, it has the shares with the wanted and with the unwanted thing, with and without that part. Intervals are 95%
bootstrap intervals over queries. `--queries` is the most of a kind, drawn with `--seed`.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.model.home import default_home
from anyseek.model.registry.loading import load_embedder
from anyseek.search.evaluation.measures import Estimate, estimate
from anyseek.search.evaluation.real_collection import RealCollection, real_collection
from anyseek.search.types import Query
from benchmarks.conditions.sources import (
    Asked,
    Gallery,
    emoji,
    groceries,
    photos_of_one_thing,
    photos_with_captions,
    photos_with_masks,
)
from benchmarks.reporting import markdown_table, option_parser, read_result, write_result

NAME = "conditions"
Json = Mapping[str, Any]
_TOP = 10
_PHOTOS = 1000  # of a source; three times as many with captions
_MIN_QUERIES = 5
_EACH = 2  # items or drawings asked with for each pair of conditions


@dataclass(frozen=True)
class Row:
    """Shares of the first ten hits that have what is `wanted` and what is `unwanted`, which only negative parts have.

    `alone` is the best share of what is wanted by a single part, and `alone_unwanted` that of what is not.
    """

    source: str
    kind: str
    items: int
    queries: int
    wanted: Estimate
    alone: Estimate
    unwanted: Estimate | None = None
    alone_unwanted: Estimate | None = None


def kinds_of(gallery: Gallery) -> dict[str, list[Asked]]:
    """The queries of each kind that a gallery has an answer for."""
    return {
        "word + colour": gallery.coloured_words(),
        "drawing + colour": gallery.coloured_drawings(_EACH),
        "item + colour": gallery.coloured_items(_EACH),
        "item + word": gallery.words_for_items(_EACH),
        "word - word": gallery.words_less(),
        "item - word": gallery.items_less(_EACH),
    }


def measure(collection: RealCollection, gallery: Gallery, kind: str, asked: Sequence[Asked]) -> Row:
    """The row of one kind of query."""
    wants = [one.wanted for one in asked]
    together = first_keys(collection, asked)
    if not asked[0].unwanted:
        alone = [first_keys(collection, [_only(one, place) for one in asked]) for place in range(2)]
        best = max((_shares(hits, wants) for hits in alone), key=np.mean)
        estimates = [estimate(shares, np.mean) for shares in (_shares(together, wants), best)]
    else:
        unwanted, without = [one.unwanted for one in asked], first_keys(collection, [_only(one, 0) for one in asked])
        pairs = ((together, wants), (without, wants), (together, unwanted), (without, unwanted))
        estimates = [estimate(_shares(hits, sets), np.mean) for hits, sets in pairs]
    return Row(gallery.name, kind, len(gallery.pictures), len(asked), *estimates)


def first_keys(collection: RealCollection, asked: Sequence[Asked]) -> list[list[str]]:
    """The keys of the first ten hits of each query but the item that it asks with."""
    answers = collection.answers([Query(one.parts, _TOP + 1) for one in asked])
    hits = [[hit.key for hit in answer.hits] for answer in answers]
    return [[key for key in keys if key != one.itself][:_TOP] for one, keys in zip(asked, hits, strict=True)]


def _only(asked: Asked, place: int) -> Asked:
    return replace(asked, parts=asked.parts[place : place + 1])


def _shares(hits: Sequence[Sequence[str]], sets: Sequence[Set[str]]) -> npt.NDArray[np.float64]:
    return np.array([np.mean([key in keys for key in first]) for first, keys in zip(hits, sets, strict=True)])


def sources(packs: Path, home: Path) -> Iterator[tuple[Gallery, dict[str, list[Asked]]]]:
    """Each gallery with its queries by kind."""
    photos = [photos_with_masks(packs, source, _PHOTOS) for source in ("clothing-co-parsing", "coco")]
    photos += [photos_with_captions(packs, source, 3 * _PHOTOS) for source in ("flickr8k", "coco")]
    photos += [photos_of_one_thing(packs, _PHOTOS), emoji(home / "downloads", _PHOTOS)]
    for gallery in photos:
        yield gallery, kinds_of(gallery)
    gallery, asked = groceries(packs, _PHOTOS)
    yield gallery, {"kind - member": asked}


def main() -> None:
    options = _parse_options()
    if options.measure:
        measured = partial(measure_all, options.measure, options.queries, options.seed)
        write_result(NAME, "python -m benchmarks.conditions --measure PACKS", measured)
    result = read_result(NAME)
    before = read_result(f"{NAME}-before")
    print(
        json.dumps(result) if options.json else f"{together_table(result, before)}\n\n{negative_table(result, before)}"
    )


def measure_all(packs: Path, most: int, seed: int) -> dict[str, Any]:
    """The rows of all sources, with at most so many queries of a kind."""
    home = default_home()
    embedder = load_embedder("4m-tiny", home)
    rows: list[Row] = []
    for gallery, kinds in sources(packs, home):
        print(f"{gallery.name}: {len(gallery.pictures)} items", file=sys.stderr, flush=True)
        drawn = {kind: _drawn(asked, most, seed) for kind, asked in kinds.items() if len(asked) >= _MIN_QUERIES}
        with real_collection(embedder, gallery.samples) as collection:
            rows += [measure(collection, gallery, kind, asked) for kind, asked in drawn.items()]
    return {"seed": seed, "rows": [asdict(row) for row in rows]}


def _drawn(asked: Sequence[Asked], most: int, seed: int) -> list[Asked]:
    places = np.random.default_rng(seed).permutation(len(asked))[:most]
    return [asked[place] for place in sorted(places.tolist())]


def together_table(result: Json, before: Json) -> str:
    """The queries of two conditions in Markdown, beside what they found before."""
    header = ("source", "query", "n", "items", "before", "now", "best part alone")
    return markdown_table(
        header,
        [
            (*_names(row), _text(old["wanted"]), _text(row["wanted"]), _text(row["alone"]))
            for row, old in _pairs(result, before)
            if row["unwanted"] is None
        ],
    )


def negative_table(result: Json, before: Json) -> str:
    """The queries with a negative part in Markdown, without it, before and now."""
    header = ("source", "query", "n", "items", "wanted: without", "before", "now", "unwanted: without", "before", "now")
    return markdown_table(
        header,
        [
            (*_names(row), *(_text(each) for name in ("wanted", "unwanted") for each in _three(row, old, name)))
            for row, old in _pairs(result, before)
            if row["unwanted"] is not None
        ],
    )


def _pairs(result: Json, before: Json) -> list[tuple[Json, Json]]:
    old = {(row["source"], row["kind"]): row for row in before["rows"]}
    return [(row, old[row["source"], row["kind"]]) for row in result["rows"]]


def _names(row: Json) -> tuple[object, ...]:
    return row["source"], row["kind"], row["queries"], f"{row['items']:,}"


def _three(row: Json, old: Json, name: str) -> tuple[Json, Json, Json]:
    return row["alone" if name == "wanted" else "alone_unwanted"], old[name], row[name]


def _text(estimated: Json) -> str:
    return "{value:.3f} ({low:.3f} to {high:.3f})".format(**estimated)


def _parse_options() -> argparse.Namespace:
    parser = option_parser("conditions", __doc__)
    parser.add_argument("--measure", type=Path, metavar="PACKS", help="measure with the packs of this folder")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
