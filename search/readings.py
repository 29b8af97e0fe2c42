"""Groups the best hits of an ambiguous query into its readings: "bat" is an animal, or sports gear.

The hits' centred vectors are clustered by spherical k-means (Dhillon and Modha 2001, "Concept decompositions for large
sparse text data using clustering"), which makes the *explained cosine* large: the mean of what each unit row x has in
common with the centre of its cluster s,

    Q(k) = 1/n * sum over clusters of |sum of the x in s|.

Rows of one blob gain by a split, too: if r is the mean cosine of two of n rows, k clusters taken at random have
sqrt(r + k (1 - r) / n), which is Q(1) for k = 1. A further cluster has to raise Q by `GAIN` more than it raises that;
`python -m benchmarks.readings` chose how much. The first split starts along the direction in which the rows vary most,
and each further one along that of one cluster, so the same hits have the same readings.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import Embedder, FloatArray
from anyseek.model.telling import NamingEmbedder
from anyseek.search.explanation import Reading
from anyseek.search.shared_words import telling_words
from anyseek.search.types import Item

DEPTH = 50  # so many of the best hits decide which readings there are; further ones join the nearest
GAIN = 0.08
MOST = 4  # readings of one query
_FEWEST = 5  # hits that make a reading
_ROUNDS = 50  # of k-means; it has mostly settled after five
_KNOWN = 8  # words that the model is asked for
_SHARED, _TELLING = 0.5, 0.4  # what part of a reading's items has a word, and how much more than of any other reading
_SHOWN = 2  # words of a name

Rows = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """Clusters by their centres (k, d): the smallest has `fewest` rows, and all explain `gain` more than k - 1 did."""

    centres: Rows
    fewest: int
    gain: float

    def is_clear(self, least: float) -> bool:
        """Whether each cluster is large enough to be a reading, and the last one gained `least` beyond chance."""
        return self.fewest >= _FEWEST and self.gain >= least


def readings(
    embedder: Embedder, space: str, items: Sequence[Item], vectors: Mapping[int, FloatArray]
) -> tuple[Reading, ...]:
    """The readings of a query by its best `items`, in the order of their best hits; none where there is but one.

    `vectors` are the items' centred unit vectors (d,) in `space` by id. Items without a vector, or with one that has no
    direction, are in no reading.
    """
    held = [item for item in items if item.id in vectors and vectors[item.id].any()]
    rows = np.array([vectors[item.id] for item in held], np.float64)
    centres = clusters(rows[:DEPTH])
    if len(centres) < 2:
        return ()
    labels = (rows @ centres.T).argmax(axis=1).tolist()
    ordered = list(dict.fromkeys(labels))
    groups = [[item for item, label in zip(held, labels, strict=True) if label == one] for one in ordered]
    names = _names(embedder, space, groups, centres[ordered].astype(np.float32))
    return tuple(
        Reading(name, len(group), tuple(item.key for item in group)) for name, group in zip(names, groups, strict=True)
    )


def clusters(rows: Rows, least: float = GAIN) -> Rows:
    """The centres (k, d) of the clear clusters of unit rows (n, d), from 1 to `MOST`; none of too few rows to tell."""
    if len(rows) < 2 * _FEWEST:
        return rows[:0]
    centres = _centres(rows, np.zeros(len(rows), np.int64), 1)
    for split in splits(rows):
        if not split.is_clear(least):
            break
        centres = split.centres
    return centres


def splits(rows: Rows) -> Iterator[Split]:
    """Unit rows (n, d), n at least 2, in two clusters, in three, up to `MOST`."""
    labels = np.zeros(len(rows), np.int64)
    before = _explained(rows, labels, 1)
    common = (len(rows) * before**2 - 1) / (len(rows) - 1)
    chance = before
    for count in range(2, MOST + 1):
        labels = _best_split(rows, labels, count)
        explained = _explained(rows, labels, count)
        expected = float(np.sqrt(max(0.0, common + count * (1 - common) / len(rows))))
        fewest = int(np.bincount(labels, minlength=count).min())
        yield Split(_centres(rows, labels, count), fewest, explained - before - (expected - chance))
        before, chance = explained, expected


def _best_split(rows: Rows, labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Labels from 0 to `count` - 1 after one of the clusters was cut in two: the one by which most is explained."""
    found = [labels]
    for one in range(count - 1):
        members = rows[labels == one]
        if len(members) < 2:
            continue
        spread = members - members.mean(axis=0)
        beyond = spread @ np.linalg.svd(spread, full_matrices=False)[2][0] > 0
        cut = labels.copy()
        cut[np.flatnonzero(labels == one)[beyond]] = count - 1
        found.append(_settled(rows, cut, count))
    return max(found, key=lambda each: _explained(rows, each, count))


def _settled(rows: Rows, labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """The labels once no row is nearer to another cluster's centre than to its own."""
    for _ in range(_ROUNDS):
        nearest = (rows @ _centres(rows, labels, count).T).argmax(axis=1)
        if np.array_equal(nearest, labels):
            break
        labels = nearest
    return labels


def _sums(rows: Rows, labels: npt.NDArray[np.int64], count: int) -> Rows:
    return np.stack([rows[labels == one].sum(axis=0) for one in range(count)])


def _centres(rows: Rows, labels: npt.NDArray[np.int64], count: int) -> Rows:
    """Unit rows (count, d); a cluster without rows, or whose rows cancel out, has a centre of zeros."""
    sums = _sums(rows, labels, count)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    unit: Rows = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    return unit


def _explained(rows: Rows, labels: npt.NDArray[np.int64], count: int) -> float:
    return float(np.linalg.norm(_sums(rows, labels, count), axis=1).sum() / len(rows))


def _names(embedder: Embedder, space: str, groups: Sequence[Sequence[Item]], centres: FloatArray) -> Sequence[str]:
    """A name for each reading: words of its items, else the model's, else what its best item is called."""
    shares = [_shares(group) for group in groups]
    known = _known(embedder, space, centres)
    names = []
    for number, group in enumerate(groups):
        others = [share for other, share in enumerate(shares) if other != number]
        words = _telling(shares[number], others) or _only(known, number)
        names.append(", ".join(words[:_SHOWN]) or group[0].caption or group[0].key)
    return [_apart(name, group[0], names) for name, group in zip(names, groups, strict=True)]


def _apart(name: str, best: Item, names: Sequence[str]) -> str:
    """The name of a reading, with the key of its best item where another reading has the same name."""
    return f"{name} ({best.key})" if names.count(name) > 1 else name


def _shares(group: Sequence[Item]) -> dict[str, float]:
    """What part of the items has each word in its key, caption or attributes."""
    counts = Counter(word for item in group for word in telling_words(item))
    return {word: count / len(group) for word, count in counts.items()}


def _telling(own: Mapping[str, float], others: Sequence[Mapping[str, float]]) -> list[str]:
    """The words that many items of a reading have and few of any other, the most telling first."""
    more = {word: share - max(other.get(word, 0.0) for other in others) for word, share in own.items()}
    kept = [word for word, lead in more.items() if own[word] >= _SHARED and lead >= _TELLING]
    return sorted(kept, key=lambda word: (-more[word], word))


def _known(embedder: Embedder, space: str, centres: FloatArray) -> Sequence[tuple[str, ...]]:
    """The model's words for each centre, nearest first; none in a space for which it has none."""
    if not isinstance(embedder, NamingEmbedder) or space not in embedder.naming_spaces:
        return [()] * len(centres)
    return embedder.names(centres, space, _KNOWN)


def _only(known: Sequence[tuple[str, ...]], number: int) -> list[str]:
    """The model's words for one reading that are not among those of another."""
    others = {word for other, words in enumerate(known) if other != number for word in words}
    return [word for word in known[number] if word not in others]
