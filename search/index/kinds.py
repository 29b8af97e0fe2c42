"""Which kind of FAISS index suits how many vectors, and when another is worth building: the constants, with reasons.

Times are of 768 numbers a vector on two cores (docs/indexes.md).
"""

import math
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How the nearest are looked for."""

    FLAT = "flat"  # every vector is compared: exact, and nothing to build
    HNSW = "hnsw"  # a graph of neighbours over vectors of 8 bits a number
    IVF = "ivf"  # lists around centroids, with codes of 4 bits for every two numbers
    GPU = "gpu"  # every vector is compared, at 16 bits a number, on a GPU


# Comparing with so many vectors takes 8 ms; below it nothing is gained by an index that misses some.
FLAT_UP_TO = 20_000
# HNSW finds as fast as IVF and misses less, but takes 1 to 2 ms of work for every vector: 5 minutes for so many, where
# IVF takes half a minute.
HNSW_UP_TO = 200_000
# A smaller kind is gone back to only well below the size at which it was left, or a collection that stays around that
# size would be built again and again.
BACK_BELOW = 0.5

# Rows that are dead are looked at and thrown away. At a fifth of all, that costs about a fifth of the time and memory.
MOST_DEAD = 0.2
# Fewer are not worth the work, whatever their share.
LEAST_DEAD = 1_000
# Centroids that were placed for so many times fewer vectors have lists that are too long.
OUTGROWN = 4
# New vectors are compared one by one until so many have come (0.5 ms), then taken into the graph or the lists.
MOST_PENDING = 1_024
# That is done in the background with at most so many at once, so that a process can end within seconds.
TAKEN_AT_ONCE = 4_096


@dataclass(frozen=True)
class State:
    """Where an index stands. `pending` rows are not in its graph or lists, which were made for `trained_for` rows."""

    kind: Kind
    living: int
    dead: int
    pending: int
    trained_for: int


def suitable(wanted: Kind | None, living: int, held: Kind) -> Kind:
    """The kind for `living` vectors where now there is `held`; `wanted` is the user's own choice."""
    if wanted is Kind.GPU:
        return Kind.GPU if living > FLAT_UP_TO * (BACK_BELOW if held is Kind.GPU else 1) else Kind.FLAT
    if wanted is not None:
        return wanted if living >= least(wanted) else Kind.FLAT
    if living > HNSW_UP_TO * (BACK_BELOW if held is Kind.IVF else 1):
        return Kind.IVF
    return Kind.HNSW if living > FLAT_UP_TO * (BACK_BELOW if held is not Kind.FLAT else 1) else Kind.FLAT


def least(kind: Kind) -> int:
    """How many vectors the kind needs to be trained at all."""
    return {Kind.IVF: 1_000, Kind.HNSW: 1_000}.get(kind, 0)


def is_worn(state: State) -> bool:
    """Whether the index should be built again although its kind suits."""
    rows = state.living + state.dead
    too_many_dead = state.dead > LEAST_DEAD and state.dead > MOST_DEAD * rows
    return too_many_dead or (state.kind is Kind.IVF and rows > OUTGROWN * state.trained_for)


def lists_for(count: int) -> int:
    """How many lists an IVF index of `count` vectors has: the power of two nearest to twice the root.

    Finding the nearest centroids costs as much as scanning their lists at about the root; more lists take longer to
    place, fewer make filters and large `k` slow.
    """
    return int(2 ** round(math.log2(2 * math.sqrt(max(1, count)))))
