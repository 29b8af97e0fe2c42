"""How well ambiguous queries are told from others, and how `GAIN` of `anyseek.search.readings` was chosen.

    python -m benchmarks.readings [--limit N]

The gallery has OpenMoji's animals, food, places, activities and objects without their lines. Clear queries are captions
of single emoji of whose best 24 hits at least 0.6 are of the emoji's own group; ambiguous ones are two such captions of
different groups, as two parts. One half of the subgroups chooses the gain: the least one of which at least 0.8 of the
queries that it splits are ambiguous, of as many clear as ambiguous ones. The other half measures it. Homonyms are words
that name two to eight emoji of several groups, and stand beside words that name as many of one group.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import click
import numpy as np

from anyseek.model.galleries.openmoji import (
    Concept,
    Drawings,
    Rendering,
    draw_svg,
    fetch_wheel,
    keep_groups,
    read_concepts,
)
from anyseek.model.home import default_home
from anyseek.model.loading import load_embedder
from anyseek.model.seam import Embedder, EmbeddingSpace, FloatArray, Sample
from anyseek.search.query_vectors import centre_queries, fuse
from anyseek.search.readings import DEPTH, splits
from anyseek.search.spaces.base import centre

_GROUPS = ("animals & nature", "food & drink", "travel & places", "activities", "objects")
_AT_ONCE = 32
_NEAR, _SHARE = 24, 0.6
_GAINS = tuple(round(0.03 + 0.005 * step, 3) for step in range(15))
_PRECISE = 0.8
_MOST_NAMED = 8


@dataclass(frozen=True)
class Measured:
    """Gains of the first split: of clear queries, and of ambiguous ones."""

    clear: FloatArray
    ambiguous: FloatArray

    def precision(self, gain: float) -> float:
        """The share of ambiguous queries among those that are split, 1 if none is."""
        found, wrong = int((self.ambiguous >= gain).sum()), int((self.clear >= gain).sum())
        return found / (found + wrong) if found + wrong else 1.0

    def row(self, gain: float) -> str:
        """Precision and recall, and both kinds of misses."""
        missed, wrong = int((self.ambiguous < gain).sum()), int((self.clear >= gain).sum())
        queries = len(self.clear)  # and as many ambiguous ones
        return (
            f"{gain:.3f} | {self.precision(gain):.3f} | {1 - missed / queries:.3f} | "
            f"{missed} of {queries} | {wrong} of {queries}"
        )


@dataclass(frozen=True)
class Gallery:
    """Emoji with their centred vectors (n, d) and those of their captions, row by row."""

    concepts: Sequence[Concept]
    rows: FloatArray
    captions: FloatArray

    def gain(self, asked: FloatArray) -> float:
        """The gain of the first split of a query's hits; -1 where a part is too small to be a reading."""
        best = self.rows[np.argsort(-(self.rows @ asked), kind="stable")[:DEPTH]]
        split = next(splits(best.astype(np.float64)))
        return split.gain if split.is_clear(-1) else -1.0

    def is_clear(self, number: int) -> bool:
        """Whether the best hits of an emoji's caption are of its own group."""
        best = np.argsort(-(self.rows @ self.captions[number]), kind="stable")[:_NEAR]
        own = self.concepts[number].group
        return float(np.mean([self.concepts[other].group == own for other in best])) >= _SHARE


@click.command()
@click.option("--model", default="4m-tiny", show_default=True, help="A bundled model.")
@click.option("--limit", type=click.IntRange(10), help="At most so many emoji of each group.")
def main(model: str, limit: int | None) -> None:
    """Print what each gain finds on the half that chooses, and what the chosen one finds on the other."""
    embedder = load_embedder(model, default_home())
    space = embedder.spaces[embedder.default_space("caption")]
    gallery = _gallery(embedder, space, limit)
    choosing, measuring = (_measured(gallery, half) for half in (0, 1))
    click.echo("half | gain | precision | recall | ambiguous ones missed | clear ones split")
    for gain in _GAINS:
        click.echo(f"choosing | {choosing.row(gain)}")
    chosen = next((gain for gain in _GAINS if choosing.precision(gain) >= _PRECISE), _GAINS[-1])
    click.echo(f"measuring | {measuring.row(chosen)}")
    for kind, words in _named(gallery.concepts).items():
        gains = np.array([gallery.gain(row) for row in _captions(embedder, space, words)])
        click.echo(f"{kind} | {chosen:.3f} | {(gains >= chosen).sum()} of {len(words)} have several readings")


def _gallery(embedder: Embedder, space: EmbeddingSpace, limit: int | None) -> Gallery:
    held = [concept for concept in read_concepts() if concept.caption]
    concepts = [concept for group in _GROUPS for concept in [one for one in held if one.group == group][:limit]]
    with Drawings(fetch_wheel(default_home() / "downloads")) as drawings:
        pictures = [draw_svg(keep_groups(drawings[concept.hexcode], Rendering.COLOUR)) for concept in concepts]
    raw = [
        embedder.embed_gallery(
            [Sample({"rgb": picture}) for picture in pictures[start : start + _AT_ONCE]], [space.name]
        )
        for start in range(0, len(pictures), _AT_ONCE)
    ]
    vectors = np.concatenate([found[space.name] for found in raw])
    captions = _captions(embedder, space, [concept.caption for concept in concepts])
    return Gallery(concepts, centre(vectors, vectors.mean(axis=0), space.blocks), captions)


def _captions(embedder: Embedder, space: EmbeddingSpace, texts: Sequence[str]) -> FloatArray:
    raw = [
        embedder.embed([Sample({"caption": text}) for text in texts[start : start + _AT_ONCE]], [space.name])[
            space.name
        ]
        for start in range(0, len(texts), _AT_ONCE)
    ]
    return centre_queries(space, ["caption"], np.concatenate(raw))


def _measured(gallery: Gallery, half: int) -> Measured:
    """What every second subgroup gives: as many pairs as clear captions."""
    kinds = sorted({concept.subgroup for concept in gallery.concepts})[half::2]
    own = [number for number, concept in enumerate(gallery.concepts) if concept.subgroup in kinds]
    clear = [number for number in own if gallery.is_clear(number)]
    pairs = _pairs(gallery.concepts, clear)
    if not pairs:
        raise click.UsageError("there are too few emoji for pairs of different groups; give a higher --limit")
    mixed = [fuse(gallery.captions[list(pair)], [1.0, 1.0]) for pair in pairs]
    asked = gallery.captions[[one for one, _ in pairs]]
    gains = [np.array([gallery.gain(vector) for vector in some]) for some in (asked, mixed)]
    return Measured(*gains)


def _pairs(concepts: Sequence[Concept], clear: Sequence[int]) -> list[tuple[int, int]]:
    """Each clear emoji with one of another group, drawn by a seed."""
    drawn = random.Random(0)
    found = []
    for one in clear:
        others = [other for other in clear if concepts[other].group != concepts[one].group]
        if others:
            found.append((one, drawn.choice(others)))
    return found


def _named(concepts: Sequence[Concept]) -> dict[str, list[str]]:
    """Words that name a few emoji: of several groups, and of one."""
    groups: dict[str, list[str]] = defaultdict(list)
    for concept in concepts:
        for word in dict.fromkeys((concept.caption, *concept.tags)):
            groups[word].append(concept.group)
    few = {word: own for word, own in groups.items() if 2 <= len(own) <= _MOST_NAMED}
    homonyms = sorted(word for word, own in few.items() if len(set(own)) > 1)
    return {"homonyms": homonyms, "words of one group": sorted(set(few) - set(homonyms))}


if __name__ == "__main__":
    main()
