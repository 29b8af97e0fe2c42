"""Both baselines, on made-up encoders' vectors and once on the real encoders."""

import os
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.errors import WeightsMissing
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.evaluation.aligned import AlignedSet
from anyseek.search.evaluation.baselines import FEWEST_PAIRS, cross_fitted, fitted
from anyseek.search.evaluation.cells import Row
from anyseek.search.evaluation.instruments import Instruments
from anyseek.search.evaluation.matrix import Matrix, recall_matrix
from tests.search.evaluation.known import NumbersEmbedder, numbers

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()


class PixelEncoders:
    """Pictures by their mean grey turned into an angle; words find the picture of the same number."""

    def pictures(self, pictures) -> tuple[FloatArray, FloatArray]:
        grey = np.array([float(picture.mean()) for picture in pictures])
        return _angles(grey), grey[:, None].astype(np.float32)

    def sentences(self, texts) -> FloatArray:
        return _angles(np.array([float(text.split()[-1]) for text in texts]))

    def conse(self, logits: FloatArray) -> FloatArray:
        return _angles(logits[:, 0])


def _angles(numbers_: np.ndarray) -> FloatArray:
    waves = numbers_[:, None] * np.array([0.02, 0.31, 1.7, 2.9])
    rows = np.concatenate([np.cos(waves), np.sin(waves)], axis=1)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _measure(aligned: AlignedSet, training: AlignedSet | None = None, embedder=None) -> Matrix:
    instruments = Instruments(embedder or NumbersEmbedder(), ("main",), PixelEncoders())
    return recall_matrix(instruments, aligned, training, lambda line: None)


def _row(matrix: Matrix, query: str, gallery: str) -> Row:
    return next(row for row in matrix.rows if (row.query, row.gallery, row.default) == (query, gallery, True))


def test_pictures_are_compared_with_pictures_and_words_with_conse_vectors() -> None:
    matrix = _measure(numbers(30, "rgb", "caption"))
    for query, gallery in (("rgb", "rgb"), ("caption", "rgb"), ("rgb", "caption")):
        row = _row(matrix, query, gallery)
        assert row.encoders is not None
        assert row.encoders.at_1.value == 1.0, (query, gallery)
    assert matrix.ridge_fit is not None
    assert "five folds" in matrix.ridge_fit


def test_too_few_pairs_have_no_ridge() -> None:
    few = _row(_measure(numbers(FEWEST_PAIRS - 1, "rgb", "caption")), "caption", "rgb")
    assert few.ridge is None
    assert few.encoders is not None


def test_the_ridge_is_fitted_on_the_training_set_if_there_is_one() -> None:
    training = numbers(60, "rgb", "caption", name="others")
    matrix = _measure(numbers(10, "rgb", "caption"), training)
    assert matrix.ridge_fit == "60 things of others"
    row = _row(matrix, "caption", "rgb")
    assert row.ridge is not None
    assert row.ridge.at_1.value == 1.0


def test_what_the_encoders_cannot_see_has_no_baseline() -> None:
    plain = numbers(25, "rgb")
    samples = [Sample({**sample.values, "metadata": np.array([n])}) for n, sample in enumerate(plain.samples)]
    embedder = NumbersEmbedder(("rgb", "metadata"))
    row = _row(_measure(AlignedSet("set", plain.keys, samples), embedder=embedder), "metadata", "rgb")
    assert row.encoders is None
    assert row.ridge is None
    assert row.model.at_1.value == 1.0


def test_several_parts_add_up() -> None:
    embedder = NumbersEmbedder(("rgb", "depth", "semseg"))
    row = _row(_measure(numbers(30, "rgb", "depth", "semseg"), embedder=embedder), "depth+semseg", "rgb")
    assert row.encoders is not None
    assert row.ridge is not None
    assert row.encoders.queries == row.ridge.queries == 30


def test_a_linear_map_is_found_on_pairs_it_was_not_fitted_on() -> None:
    generator = np.random.default_rng(0)
    known = generator.standard_normal((200, 6)).astype(np.float32)
    wanted = (known @ generator.standard_normal((6, 4))).astype(np.float32) + 5
    mapped = cross_fitted(known, np.arange(200))(wanted)
    assert np.corrcoef(mapped.ravel(), (wanted - wanted.mean(axis=0)).ravel())[0, 1] > 0.95
    np.testing.assert_allclose(fitted(known)(known, wanted).mean(axis=0), 0, atol=1e-4)


@pytest.mark.parametrize("count", [40, 90], ids=["fewer pairs than numbers", "more"])
def test_the_fit_is_that_of_the_normal_equations(count: int) -> None:
    generator = np.random.default_rng(0)
    known = generator.standard_normal((count, 60)).astype(np.float32)
    wanted = generator.standard_normal((count, 4)).astype(np.float32)
    centred = known - known.mean(axis=0)
    penalty = 0.3 * np.square(centred).sum() / 60 * np.eye(60)
    weights = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (wanted - wanted.mean(axis=0)))
    np.testing.assert_allclose(fitted(known)(known, wanted), centred @ weights, atol=1e-4)


def test_folds_never_show_a_query_its_own_answer() -> None:
    generator = np.random.default_rng(0)
    known = generator.standard_normal((60, 200)).astype(np.float32)
    wanted = generator.standard_normal((60, 4)).astype(np.float32)
    seen, unseen = fitted(known)(known, wanted), cross_fitted(known, np.arange(60))(wanted)
    assert np.corrcoef(seen.ravel(), wanted.ravel())[0, 1] > 0.5, "a fit that saw its answers remembers them"
    assert np.corrcoef(unseen.ravel(), wanted.ravel())[0, 1] < 0.3


def test_folds_never_show_a_query_what_another_query_for_the_same_item_found() -> None:
    generator = np.random.default_rng(0)
    twice = np.repeat(np.arange(60), 2)  # two equal captions of each photo
    known = generator.standard_normal((60, 200)).astype(np.float32)[twice]
    wanted = generator.standard_normal((60, 4)).astype(np.float32)[twice]

    def agreement(own: np.ndarray | None) -> float:
        mapped = cross_fitted(known, np.arange(120), own)(wanted)
        return float(np.corrcoef(mapped.ravel(), wanted.ravel())[0, 1])

    assert agreement(None) > 0.5, "the other caption of the same photo gives the answer away"
    assert agreement(twice) < 0.3


@pytest.mark.slow
def test_the_real_encoders_see_drawings_of_shapes() -> None:
    from anyseek.model.encoders.baselines import Encoders
    from anyseek.model.hashing import HashingEmbedder

    try:
        encoders = Encoders(HOME)
    except WeightsMissing as error:
        pytest.skip(str(error))
    samples = []
    for number in range(6):
        drawing = np.zeros((64, 64), np.uint8)
        drawing[8 + 7 * number :, 20:40] = 255
        picture = np.full((64, 64, 3), 255, np.uint8)
        picture[drawing > 0] = (40 * number, 80, 200 - 30 * number)
        samples.append(Sample({"rgb": picture, "canny_edge": drawing}))
    instruments = Instruments(HashingEmbedder(), ("hashing",), encoders)
    matrix = recall_matrix(instruments, AlignedSet("shapes", tuple("abcdef"), samples), None, lambda line: None)
    row = _row(matrix, "canny_edge", "rgb")
    assert row.encoders is not None
    assert row.encoders.at_5.value > 0.5
    assert row.ridge is None
