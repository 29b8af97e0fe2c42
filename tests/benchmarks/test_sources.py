"""The table of sources: which pairs count, what the baseline subtracts, what is resampled, and what is printed."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.data.sources.packs import CaptionsSource, PackOptions
from anyseek.model.home import default_home
from anyseek.model.modalities.values import render_value
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import EmbeddingSpace, FloatArray, Sample
from anyseek.search.query.vectors import centre_queries
from benchmarks.sources.__main__ import source_table
from benchmarks.sources.measuring import (
    Constants,
    Mean,
    baseline_cosines,
    choose_constants,
    query_values,
    size_rows,
    source_row,
    unit_estimate,
)
from benchmarks.sources.sets import Query, SourceSet, caption_set, own_texts, source_sets
from benchmarks.sources.vectors import PLACES, WHOLE, Vectorizer
from tests.encoders import pulled_encoders
from tests.model.data.sources.packs_kit import about, encoded, picture, write_shard

_NO_CLASSES = np.zeros((0, 384), np.float32)


def _nothing() -> None:
    """The value of a query whose vectors are given."""


def _queries(right: Sequence[int]) -> list[Query]:
    return [Query(_nothing, (row,), str(row)) for row in right]


def _circle(count: int, lean: float = 0.0) -> FloatArray:
    """Unit vectors (n, 3) around a circle, which lean out of its plane."""
    turns = np.arange(count) * 2 * np.pi / count
    rows = np.stack([np.cos(turns), np.sin(turns), np.full(count, lean)], axis=1)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _write_packs(folder: Path) -> None:
    """A test photo and a training photo of each source, with all that asks for it."""
    splits, webp = ("test", "train"), {"webp": picture()}
    ids, depth = np.full((8, 12), 1, np.uint8), np.full((8, 12), 900, np.uint16)
    maps = {**webp, "depth.png": encoded(depth), "semseg.png": encoded(ids)}

    def shard(name: str, sources: Sequence[str], files: dict[str, bytes], **changes: object) -> None:
        samples = [
            (about(source=source, split=split, **changes) | {"captions": [f"{source} {split}"]}, files)
            for source in sources
            for split in splits
        ]
        write_shard(folder / name, samples)

    shard("captions/captions-open-0.tar", ("flickr8k", "coco", "fsa-colour"), webp)
    sketch = {**webp, "0.png": encoded(np.eye(8, dtype=np.uint8) * 255)}
    shard("sketches/sketches-research-0.tar", ("sketchy",), sketch, label="cat", sketches=[{"file": "0.png"}])
    strokes = [[[0, 255, 9], [0, 255, 90]]]
    shard("sketches/sketches-open-0.tar", ("quickdraw",), {}, label="cat", drawing=strokes)
    shard("depth/depth-research-0.tar", ("nyu-depth-v2",), maps)
    shard("segmentation/segmentation-open-0.tar", ("clothing-co-parsing", "coco"), maps)
    for pack, sources in (("depth", ("nyu-depth-v2",)), ("segmentation", ("clothing-co-parsing", "coco"))):
        (folder / pack / "classes.json").write_text(json.dumps({source: {"1": "wall"} for source in sources}))
    shard("photos/photos-0.tar", ("caltech101", "clothing-dataset", "grocery-store-dataset"), webp, label="cat")


def test_every_source_has_a_gallery_and_queries_of_its_test_split(tmp_path: Path) -> None:
    _write_packs(tmp_path)
    sets = list(source_sets(tmp_path))
    assert len({of.name for of in sets}) == len(sets) == 12
    for of in sets:
        photos = 1 if of.by_class else 2
        assert [len(of.photos), len(of.test), of.test[0].right] == [photos, 1, (0,)], of.name
        assert of.modality == "caption" or len(of.others) == 1
        assert of.photos[0]().shape == (8, 12, 3)
        render_value(of.modality, of.test[0].read())


def test_only_test_pairs_count_and_a_repeated_title_is_neither_query_nor_photo(tmp_path: Path) -> None:
    titles = {"test": ["A barn.", "a mill", "A barn"], "val": ["a bridge", "a mill"], "train": ["a river"]}
    samples = [
        (about(split=split, captions=[title]), {"webp": picture()}) for split, own in titles.items() for title in own
    ]
    folder = write_shard(tmp_path / "captions-open-000000.tar", samples)
    of = caption_set(CaptionsSource("x", PackOptions(path=folder)))
    assert len(of.photos) == 2, "a bridge and a river"
    assert (of.test, [query.read() for query in of.others]) == ([], ["a bridge"])


def test_a_text_of_one_photo_is_its_own_however_often_it_has_it() -> None:
    assert own_texts({"a": ["A dog.", "a dog", "A cat"], "b": ["a cat."]}) == {"a": ["A dog.", "a dog"], "b": []}


def test_recall_needs_one_right_photo_and_average_precision_all() -> None:
    cosines = np.array([[0.9, 0.8, 0.1], [0.9, 0.8, 0.1]], np.float32)
    queries = [Query(_nothing, (0, 2), "cat"), Query(_nothing, (1,), "dog")]
    assert query_values(cosines, queries, by_class=False).tolist() == [1.0, 1.0]
    assert query_values(cosines, queries, by_class=True) == pytest.approx([(1 + 2 / 3) / 2, 1 / 2])


@pytest.mark.parametrize(("mean", "right"), [(Mean.GALLERY, 0.0), (Mean.QUERIES, 1.0)])
def test_the_baseline_subtracts_what_a_service_has(mean: Mean, right: float) -> None:
    """Queries lean against the photos; only the mean of other queries takes that off."""
    photos, leaning = _circle(24), _circle(24) + np.array([-9, 0, 0], np.float32)
    sides = {side: {WHOLE: rows, PLACES: rows} for side, rows in (("photos", photos), ("others", leaning))}
    sides["test"] = {WHOLE: leaning[:1], PLACES: leaning[:1]}  # its own mean would leave nothing
    cosines = baseline_cosines(sides, "test", Constants(1.0, mean), _NO_CLASSES)
    assert query_values(cosines, _queries([0]), by_class=False).mean() == right


def test_other_queries_choose_the_constants() -> None:
    """Places point at the right photos and the whole does not."""
    photos, queries = _circle(40), _queries(range(40))
    sides = {"photos": {WHOLE: photos, PLACES: photos}, "others": {WHOLE: photos[::-1], PLACES: photos}}
    of = SourceSet("x", "depth", "depth", [], [], queries)
    chosen = choose_constants([(of, sides)], _NO_CLASSES)["depth"]
    assert [constants.mean for constants in chosen] == [Mean.GALLERY, Mean.QUERIES]
    assert min(constants.weight for constants in chosen) > 1


def test_a_row_has_the_paired_gain_of_each_model_over_the_better_baseline() -> None:
    photos, leaning = _circle(40), _circle(40) + np.array([-9, 0, 0], np.float32)
    good, bad = {"good": photos, "bad": photos}, {"good": photos, "bad": np.roll(photos, 20, axis=0)}
    sides = {"photos": {WHOLE: photos, PLACES: photos, **good}, "others": {WHOLE: leaning, PLACES: leaning}}
    sides["test"] = {**sides["others"], **bad}
    of = SourceSet("x", "depth", "depth", [_nothing] * 40, _queries(range(40)))
    spaces = {name: EmbeddingSpace("photos", 3, "f", np.zeros(3, np.float32)) for name in ("good", "bad")}
    row = source_row(of, sides, spaces, [Constants(1.0, mean) for mean in Mean], _NO_CLASSES)
    assert (row["queries"], row["photos"]) == (40, 40)
    assert row["untrained"]["gallery"]["value"] < row["untrained"]["queries"]["value"] == 1.0
    assert row["models"]["good"]["gain"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert row["models"]["bad"]["gain"]["value"] == -1.0


def test_smaller_galleries_are_separate_parts_of_the_photos() -> None:
    photos = np.concatenate([_circle(100), _circle(100), _circle(50)])  # photos of one part have twins in the others
    noise = np.random.default_rng(0).standard_normal(photos.shape).astype(np.float32) * 0.1
    sides = {side: {"m": rows} for side, rows in (("photos", photos), ("test", photos[:200] + noise[:200]))}
    sides["others"] = {"m": photos[200:] + noise[200:]}
    of = SourceSet("x", "caption", "caption", [_nothing] * 250, _queries(range(200)), _queries(range(200, 250)))
    space = {"m": EmbeddingSpace("photos", 3, "f", np.zeros(3, np.float32))}
    hundred, two_hundred = size_rows(of, sides, space)
    assert [(row["photos"], row["galleries"]) for row in (hundred, two_hundred)] == [(100, 2), (200, 1)]
    assert hundred["models"]["m"]["value"] > two_hundred["models"]["m"]["value"]


def test_intervals_resample_photos_and_not_captions() -> None:
    values, photos = np.repeat([0.0, 1.0], 50), [str(number // 5) for number in range(100)]
    by_photo = unit_estimate(values, photos)
    by_caption = unit_estimate(values, [str(number) for number in range(100)])
    assert by_photo.value == by_caption.value == 0.5
    assert by_photo.high - by_photo.low > 1.8 * (by_caption.high - by_caption.low)
    assert unit_estimate(np.ones(9), photos[:9]).low == 1.0


def test_the_table_marks_gains_that_break_the_rule() -> None:
    def row(low: float) -> dict[str, object]:
        gain = {"value": 0.1, "low": low, "high": 0.2}
        model = {"value": {"value": 0.5, "low": 0.4, "high": 0.6}, "gain": gain}
        about = {"source": "x", "query": "depth", "measure": "R@10", "queries": 9, "units": 3, "photos": 1_000}
        return about | {
            "untrained": {"gallery": {"value": 0.3}, "queries": {"value": 0.4}},
            "models": {"4m-tiny": model, "4m-tiny-open": model},
        }

    *_, good, bad = source_table({"rows": [row(-0.01), row(-0.011)]}).splitlines()
    assert good.split(" | ")[2:8] == ["9 of 3", "1,000", "0.300", "0.400", "0.500", "+0.100 (-0.010 to +0.200)"]
    assert bad.split(" | ")[7] == "+0.100 (-0.011 to +0.200) \\*"


@pytest.mark.parametrize("modality", ["rgb", "canny_edge", "caption"])
def test_vectors_are_those_that_a_service_stores_and_searches_with(modality: str) -> None:
    pulled_encoders()
    random = np.random.default_rng(0)
    shapes = {"rgb": (3, 60, 80, 3), "canny_edge": (3, 60, 80)}
    values = ["a dog", "a red car", "a house"]
    if modality in shapes:
        values = list(random.integers(0, 256, shapes[modality], np.uint8))
    embedder = load_embedder("4m-tiny", default_home())
    samples, space = [Sample({modality: value}) for value in values], "photo_global"
    if modality == "rgb":
        expected = embedder.embed_gallery(samples, [space])[space]
    else:
        expected = centre_queries(embedder.spaces[space], [modality], embedder.embed(samples, [space])[space])
    vectors = Vectorizer(default_home(), ["4m-tiny"]).encode(modality, values)
    np.testing.assert_allclose(vectors["4m-tiny"], expected, atol=1e-5)
