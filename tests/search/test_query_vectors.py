import numpy as np

from model.embedder import EmbeddingSpace
from search.query_vectors import centre_queries

ROOMS, DRAWINGS = np.array([0.8, 0.0, 0.0], np.float32), np.array([0.0, 0.8, 0.0], np.float32)
SPACE = EmbeddingSpace(
    "looks", 3, "f", np.zeros(3, np.float32), {"caption": np.stack([ROOMS, DRAWINGS]), "depth": ROOMS[np.newaxis]}
)


def _unit(*numbers: float) -> np.ndarray:
    vector = np.array(numbers, np.float32)
    return vector / np.linalg.norm(vector)


def test_each_query_is_centred_on_the_mean_that_is_nearest_to_it() -> None:
    asked = np.stack([_unit(0.8, 0.1, 0.6), _unit(0.1, 0.8, 0.6)])
    found = centre_queries(SPACE, ["caption"], asked)
    np.testing.assert_allclose(found, [_unit(*(asked[0] - ROOMS)), _unit(*(asked[1] - DRAWINGS))], atol=1e-6)


def test_several_modalities_share_the_mean_of_theirs() -> None:
    asked = _unit(0.1, 0.8, 0.6)[np.newaxis]
    found = centre_queries(SPACE, ["caption", "depth"], asked)
    np.testing.assert_allclose(found[0], _unit(*(asked[0] - (DRAWINGS + ROOMS) / 2)), atol=1e-6)


def test_a_modality_without_means_is_not_centred() -> None:
    asked = _unit(0.1, 0.8, 0.6)[np.newaxis]
    np.testing.assert_allclose(centre_queries(SPACE, ["semseg"], asked), asked, atol=1e-6)
