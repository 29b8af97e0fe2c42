"""Vectors, predictions and fingerprints are those that were recorded, bit by bit.

Float sums round differently on another processor or with another torch. There, fingerprints are still compared
exactly and vectors by their cosine, of 64 of their numbers; predictions choose codes, where a rounding may decide a
near tie. Bits are compared on request alone (ANYSEEK_RECORDED_BITS=1), on the machine of the
recording.
"""

import os

import numpy as np
import pytest

from anyseek.model.errors import WeightsMissing
from tests.model.fourm.recording import RECORDINGS, Array, Recording

CLOSE = 0.99999


@pytest.fixture(scope="module", params=["bundled", pytest.param("published", marks=pytest.mark.slow)])
def both(request: pytest.FixtureRequest) -> tuple[Recording, Recording]:
    """What was recorded, and the same made now."""
    try:
        return Recording.read(request.param), RECORDINGS[request.param]()
    except WeightsMissing as error:
        pytest.skip(str(error))


def test_fingerprints_are_those_recorded(both: tuple[Recording, Recording]) -> None:
    recorded, made = both
    assert made.fingerprints == recorded.fingerprints


def test_vectors_point_where_those_recorded_do(both: tuple[Recording, Recording]) -> None:
    recorded, made = both
    for name, rows in made.rows.items():
        if "bfloat16" not in name:
            assert (_cosines(rows, recorded.rows[name]) >= CLOSE).all(), name


@pytest.mark.skipif("ANYSEEK_RECORDED_BITS" not in os.environ, reason="ANYSEEK_RECORDED_BITS is not set")
def test_every_bit_is_the_one_recorded(both: tuple[Recording, Recording]) -> None:
    recorded, made = both
    assert [name for name, digest in made.digests.items() if recorded.digests[name] != digest] == []


def _cosines(first: Array, second: Array) -> Array:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    found: Array = (first * second).sum(axis=1) / lengths
    return found
