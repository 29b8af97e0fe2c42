"""Two ways of answering side by side, where it can be counted by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from model.embedder import Decoding, FloatArray, Fusion, Sample
from model.hashing_embedder import HashingEmbedder
from search.evaluation.comparisons import Compare, Comparison, comparable
from search.evaluation.instruments import Instruments
from search.evaluation.matrix import Matrix, recall_matrix
from search.evaluation.measures import Outcomes, gain
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
    (found,) = (one for one in matrix.comparisons if (one.query, one.gallery, one.space) == (query, gallery, space))
    return found


def test_nothing_is_compared_unless_asked_for() -> None:
    matrix = _measure(CodesEmbedder(), set())
    assert matrix.comparisons == matrix.ceilings == ()


@pytest.mark.parametrize("usual", Fusion)
def test_joint_and_late_fusion_change_places_with_the_models_choice(usual: Fusion) -> None:
    embedder = NumbersEmbedder(("rgb", "depth", "semseg"))
    embedder.fusion = usual
    matrix = _measure(embedder, {Compare.FUSION}, ("rgb", "depth", "semseg"))
    assert {one.query for one in matrix.comparisons} == {"depth+semseg"}
    assert {one.gallery for one in matrix.comparisons} == {"rgb"}, "what holds the item's own file says nothing"
    one = _only(matrix, "depth+semseg", "rgb", "main")
    assert (one.usual, one.fusion) == (usual, usual)
    assert {one.usual, one.other} == set(Fusion)
    rows = {
        row.fusion: row
        for row in matrix.rows
        if (row.query, row.gallery_kind, row.space) == ("depth+semseg", "exact", "main")
    }
    assert rows[usual].default
    assert not rows[one.other].default
    assert (rows[one.usual].model, rows[one.other].model) == (one.usual_scores, one.other_scores)
    assert one.gain.at_1.value == pytest.approx(one.other_scores.at_1.value - one.usual_scores.at_1.value)


def test_exact_and_predicted_galleries_are_compared_where_there_are_both() -> None:
    matrix = _measure(NumbersEmbedder(), {Compare.GALLERY})
    assert {(one.gallery, one.space) for one in matrix.comparisons} == {("rgb", "main")}
    one = _only(matrix, "depth", "rgb", "main")
    assert (one.gallery_kind, one.usual, one.other) == ("exact", "exact", "predicted")
    assert one.usual_scores.at_1.value == 0.5


def test_both_ways_of_decoding_come_from_one_pass_and_change_queries_and_predicted_items() -> None:
    plain, embedder = CodesEmbedder(), CodesEmbedder()
    _measure(plain, set())
    matrix = _measure(embedder, {Compare.DECODING})
    assert embedder.passes == plain.passes
    one = _only(matrix, "rgb", "depth", "other")
    assert (one.usual, one.other) == ("hard", "soft")
    # Maps of odd things say the next thing and share a place with it; softly pictures do as well. Only the first thing
    # is alone at its place, and softly the last one at the place behind all others.
    assert one.usual_scores.at_1.value == pytest.approx(1 / COUNT)
    assert one.other_scores.at_1.value == pytest.approx(2 / COUNT)
    assert one.other_scores.at_5.value == 1.0
    assert all(row.model.queries == COUNT for row in matrix.rows), "the table is the model's own way"
    assert _measure(plain, set()).rows == matrix.rows


def test_the_ceiling_is_how_often_vectors_find_themselves_after_their_codes() -> None:
    matrix = _measure(CodesEmbedder(), {Compare.CEILING})
    (one,) = matrix.ceilings
    assert (one.modality, one.space, one.vectors) == ("rgb", "visual_global", COUNT)
    assert one.at_1.value == pytest.approx(0.5)
    assert one.at_10.value >= one.at_1.value
    assert 0 < one.cosine < 1


def test_what_a_model_cannot_be_compared_in_is_known() -> None:
    assert comparable(HashingEmbedder()) == {Compare.FUSION, Compare.GALLERY}
    assert comparable(CodesEmbedder()) == set(Compare)


def test_a_gain_is_counted_query_by_query_on_queries_that_have_an_answer() -> None:
    def found(*ranks: int, precisions: Sequence[float] = (np.nan,) * 4) -> Outcomes:
        return Outcomes(np.array(ranks), np.array(precisions), DIMENSION)

    one = gain(found(1, 2, 20, 0), found(1, 1, 5, 0))
    assert one.at_1.value == pytest.approx(1 / 3)
    assert one.at_10.value == pytest.approx(1 / 3)
    assert one.mean_average_precision is None
    assert one.at_1.low <= one.at_1.value <= one.at_1.high
    same = gain(found(1, 2, 20, 0), found(1, 2, 20, 0))
    assert (same.at_10.low, same.at_10.high) == (0, 0)
    precise = gain(found(1, 1, 1, 1, precisions=(0.5, np.nan, 0.5, 1)), found(1, 1, 1, 1, precisions=(1, np.nan, 1, 1)))
    assert precise.mean_average_precision is not None
    assert precise.mean_average_precision.value == pytest.approx(1 / 3)
