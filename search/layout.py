"""Places vectors on a plane so that neighbours stay neighbours: t-SNE, and the rest beside their nearest placed ones.

The layout is that of van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 9 (2008). Equation 1 turns
distances into the chances `p(j|i)` that i picks j as its neighbour, with a width for each i that has the perplexity
asked for; `p(i,j)` is the mean of both directions. On the map the chances `q(i,j)` go by 1 / (1 + distance^2) (equation
4), and equation 5 is the gradient that brings them together. As in van der Maaten, "Accelerating t-SNE using Tree-Based
Algorithms", JMLR 15 (2014), only the 3 x perplexity nearest neighbours have a `p`. The start from principal components
is that of Kobak and Berens, "The art of using t-SNE for single-cell transcriptomics", Nature Communications 10 (2019).

Forces are computed between all pairs, so at most `MOST_LAID_OUT` vectors are laid out, a sample if there are more. Each
of the others stands at the median of its nearest laid-out neighbours on the map (Policar et al., "openTSNE", 2019).
"""

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.reading.budget import check_wanted
from anyseek.model.seam import FloatArray
from anyseek.search.types import IdArray

MOST_LAID_OUT = 2_000
_COMPONENTS = 50
_PERPLEXITY = 30.0
_NEIGHBOURS_OF_OTHERS = 5
_AT_ONCE = 1_000  # vectors that are compared with all laid-out ones together
_EXAGGERATED, _STEPS = 100, 350  # the first steps pull neighbours together harder; 750 steps keep no more of them
_EXAGGERATION = 12.0
_START = 1e-4  # the spread of the first positions, as in the paper
_BISECTIONS = 40
_LEAST = np.float32(1e-12)

_Doubles = npt.NDArray[np.float64]


def lay_out(vectors: FloatArray, seed: int = 0, most: int = MOST_LAID_OUT) -> FloatArray:
    """Positions (n, 2) of unit vectors (n, d), float32 within -1 and 1; equal arguments give equal positions.

    At most `most` of them, chosen by `seed`, push and pull each other; the others are placed beside these.
    """
    count = len(vectors)
    if count < 4:
        return _few(count)
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(count, most, replace=False)) if count > most else np.arange(count)
    reduced = principal_components(vectors, vectors[chosen], _COMPONENTS)
    laid_out = _tsne(reduced[chosen], random)
    if count == len(chosen):
        return _framed(laid_out)
    positions = _beside(reduced, reduced[chosen], laid_out)
    positions[chosen] = laid_out
    return _framed(positions)


def principal_components(vectors: FloatArray, fitted_on: FloatArray, most: int) -> FloatArray:
    """Vectors (n, d) along the directions in which those of `fitted_on` (m, d) vary most: (n, min(most, d)).

    The largest member of each direction is positive, so that equal vectors always give equal components.
    """
    mean = fitted_on.mean(axis=0, dtype=np.float64)
    moved = fitted_on - mean
    _, directions = np.linalg.eigh(moved.T @ moved)  # ascending
    kept = directions[:, ::-1][:, :most]
    kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    turned: FloatArray = (vectors @ kept.astype(np.float32)) - (mean @ kept).astype(np.float32)
    return turned


def _few(count: int) -> FloatArray:
    """One in the middle, two side by side, three as a triangle: fewer than four have no neighbourhoods to keep."""
    places = {0: [], 1: [(0, 0)], 2: [(-1, 0), (1, 0)], 3: [(-1, -0.75), (1, -0.75), (0, 0.75)]}
    return np.array(places[count], np.float32).reshape(count, 2)


def _tsne(points: FloatArray, random: np.random.Generator) -> FloatArray:
    """Positions (n, 2) of points (n, d), by gradient descent with momentum and a gain for each coordinate."""
    chances = _chances(points)
    start = points[:, :2] + random.normal(scale=1e-6, size=(len(points), 2))  # so that equal points part
    placed = (start / max(float(start[:, 0].std()), 1e-12) * _START).astype(np.float32)
    speed, gains = np.zeros_like(placed), np.ones_like(placed)
    rate = np.float32(max(len(points) / _EXAGGERATION / 4, 50.0))
    for step in range(_STEPS):
        check_wanted()
        is_early = step < _EXAGGERATED
        gradient = _gradient(placed, chances * np.float32(_EXAGGERATION) if is_early else chances)
        turned = np.sign(gradient) != np.sign(speed)
        gains = np.maximum(np.where(turned, gains + 0.2, gains * 0.8), 0.01).astype(np.float32)
        speed = np.float32(0.5 if is_early else 0.8) * speed - rate * gains * gradient
        placed = placed + speed
    centred: FloatArray = placed - placed.mean(axis=0)
    return centred


def _gradient(placed: FloatArray, chances: FloatArray) -> FloatArray:
    """Equation 5: where each position (n, 2) goes to make `q` like `chances` (n, n)."""
    near = _squared_distances(placed, placed)
    near += 1
    np.reciprocal(near, out=near)
    np.fill_diagonal(near, 0)
    forces = chances - near / near.sum(dtype=np.float64).astype(np.float32)
    forces *= near
    gradient: FloatArray = 4 * (forces.sum(axis=1)[:, np.newaxis] * placed - forces @ placed)
    return gradient


def _chances(points: FloatArray) -> FloatArray:
    """`p(i,j)` (n, n) of the points, which sum to 1."""
    count = len(points)
    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    kept = min(count - 1, int(3 * perplexity))
    distances = _squared_distances(points, points)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, kept - 1, axis=1)[:, :kept]
    picked = _picked(np.take_along_axis(distances, nearest, axis=1).astype(np.float64), perplexity)
    chances = np.zeros((count, count), np.float32)
    np.put_along_axis(chances, nearest, picked.astype(np.float32), axis=1)
    both: FloatArray = np.maximum((chances + chances.T) / np.float32(2 * count), _LEAST)
    return both


def _picked(distances: _Doubles, perplexity: float) -> _Doubles:
    """Equation 1: `p(j|i)` (n, k) of squared distances (n, k), the width of each row found by bisection."""
    distances = distances - distances.min(axis=1, keepdims=True)
    unit = max(float(distances.mean()), 1e-12)
    low, high = np.full((len(distances), 1), 1e-6 / unit), np.full((len(distances), 1), 1e6 / unit)
    for _ in range(_BISECTIONS):
        middle = np.sqrt(low * high)
        weights = np.exp(-distances * middle)
        total = weights.sum(axis=1, keepdims=True)
        entropy = np.log(total) + middle * (distances * weights).sum(axis=1, keepdims=True) / total
        is_wide = entropy > np.log(perplexity)
        low, high = np.where(is_wide, middle, low), np.where(is_wide, high, middle)
    picked: _Doubles = weights / total
    return picked


def _beside(points: FloatArray, others: FloatArray, placed: FloatArray) -> FloatArray:
    """Positions (n, 2) of points (n, d): the median of those of the nearest of `others` (m, d), at `placed` (m, 2)."""
    positions = np.empty((len(points), 2), np.float32)
    for start in range(0, len(points), _AT_ONCE):
        distances = _squared_distances(points[start : start + _AT_ONCE], others)
        nearest: IdArray = np.argpartition(distances, _NEIGHBOURS_OF_OTHERS, axis=1)[:, :_NEIGHBOURS_OF_OTHERS]
        positions[start : start + _AT_ONCE] = np.median(placed[nearest], axis=1)
    return positions


def _squared_distances(one: FloatArray, other: FloatArray) -> FloatArray:
    """Of points (n, d) and (m, d): (n, m), never below 0."""
    distances: FloatArray = -2 * (one @ other.T)
    distances += (one**2).sum(axis=1)[:, np.newaxis]
    distances += (other**2).sum(axis=1)
    return np.maximum(distances, 0, out=distances)


def _framed(positions: FloatArray) -> FloatArray:
    """The positions in the middle of a square from -1 to 1, the wider way filling it."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-12)
    framed: FloatArray = np.clip((positions - (low + high) / 2) / half, -1, 1).astype(np.float32)
    return framed
