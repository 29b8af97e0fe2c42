"""The encoders alone, on made-up encoders' vectors and once on the real encoders."""

import os
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.data.aligned import AlignedSet
from anyseek.model.errors import WeightsMissing
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.evaluation.matrix import Matrix, Row, recall_matrix
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


def _measure(aligned: AlignedSet, embedder=None) -> Matrix:
    return recall_matrix(embedder or NumbersEmbedder(), aligned, ("main",), PixelEncoders(), lambda line: None)


def _row(matrix: Matrix, query: str, gallery: str) -> Row:
    return next(row for row in matrix.rows if (row.query, row.gallery, row.default) == (query, gallery, True))


def test_pictures_are_compared_with_pictures_and_words_with_conse_vectors() -> None:
    matrix = _measure(numbers(30, "rgb", "caption"))
    for query, gallery in (("rgb", "rgb"), ("caption", "rgb"), ("rgb", "caption")):
        row = _row(matrix, query, gallery)
        assert row.encoders is not None
        assert row.encoders.at_1.value == 1.0, (query, gallery)


def test_what_the_encoders_cannot_see_has_no_baseline() -> None:
    plain = numbers(25, "rgb")
    samples = [Sample({**sample.values, "metadata": np.array([n])}) for n, sample in enumerate(plain.samples)]
    embedder = NumbersEmbedder(("rgb", "metadata"))
    row = _row(_measure(AlignedSet("set", plain.keys, samples), embedder=embedder), "metadata", "rgb")
    assert row.encoders is None
    assert row.model.at_1.value == 1.0


def test_several_parts_add_up() -> None:
    embedder = NumbersEmbedder(("rgb", "depth", "semseg"))
    row = _row(_measure(numbers(30, "rgb", "depth", "semseg"), embedder=embedder), "depth+semseg", "rgb")
    assert row.encoders is not None
    assert row.encoders.queries == 30


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
    aligned = AlignedSet("shapes", tuple("abcdef"), samples)
    matrix = recall_matrix(HashingEmbedder(), aligned, ("hashing",), encoders, lambda line: None)
    row = _row(matrix, "canny_edge", "rgb")
    assert row.encoders is not None
    assert row.encoders.at_5.value > 0.5
