"""Two ways of answering side by side, where it can be counted by hand."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import ONE_VECTOR, Decoding, FloatArray, Fusion, Sample
from anyseek.search.evaluation.instruments import Compare, Comparison, Instruments, comparable
from anyseek.search.evaluation.matrix import Matrix, recall_matrix
from anyseek.search.evaluation.measures import Outcomes, gain
from tests.search.evaluation.known import DIMENSION, NumbersEmbedder, numbers
from tests.search.evaluation.test_baselines import PixelEncoders

COUNT = 24


class CodesEmbedder(NumbersEmbedder):
    """Decodes hard in its own way; softly, even the pictures of odd things say the next thing as depth maps do.

    Its space `visual_global` has codes that cannot tell 2n and 2n + 1 apart.
    """

    decoding = Decoding.HARD

    def __init__(self) -> None:
        super().__init__()
        self.spaces = {name: self.spaces[old] for name, old in (("visual_global", "main"), ("other", "other"))}
        self.passes = 0

    def default_space(self, modality: str) -> str:
        return "visual_global"

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        return self.embed_decoded(samples, spaces)[self.decoding]

    def embed_decoded(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[Decoding, dict[str, FloatArray]]:
        self.passes += 1
        hard = super().embed(samples, spaces)
        swapped = [Sample({"depth" if name == "rgb" else name: v for name, v in s.values.items()}) for s in samples]
        return {Decoding.HARD: hard, Decoding.SOFT: super().embed(swapped, spaces)}

    exact_spaces = code_spaces = frozenset({"visual_global"})

    def code_probabilities(self, samples: Sequence[Sample], space: str) -> FloatArray:
        raise AssertionError("nothing here asks for it")

    def codes_of(self, vectors: FloatArray, space: str) -> npt.NDArray[np.int64]:
        raise AssertionError("nothing here asks for it")

    def through_codes(self, vectors: FloatArray, space: str) -> FloatArray:
        assert space == "visual_global"
        order = np.argsort(vectors[:, 0], kind="stable")
        coarse: FloatArray = vectors.copy()
        coarse[order[1::2]] = vectors[order[: len(order) - 1 : 2]]
        return coarse


def _measure(embedder: NumbersEmbedder, compare: set[Compare], modalities: Sequence[str] = ("rgb", "depth")) -> Matrix:
    instruments = Instruments(embedder, tuple(embedder.spaces), PixelEncoders(), frozenset(compare))
    return recall_matrix(instruments, numbers(COUNT, *modalities), None, lambda line: None)


def _only(matrix: Matrix, query: str, gallery: str, space: str) -> Comparison:
    (found,) = (
        pair for pair in matrix.comparisons if (pair.query, pair.gallery, pair.space) == (query, gallery, space)
    )
    return found


def test_nothing_is_compared_unless_asked_for() -> None:
    matrix = _measure(CodesEmbedder(), set())
    assert matrix.comparisons == matrix.ceilings == ()


@pytest.mark.parametrize("usual", ONE_VECTOR)
def test_joint_and_late_fusion_change_places_with_the_models_choice(usual: Fusion) -> None:
    embedder = NumbersEmbedder(("rgb", "depth", "semseg"))
    embedder.fusion = usual
    matrix = _measure(embedder, {Compare.FUSION}, ("rgb", "depth", "semseg"))
    assert {pair.query for pair in matrix.comparisons} == {"depth+semseg"}
    assert {pair.gallery for pair in matrix.comparisons} == {"rgb"}, "what holds the item's own file says nothing"
    pair = _only(matrix, "depth+semseg", "rgb", "main")
    assert (pair.usual, pair.fusion) == (usual, usual)
    assert {pair.usual, pair.other} == set(ONE_VECTOR)
    rows = {
        row.fusion: row
        for row in matrix.rows
        if (row.query, row.gallery_kind, row.space) == ("depth+semseg", "exact", "main")
    }
    assert rows[usual].default
    assert not rows[pair.other].default
    assert (rows[pair.usual].model, rows[pair.other].model) == (pair.usual_scores, pair.other_scores)
    assert pair.gain.at_1.value == pytest.approx(pair.other_scores.at_1.value - pair.usual_scores.at_1.value)


def test_exact_and_predicted_galleries_are_compared_where_there_are_both() -> None:
    matrix = _measure(NumbersEmbedder(), {Compare.GALLERY})
    assert {(pair.gallery, pair.space) for pair in matrix.comparisons} == {("rgb", "main")}
    pair = _only(matrix, "depth", "rgb", "main")
    assert (pair.gallery_kind, pair.usual, pair.other) == ("exact", "exact", "predicted")
    assert pair.usual_scores.at_1.value == 0.5


def test_both_ways_of_decoding_come_from_one_pass_and_change_queries_and_predicted_items() -> None:
    plain, embedder = CodesEmbedder(), CodesEmbedder()
    _measure(plain, set())
    matrix = _measure(embedder, {Compare.DECODING})
    assert embedder.passes == plain.passes
    pair = _only(matrix, "rgb", "depth", "other")
    assert (pair.usual, pair.other) == ("hard", "soft")
    # Maps of odd things say the next thing and share a place with it; softly pictures do as well. Only the first thing
    # is alone at its place, and softly the last one at the place behind all others.
    assert pair.usual_scores.at_1.value == pytest.approx(1 / COUNT)
    assert pair.other_scores.at_1.value == pytest.approx(2 / COUNT)
    assert pair.other_scores.at_5.value == 1.0
    assert all(row.model.queries == COUNT for row in matrix.rows), "the table is the model's own way"
    assert _measure(plain, set()).rows == matrix.rows


def test_the_ceiling_is_how_often_vectors_find_themselves_after_their_codes() -> None:
    matrix = _measure(CodesEmbedder(), {Compare.CEILING})
    (ceiling,) = matrix.ceilings
    assert (ceiling.modality, ceiling.space, ceiling.vectors) == ("rgb", "visual_global", COUNT)
    assert ceiling.at_1.value == pytest.approx(0.5)
    assert ceiling.at_10.value >= ceiling.at_1.value
    assert 0 < ceiling.cosine < 1


def test_what_a_model_cannot_be_compared_in_is_known() -> None:
    assert comparable(HashingEmbedder()) == {Compare.FUSION, Compare.GALLERY}
    assert comparable(CodesEmbedder()) == set(Compare)


def test_a_gain_is_counted_query_by_query_on_queries_that_have_an_answer() -> None:
    def found(*ranks: int, precisions: Sequence[float] = (np.nan,) * 4) -> Outcomes:
        return Outcomes(np.array(ranks), np.array(precisions), DIMENSION)

    gained = gain(found(1, 2, 20, 0), found(1, 1, 5, 0))
    assert gained.at_1.value == pytest.approx(1 / 3)
    assert gained.at_10.value == pytest.approx(1 / 3)
    assert gained.mean_average_precision is None
    assert gained.at_1.low <= gained.at_1.value <= gained.at_1.high
    same = gain(found(1, 2, 20, 0), found(1, 2, 20, 0))
    assert (same.at_10.low, same.at_10.high) == (0, 0)
    precise = gain(found(1, 1, 1, 1, precisions=(0.5, np.nan, 0.5, 1)), found(1, 1, 1, 1, precisions=(1, np.nan, 1, 1)))
    assert precise.mean_average_precision is not None
    assert precise.mean_average_precision.value == pytest.approx(1 / 3)
