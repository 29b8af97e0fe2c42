"""Packs: licence classes by the shards' names, sources that can be chosen, and what is in the samples of each pack."""

import json

import numpy as np
import pytest

from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.samples import Caption, Origin, Split
from anyseek.model.data.sources.packs import (
    CaptionsSource,
    MeasuredSource,
    PackOptions,
    PackSource,
    PhotosOptions,
    PhotosSource,
    SketchesSource,
    render_strokes,
)
from tests.model.data.sources.packs_kit import about, encoded, picture, write_shard

IDS = np.array([[0, 1], [2, 2]], np.uint8)
DEPTH = np.array([[0, 1500], [2000, 65535]], np.uint16)
SQUARE = [[[0, 255, 255, 0, 0], [0, 0, 255, 255, 0]]]
ATTRIBUTES = {"source": "x", "licence": "CC BY 4.0", "id": "x/1", "original_width": 300, "original_height": 200}


@pytest.fixture
def folder(tmp_path):
    """Two open samples of `x` and `y`, and one of `y` for research, with a number that an open one has, too."""
    write_shard(tmp_path / "captions-open-000000.tar", [(about(), {"webp": picture()}), (about(source="y"), {})])
    return write_shard(tmp_path / "captions-research-000000.tar", [(about(source="y", split="val"), {})])


def test_a_key_tells_the_licence_class_so_that_equal_numbers_differ(folder):
    pack = PackSource("c", "captions", PackOptions(path=folder))
    assert [list(pack.keys(split)) for split in Split] == [["open/000000", "open/000001"], ["research/000000"], []]
    assert pack.entries["research/000000"].attributes["licence_class"] == "research"


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"classes": "open"}, {"open/000000", "open/000001"}),
        ({"classes": "research"}, {"research/000000"}),
        ({"of": ("x",)}, {"open/000000"}),
        ({"of": ("y",)}, {"open/000001", "research/000000"}),
        ({"of": ("y",), "classes": "open"}, {"open/000001"}),
    ],
)
def test_classes_and_sources_choose_samples_and_make_another_origin(folder, options, keys):
    pack = PackSource("c", "captions", PackOptions(path=folder, **options))
    assert pack.entries.keys() == keys
    assert pack.origin != PackSource("c", "captions", PackOptions(path=folder)).origin


def test_a_pack_that_has_nothing_of_what_is_wanted_is_refused(folder, tmp_path):
    with pytest.raises(SourceUnavailable, match="no sample of the kind captions"):
        PackSource("c", "captions", PackOptions(path=folder, of=("z",)))
    for classes in ("all", "open", "research"):
        with pytest.raises(SourceUnavailable):
            PackSource("c", "depth", PackOptions(path=folder, classes=classes))


def test_a_sample_that_lacks_its_picture_says_so(folder):
    with pytest.raises(SampleInvalid, match=r"x/1 has no \.webp"):
        PackSource("c", "captions", PackOptions(path=folder)).entries["open/000001"].value("rgb", "webp")


@pytest.mark.parametrize("lacking", ["license", "source", "width"])
def test_a_sample_that_does_not_say_whose_it_is_is_refused(tmp_path, lacking):
    said = {name: value for name, value in about().items() if name != lacking}
    write_shard(tmp_path / "captions-open-000000.tar", [(said, {})])
    with pytest.raises(SourceUnavailable, match=f"000000 has no {lacking}"):
        PackSource("c", "captions", PackOptions(path=tmp_path))


def test_a_photo_has_all_of_its_captions_and_says_whose_it_is(tmp_path):
    said = about(captions=["A dog.", " A brown dog. "], aspect="native")
    folder = write_shard(tmp_path / "captions-open-000000.tar", [(said, {"webp": picture()})])
    sample = CaptionsSource("captions", PackOptions(path=folder)).sample("open/000000")
    assert sample.values["rgb"].shape == (8, 12, 3)
    assert sample.values["caption"] == (Caption("A dog.", Origin.HUMAN), Caption("A brown dog.", Origin.HUMAN))
    assert sample.attributes == ATTRIBUTES | {"medium": "photo", "aspect": "native", "licence_class": "open"}


@pytest.mark.parametrize("captions", [None, [], ["A dog.", 3], [""], "A dog."])
def test_a_photo_without_captions_is_left_out(tmp_path, captions):
    folder = write_shard(tmp_path / "captions-open-000000.tar", [(about(captions=captions), {"webp": picture()})])
    with pytest.raises(SampleInvalid, match="no list of captions"):
        CaptionsSource("c", PackOptions(path=folder)).sample("open/000000")


def test_a_drawing_is_ink_on_a_sheet_and_each_sketch_of_a_photo_is_a_sample_with_it(tmp_path):
    write_shard(tmp_path / "sketches-open-000000.tar", [(about(label="square", drawing=SQUARE), {})])
    said = about(id="sketchy/duck/1", label="duck", sketches=[{"file": f"{n}.png"} for n in (0, 1)], split="test")
    files = {f"{n}.png": encoded(np.full((9, 9), 255 - n, np.uint8)) for n in (0, 1)}
    write_shard(tmp_path / "sketches-research-000000.tar", [(said, {"webp": picture(), **files})])
    source = SketchesSource("sketches", PackOptions(path=tmp_path), 64)
    assert list(source.keys(Split.TRAIN)) == ["open/000000"]
    drawing = source.sample("open/000000")
    assert drawing.values.keys() == {"line_drawing"}
    assert drawing.values["line_drawing"].shape == (64, 64)
    assert (drawing.attributes["label"], drawing.attributes["medium"]) == ("square", "sketch")
    keys = source.keys(Split.TEST)
    assert list(keys) == ["research/000000/0", "research/000000/1"]
    first, second = (source.sample(key) for key in keys)
    assert first.values["rgb"].shape == (8, 12, 3)
    assert np.array_equal(first.values["rgb"], second.values["rgb"])
    assert (int(first.values["line_drawing"].max()), int(second.values["line_drawing"].max())) == (0, 1)
    assert first.attributes["concept"] == second.attributes["concept"] == "sketchy/duck/1"


def test_strokes_lie_where_they_were_drawn_and_in_the_middle():
    sheet = render_strokes(SQUARE, 64)
    assert sheet[32, 32] == 0
    assert min(sheet[32, 2], sheet[2, 32], sheet[32, 61], sheet[61, 32]) > 100
    rows = np.flatnonzero(render_strokes([[[0, 255], [10, 10]]], 64).any(axis=1))
    flat = render_strokes([[[0, 255], [0, 0]]], 64)
    assert rows.min() > 25  # a stroke at y 10 of a drawing that ends there
    assert np.flatnonzero(flat.any(axis=1)).mean() == pytest.approx(31.5, abs=1)
    dotted = render_strokes([[[0, 255], [0, 255]], [[0], [255]]], 64)
    assert dotted[61, 2] > 100  # a stroke of one point
    assert dotted[2, 61] == 0


@pytest.mark.parametrize("drawing", [None, [], [[[0, 1], [0]]], [[[0, 1]]]])
def test_strokes_that_lack_an_axis_are_left_out(tmp_path, drawing):
    folder = write_shard(tmp_path / "sketches-open-000000.tar", [(about(label="x", drawing=drawing), {})])
    with pytest.raises(SampleInvalid, match="no strokes"):
        SketchesSource("s", PackOptions(path=folder), 64).sample("open/000000")


@pytest.fixture
def measured(tmp_path):
    """Opens a pack of these samples, whose `classes.json` says `classes`."""

    def open_source(pack, classes, *samples):
        (tmp_path / "classes.json").write_text(json.dumps(classes))
        write_shard(tmp_path / f"{pack}-open-000000.tar", [(said, {"webp": picture(), **f}) for said, f in samples])
        return MeasuredSource("m", PackOptions(path=tmp_path), pack)

    return open_source


def test_depth_is_in_metres_and_unknown_where_nothing_was_measured(measured):
    sample = measured("depth", {}, (about(), {"depth.png": encoded(DEPTH)})).sample("open/000000")
    assert sample.values.keys() == {"rgb", "depth"}
    assert sample.values["depth"].dtype == np.float32
    assert np.isnan(sample.values["depth"][0, 0])
    assert sample.values["depth"].flat[1:] == pytest.approx([1.5, 2.0, 65.535])


def test_regions_have_the_names_of_their_own_source(measured):
    files = {"semseg.png": encoded(IDS)}
    classes = {"x": {"1": "wall", "2": "floor"}, "y": {"1": "hat", "2": "shoe"}}
    source = measured("segmentation", classes, (about(), files), (about(source="y", split="val"), files))
    (key,) = source.keys(Split.VAL)
    regions = source.sample(key).values["semseg"]
    assert np.array_equal(regions.ids, IDS)
    assert regions.classes == {1: "hat", 2: "shoe"}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"semseg.png": encoded(IDS)}, r"id 2, which classes\.json does not name"),
        ({"depth.png": encoded(np.zeros((2, 2), np.uint16))}, "no measured pixel"),
    ],
)
def test_a_map_that_says_nothing_leaves_the_sample_out(measured, files, says):
    with pytest.raises(SampleInvalid, match=says):
        measured("depth", {"x": {"1": "wall"}}, (about(), files)).sample("open/000000")


def test_a_pack_without_names_of_ids_is_refused(tmp_path):
    folder = write_shard(tmp_path / "depth-open-000000.tar", [(about(), {"webp": picture()})])
    with pytest.raises(SourceUnavailable, match=r"classes\.json does not name"):
        MeasuredSource("d", PackOptions(path=folder), "depth")


@pytest.fixture
def photos(tmp_path):
    """Writes photos with these descriptions into a shard."""
    return lambda *said: write_shard(tmp_path / "photos-000000.tar", [(one, {"webp": picture()}) for one in said])


def test_a_photo_has_its_split_label_caption_and_licence(photos):
    said = [about(label="cup"), about(split="test", label="green apple", coarse_label="apple", caption="A sour apple.")]
    source = PhotosSource("photos", PhotosOptions(path=photos(*said, about(split="val"))))
    assert [list(source.keys(split)) for split in Split] == [["000000"], ["000002"], ["000001"]]
    sample = source.sample("000001")
    assert sample.values["rgb"].shape == (8, 12, 3)
    assert sample.values["caption"] == (Caption("A sour apple.", Origin.HUMAN),)
    named = {"medium": "photo", "label": "green apple", "concept": "x/green apple", "tags": ["apple"]}
    assert sample.attributes == named | ATTRIBUTES


@pytest.mark.parametrize("label", [None, "not sure", "skip", "other", "background google"])
def test_a_label_that_names_no_class_is_none(photos, label):
    folder = photos(about(label=label), about(label="cup"))
    assert "label" not in PhotosSource("p", PhotosOptions(path=folder)).sample("000000").attributes
    assert list(PhotosSource("p", PhotosOptions(path=folder, labelled=True)).keys(Split.TRAIN)) == ["000001"]


def test_whole_and_cropped_faces_are_one_concept(photos):
    source = PhotosSource("p", PhotosOptions(path=photos(about(label="faces"), about(label="faces easy"))))
    assert {source.sample(key).attributes["concept"] for key in source.keys(Split.TRAIN)} == {"x/faces"}


def test_a_photo_without_a_split_is_refused(photos):
    with pytest.raises(SourceUnavailable, match=r"000000 has no \.json with its split"):
        PhotosSource("p", PhotosOptions(path=photos(about(split="dev"))))
