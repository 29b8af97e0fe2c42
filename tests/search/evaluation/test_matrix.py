"""The recall matrix where it can be counted by hand, against the search engine, and with the encoders alone."""

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.data.aligned import AlignedSet, LazySamples, QuerySet
from anyseek.model.errors import UnsupportedModality, WeightsMissing
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.seam import FloatArray, Fusion, Sample
from anyseek.search.catalogue import collections, items
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadInput, NotAligned
from anyseek.search.evaluation.matrix import Matrix, Row, recall_matrix
from anyseek.search.settings import Settings
from anyseek.search.spaces.local.backend import LocalBackend
from anyseek.search.types import NewItem, Part, Query
from tests.search.evaluation.known import DIMENSION, NumbersEmbedder, number_of, numbers, thing
from tests.search.memory_index import MemoryIndex

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


def _measure(
    aligned: AlignedSet, embedder: NumbersEmbedder | None = None, encoders: PixelEncoders | None = None
) -> Matrix:
    return recall_matrix(embedder or NumbersEmbedder(), aligned, ("main", "other"), encoders, lambda line: None)


def _row(matrix: Matrix, query: str, gallery: str, space: str = "main") -> Row:
    rows = [row for row in matrix.rows if (row.query, row.gallery, row.space) == (query, gallery, space)]
    assert len(rows) == 1, (query, gallery, space)
    return rows[0]


def test_recall_is_what_one_counts_by_hand() -> None:
    matrix = _measure(numbers(20, "rgb", "depth", "caption"))
    depth = _row(matrix, "depth", "rgb")
    # Even things find themselves; odd ones say the next thing, and come behind it.
    assert depth.model.at_1.value == 0.5
    assert depth.model.queries == depth.model.gallery == 20
    assert _row(matrix, "rgb", "rgb").model.at_1.value == 1.0
    assert _row(matrix, "rgb", "depth").model.at_1.value == pytest.approx(0.0 + 1 / 20), "all but thing 0 share a place"
    words = _row(matrix, "caption", "rgb").model
    assert (words.at_10.value, words.median_rank.value) == (0.0, 20), "words that say nothing find nothing"
    rows = [(row.query, row.gallery, row.space) for row in matrix.rows]
    modalities, spaces = ("rgb", "depth", "caption"), ("main", "other")
    assert sorted(rows) == sorted(product(modalities, modalities, spaces))
    assert all(row.default == (row.space == "main") for row in matrix.rows)
    assert all(row.contains_gallery == (row.query == row.gallery) for row in matrix.rows)


@pytest.mark.parametrize(("fusion", "right"), [(Fusion.LATE, 6 / 11), (Fusion.JOINT, 6 / 11)])
def test_parts_are_fused_as_the_model_does(fusion: Fusion, right: float) -> None:
    embedder = NumbersEmbedder(("rgb", "depth", "semseg"))
    embedder.fusion = fusion
    row = _row(_measure(numbers(11, "rgb", "depth", "semseg"), embedder), "depth+semseg", "rgb")
    # A segmentation map says the right thing, a depth map of an odd one the next: both are as near.
    assert row.model.at_1.value == pytest.approx(right)
    assert row.modalities == ("depth", "semseg")
    assert row.default
    together = any(set(sample.values) == {"depth", "semseg"} for sample in embedder.embedded)
    assert together == (fusion is Fusion.JOINT)


class _Telling(NumbersEmbedder):
    """Its captions tell the number of their thing; remembers what items were made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[frozenset[str]] = []

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        self.stored += [frozenset(sample.values) for sample in samples]
        return super().embed_gallery(samples, spaces)

    def _vector(self, sample: Sample, space: str, lean: int) -> FloatArray:
        total = np.full(DIMENSION, 0.01, np.float32)
        for modality, value in sample.values.items():
            total[number_of(value) if modality == "caption" else 110] += 1
        unit: FloatArray = (total / np.linalg.norm(total)).astype(np.float32)
        return unit


def test_an_item_of_one_modality_has_nothing_of_a_caption() -> None:
    embedder = _Telling()
    matrix = _measure(numbers(20, "rgb", "caption"), embedder)
    assert {len(names) for names in embedder.stored} == {1}
    assert _row(matrix, "caption", "rgb").model.at_10.value == 0.0, "only the caption itself says which thing it is"
    own = _row(matrix, "caption", "caption")
    assert own.contains_gallery
    assert own.model.at_1.value == 1.0


def test_further_queries_ask_for_items_by_key_and_are_in_no_item() -> None:
    plain = numbers(6, "rgb", "caption")
    asked = QuerySet("other hand", "depth", [thing(4, "depth"), thing(2, "depth")], ("t4", "t3"))
    matrix = _measure(AlignedSet("set", plain.keys, plain.samples, queries=(asked,)))
    row = _row(matrix, "other hand", "rgb")
    assert row.model.queries == 2
    assert row.model.at_1.value == 0.5
    rows = [row for row in matrix.rows if row.query == "other hand"]
    assert {row.gallery for row in rows} == {"rgb", "caption"}
    assert not any(row.contains_gallery for row in rows)


def test_things_without_a_modality_are_left_out_of_its_rows() -> None:
    samples = [thing(n, "rgb", "depth") if n < 8 else thing(n, "rgb") for n in range(10)]
    matrix = _measure(AlignedSet("ragged", tuple("abcdefghij"), samples))
    assert _row(matrix, "depth", "rgb").model.queries == 8
    assert _row(matrix, "depth", "rgb").model.gallery == 10
    assert _row(matrix, "rgb", "depth").model.queries == 8
    assert _row(matrix, "rgb", "depth").model.gallery == 8


def test_a_modality_that_the_model_does_not_take_is_named_once() -> None:
    matrix = _measure(numbers(5, "rgb", "depth", "semseg"))
    assert matrix.left_out == {"semseg": "the model numbers does not take it"}
    assert not any("semseg" in (row.query, row.gallery) for row in matrix.rows)


class _Choosy(NumbersEmbedder):
    """Has no place for the words of things 3, 4 and 5."""

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        for sample in samples:
            if sample.values.get("caption") in ("thing 3", "thing 4", "thing 5"):
                raise FormatInvalid(f"{sample.values['caption']!r} is no word of this model")
        return super().embed(samples, spaces)


def test_values_that_the_model_has_no_place_for_are_left_out() -> None:
    matrix = _measure(numbers(10, "rgb", "caption"), _Choosy())
    assert matrix.left_out == {
        "caption": "3 of its values do not fit the model, such as: 'thing 3' is no word of this model"
    }
    assert _row(matrix, "caption", "rgb").model.queries == 7
    assert _row(matrix, "caption", "rgb").model.gallery == 10


def test_labels_give_a_mean_average_precision() -> None:
    plain = numbers(6, "rgb")
    labels = tuple(frozenset({"even" if n % 2 == 0 else "odd"}) for n in range(6))
    queries = QuerySet("named", "caption", [Sample({"caption": "thing 2"})], (None,), (frozenset({"even"}),))
    matrix = _measure(AlignedSet("labelled", plain.keys, plain.samples, labels, (queries,)))
    named = _row(matrix, "named", "rgb").model
    assert named.queries == 1
    # Words are as near to all six pictures; of equals the wrong ones come first.
    assert named.mean_average_precision.value == pytest.approx((1 / 4 + 2 / 5 + 3 / 6) / 3)
    others = _row(matrix, "rgb", "rgb").model
    assert others.at_1.value == 1.0
    assert others.mean_average_precision.value < 1.0, "a picture is no other picture of its kind"


def test_what_cannot_be_read_is_left_out_and_told() -> None:
    def read(number: int) -> Sample:
        if number == 2:
            raise BadInput("rgb/2.png is a damaged picture: cut off")
        return thing(number, "rgb", "depth")

    matrix = _measure(AlignedSet("set", tuple("abcd"), LazySamples(range(4), read)))
    assert matrix.unreadable == ("rgb/2.png is a damaged picture: cut off",)
    assert _row(matrix, "rgb", "rgb").model.gallery == 3


@pytest.mark.parametrize(
    ("aligned", "error", "says"),
    [
        (numbers(4, "rgb"), NotAligned, "rgb as the only modality"),
        (numbers(4, "semseg", "color_palette"), UnsupportedModality, "color_palette, semseg"),
        (numbers(0), NotAligned, "it is empty"),
    ],
)
def test_sets_with_nothing_to_compare_are_refused(aligned: AlignedSet, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        _measure(aligned)


class _Noisy(NumbersEmbedder):
    """Vectors of a seeded random walk around the things: no ties, and ranks of all sizes."""

    def _vector(self, sample: Sample, space: str, lean: int) -> FloatArray:
        known = super()._vector(sample, space, lean)
        seed = [len("+".join(sample.values)), *known.view(np.uint8)[:: DIMENSION // 8].tolist(), int(known.argmax())]
        noise = np.random.default_rng(seed).standard_normal(DIMENSION) * 0.12
        unit: FloatArray = ((known + noise) / np.linalg.norm(known + noise)).astype(np.float32)
        return unit


@pytest.mark.parametrize("count", [40, 90], ids=["centred on the prior", "centred on its own mean"])
def test_ranks_are_those_of_the_search_engine(database: Database, settings: Settings, count: int) -> None:
    embedder, aligned = _Noisy(), numbers(count, "rgb", "depth")
    with database.write() as session:
        held = collections.create(session, "things", embedder.name, embedder.spaces.values())
    stored = embedder.embed_gallery([thing(n, "rgb") for n in range(count)], ["main", "other"])
    new = [NewItem(key, key, {s: rows[n] for s, rows in stored.items()}) for n, key in enumerate(aligned.keys)]
    with database.write() as session:
        items.write(session, held, new)
    engine = SearchEngine(database, settings, embedder, LocalBackend(database, settings, MemoryIndex))
    engine.write_snapshots("things")
    found = []
    for number in range(count):
        part = Part("depth", thing(number, "depth").values["depth"])
        answer = engine.query("things", Query((part,), k=count))
        found.append(next(hit.rank for hit in answer.hits if hit.key == aligned.keys[number]))
    row = _row(_measure(aligned, embedder), "depth", "rgb")
    assert row.default
    assert len(set(found)) > 3
    assert row.model.median_rank.value == np.median(found)
    for k, measured in ((1, row.model.at_1), (5, row.model.at_5), (10, row.model.at_10)):
        assert measured.value == pytest.approx(np.mean(np.array(found) <= k))


def test_pictures_are_compared_with_pictures_and_words_with_conse_vectors() -> None:
    matrix = _measure(numbers(30, "rgb", "caption"), encoders=PixelEncoders())
    for query, gallery in (("rgb", "rgb"), ("caption", "rgb"), ("rgb", "caption")):
        row = _row(matrix, query, gallery)
        assert row.encoders.at_1.value == 1.0, (query, gallery)


class LeaningEncoders(PixelEncoders):
    """Words and pictures lean towards one direction, as vectors of an encoder do: a fair baseline takes that off."""

    def sentences(self, texts) -> FloatArray:
        return _lean(super().sentences(texts))

    def conse(self, logits: FloatArray) -> FloatArray:
        return _lean(super().conse(logits))


def _lean(vectors: FloatArray) -> FloatArray:
    leaning = vectors + 5 * _angles(np.zeros(1))
    return (leaning / np.linalg.norm(leaning, axis=1, keepdims=True)).astype(np.float32)


def test_queries_of_the_encoders_are_centred_on_the_items() -> None:
    matrix = _measure(numbers(30, "rgb", "caption"), encoders=LeaningEncoders())
    assert _row(matrix, "caption", "rgb").encoders.at_1.value == 1.0


def test_a_single_query_of_the_encoders_finds_its_item() -> None:
    aligned = numbers(30, "rgb")
    words = QuerySet("words", "caption", [thing(7, "caption")], (aligned.keys[7],))
    matrix = _measure(replace(aligned, queries=(words,)), encoders=LeaningEncoders())
    assert _row(matrix, "words", "rgb").encoders.at_1.value == 1.0, "its own mean would leave nothing of it"


def test_what_the_encoders_cannot_see_has_no_baseline_and_several_parts_add_up() -> None:
    embedder = NumbersEmbedder(("rgb", "depth", "semseg", "metadata"))
    plain = numbers(25, "rgb", "depth", "semseg")
    samples = [Sample({**sample.values, "metadata": np.array([n])}) for n, sample in enumerate(plain.samples)]
    matrix = _measure(AlignedSet("set", plain.keys, samples), embedder, encoders=PixelEncoders())
    assert _row(matrix, "metadata", "rgb").encoders is None
    assert _row(matrix, "metadata", "rgb").model.at_1.value == 1.0
    assert _row(matrix, "depth+semseg", "rgb").encoders.queries == 25


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
    row = _row(matrix, "canny_edge", "rgb", "hashing")
    assert row.encoders.at_5.value > 0.5
