"""The choice of a kind of FAISS index by the number of vectors, and of when to rebuild: constants, with reasons.

Times are of 768 numbers a vector on two cores (docs/indexes.md).
"""

import math
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The structure by which an index finds the nearest vectors."""

    FLAT = "flat"  # every vector is compared: exact, and nothing to build
    HNSW = "hnsw"  # a graph of neighbours over vectors of 8 bits a number
    IVF = "ivf"  # lists around centroids, with codes of 4 bits for every two numbers
    GPU = "gpu"  # every vector is compared, at 16 bits a number, on a GPU


# Comparing with this many vectors takes 8 ms; with fewer, an index that misses some gains nothing.
FLAT_UP_TO = 20_000
# HNSW is as fast as IVF and misses less, but takes 1 to 2 ms of work per vector: 5 minutes for this many, where IVF
# takes half a minute.
HNSW_UP_TO = 200_000
# An index returns to a smaller kind only well below the size at which it left it, or a collection that stays around
# that size would be rebuilt again and again.
BACK_BELOW = 0.5

# Dead rows are scored and discarded. At a fifth of all rows, they cost about a fifth of the time and memory.
MOST_DEAD = 0.2
# Fewer dead rows are not worth the work, whatever their share.
LEAST_DEAD = 1_000
# Centroids placed for this many times fewer vectors have lists that are too long.
OUTGROWN = 4
# New vectors are compared one by one up to this number (0.5 ms), then added to the graph or the lists.
MOST_PENDING = 1_024
# They are added in the background, at most this many at once, so that a process can end within seconds.
TAKEN_AT_ONCE = 4_096


@dataclass(frozen=True)
class State:
    """The state of an index. `pending` rows are not in its graph or lists, which were made for `trained_for` rows."""

    kind: Kind
    living: int
    dead: int
    pending: int
    trained_for: int


def suitable(wanted: Kind | None, living: int, held: Kind) -> Kind:
    """The kind for `living` vectors, given the current kind `held`; `wanted` is the user's choice."""
    if wanted is Kind.GPU:
        return Kind.GPU if living > FLAT_UP_TO * (BACK_BELOW if held is Kind.GPU else 1) else Kind.FLAT
    if wanted is not None:
        return wanted if living >= least(wanted) else Kind.FLAT
    if living > HNSW_UP_TO * (BACK_BELOW if held is Kind.IVF else 1):
        return Kind.IVF
    return Kind.HNSW if living > FLAT_UP_TO * (BACK_BELOW if held is not Kind.FLAT else 1) else Kind.FLAT


def least(kind: Kind) -> int:
    """The least number of vectors on which the kind can be trained."""
    return {Kind.IVF: 1_000, Kind.HNSW: 1_000}.get(kind, 0)


def is_worn(state: State) -> bool:
    """True if the index should be rebuilt although its kind suits."""
    rows = state.living + state.dead
    too_many_dead = state.dead > LEAST_DEAD and state.dead > MOST_DEAD * rows
    return too_many_dead or (state.kind is Kind.IVF and rows > OUTGROWN * state.trained_for)


def lists_for(count: int) -> int:
    """The number of lists of an IVF index of `count` vectors: the power of two nearest to twice the square root.

    Finding the nearest centroids costs as much as scanning their lists at about the root; more lists take longer to
    place, fewer make filters and large `k` slow.
    """
    return int(2 ** round(math.log2(2 * math.sqrt(max(1, count)))))
