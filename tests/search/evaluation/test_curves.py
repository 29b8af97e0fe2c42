"""Fitting the curves that ship: what queries of one ranking and of two say of collections whose answers are known."""

import numpy as np
import pytest

from anyseek.model.hashing import HashingEmbedder
from anyseek.search.confidence.probabilities import Sort
from anyseek.search.evaluation.curves import Asked, Measured, Vectors, applied, fitted, pairs

SPACE, ITEMS, ASKED = "hashing", 60, 20
EMBEDDER = HashingEmbedder()


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _measured(name: str, seed: int) -> Measured:
    """Items that point anywhere, and queries near them: captions, palettes, and both."""
    draws = np.random.default_rng(seed)
    gallery = _unit(draws.normal(size=(ITEMS, EMBEDDER.spaces[SPACE].dimension)))
    own = np.arange(ASKED)
    near = [_unit(gallery[own] + draws.normal(size=(ASKED, gallery.shape[1])) * 0.1) for _ in range(2)]
    caption, palette = (
        Vectors(modality, SPACE, rows) for modality, rows in zip(("caption", "color_palette"), near, strict=True)
    )
    kinds = {"caption": (caption,), "color_palette": (palette,), "caption + color_palette": (caption, palette)}
    return Measured(name, {SPACE: gallery}, [Asked(kind, parts, own) for kind, parts in kinds.items()])


@pytest.fixture(scope="module")
def everything() -> list:
    return list(pairs(EMBEDDER, [_measured("one", 1), _measured("other", 2)]))


def test_each_kind_has_the_sort_that_the_engine_gives_it(everything: list) -> None:
    sorts = {each.kind: each.sort for each in everything}
    assert sorts == {
        "caption": Sort.WORDS,
        "color_palette": Sort.OTHERS,
        "caption + color_palette": Sort.SEVERAL,
    }


def test_an_item_is_right_where_it_is_and_nothing_where_it_is_not(everything: list) -> None:
    of_first = [each.right[each.ranks == 0].mean() for each in everything]
    assert set(of_first) == {0.0, 1.0}
    assert max(each.right.sum() for each in everything) == ASKED


def test_a_curve_tells_them_apart(everything: list) -> None:
    some = [each for each in everything if each.sort is Sort.SEVERAL]
    curve = fitted(some)
    likely = np.concatenate([applied(curve, each) for each in some])
    right = np.concatenate([each.right for each in some]) > 0
    assert likely[right].min() > likely[~right].max()
    assert curve.size == 0  # nothing is said of collections larger than these
