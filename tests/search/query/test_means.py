"""Means of queries that are fitted on a collection: what they gain, and when they are not used."""

from dataclasses import replace

import numpy as np

from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.query.means import fit_mean, try_mean
from anyseek.search.query.vectors import centre_queries

DIMENSION = 16
ZERO = np.zeros(DIMENSION, np.float32)
SPACE = EmbeddingSpace("looks", DIMENSION, "f", ZERO)
OFF = 3 * np.eye(1, DIMENSION, dtype=np.float32)[0]


def items(count: int = 60) -> FloatArray:
    rows = np.random.default_rng(0).normal(size=(count, DIMENSION)).astype(np.float32)
    rows[:, 0] = 0
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def asked(gallery: FloatArray, off: FloatArray) -> FloatArray:
    """Queries that lie beside their items, all moved the same way."""
    noise = np.random.default_rng(1).normal(size=gallery.shape, scale=0.2).astype(np.float32)
    rows = gallery + noise + off * np.linspace(0.5, 1.5, len(gallery), dtype=np.float32)[:, None]
    rows[::2] += 2 * off  # so that the cosine of a query is not that of its item
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_fitted_mean_finds_what_the_models_own_does_not() -> None:
    stored = items()
    shifted = stored.copy()
    shifted[:20, 0] = 2  # they look like what all queries have in common
    shifted /= np.linalg.norm(shifted, axis=1, keepdims=True)
    trial = try_mean(SPACE, "depth", asked(stored, OFF), shifted, range(len(stored)))
    assert trial.before.at_10 < 0.9
    assert trial.after.at_10 > trial.before.at_10
    assert trial.helps
    assert trial.queries == len(stored)


def test_a_mean_that_loses_is_not_used() -> None:
    stored = items()
    queries = stored.copy()
    queries[1::2, 1] += 10  # one half's mean says nothing of the other, and covers what items differ in
    trial = try_mean(SPACE, "depth", queries, stored, range(len(stored)))
    assert (trial.after.at_10, trial.after.at_1) < (trial.before.at_10, trial.before.at_1)
    assert not trial.helps


OWN = np.full(DIMENSION, 0.25, np.float32)
WITH_MEAN = replace(SPACE, query_means={"depth": OWN[np.newaxis]})


def test_few_queries_stay_near_the_models_own_mean() -> None:
    queries = np.full((8, DIMENSION), 0.75, np.float32)
    np.testing.assert_allclose(fit_mean(WITH_MEAN, "depth", queries), np.full(DIMENSION, 0.5), atol=1e-6)


def test_a_tuned_modality_is_centred_on_its_fitted_mean_and_others_on_the_models() -> None:
    rows, tuned = asked(items(), OFF), {"depth": OFF}
    moved = rows - OFF
    expected = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(centre_queries(WITH_MEAN, ["depth"], rows, tuned), expected, atol=1e-5)
    others = (centre_queries(WITH_MEAN, ["semseg"], rows, *tunings) for tunings in ((tuned,), ()))
    np.testing.assert_array_equal(*others)
