"""Segmentations by ids of known tables, by colours with and without a legend, and by numbers that nobody explains."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.modalities.class_tables import COLOUR, TABLES
from anyseek.model.modalities.coco import CLASSES, LABELS, STUFF, THINGS, label_of
from anyseek.model.modalities.reading.decode import interpret
from anyseek.model.modalities.reading.documents import parse_legend
from anyseek.model.modalities.reading.encoded import FileLimits, Interpretation
from anyseek.model.modalities.reading.errors import BadMap, DecodeError, EmptyInput, UnknownForm
from anyseek.model.modalities.reading.segmentation_forms import SIDE, smooth_outlines
from anyseek.model.seam import Regions
from tests.model.modalities.files import npy, png

LIMITS = FileLimits()


def _read(
    data: bytes, form: str | None = None, name: str = "map", classes: dict[int, str] | None = None
) -> tuple[Regions, Interpretation]:
    reading = interpret("semseg", data, LIMITS, name, classes, form)
    return reading.value, reading.interpretation


def _names(regions: Regions) -> list[list[str | None]]:
    return [[regions.classes.get(number) for number in row] for row in regions.ids.tolist()]


def _ids(*numbers: int) -> np.ndarray:
    return np.array([numbers], np.uint8)


@pytest.mark.parametrize(
    ("form", "numbers", "names"),
    [
        ("coco", (1, 90, 92, 200, 0), ["person", "toothbrush", "banner", "rug-merged", None]),
        ("coco", (11, 13, 187), ["fire hydrant", "stop sign", "sky-other-merged"]),
        ("coco-panoptic", (1, 80, 81, 133), ["person", "toothbrush", "banner", "rug-merged"]),
        ("ade20k", (1, 3, 20, 150, 0), ["wall", "sky", "chair", "flag", None]),
        ("voc", (1, 15, 20, 255), ["aeroplane", "person", "tv", None]),
        ("cityscapes", (7, 11, 26, 33, 4), ["road", "building", "car", "bicycle", None]),
        ("cityscapes-train", (0, 2, 13, 18, 255), ["road", "building", "car", "bicycle", None]),
    ],
)
def test_ids_of_each_table(form: str, numbers: tuple[int, ...], names: list[str | None]) -> None:
    regions, interpretation = _read(png(_ids(*numbers)), form)
    assert _names(regions) == [names]
    assert (interpretation.form, interpretation.sure) == (form, 1.0)
    assert interpretation.sentence.startswith(f"map is a segmentation in {TABLES[form].title} (")
    assert _names(_read(npy(_ids(*numbers).astype(np.int64)), form)[0]) == [names]


def test_the_tables_are_whole() -> None:
    assert [len(table.names) for table in TABLES.values()] == [133, 133, 150, 20, 29, 19]
    assert all(set(table.colours.values()) <= table.names.keys() | table.void for table in TABLES.values())
    assert TABLES["voc"].colours[(192, 128, 128)] == 15  # person, in the development kit's own list
    assert set(TABLES["cityscapes-train"].names.values()) <= set(TABLES["cityscapes"].names.values())


@pytest.mark.parametrize("form", ["voc", "cityscapes"])
def test_a_table_is_known_by_its_colours(form: str) -> None:
    table = TABLES[form]
    numbers = [number for number in table.colours.values() if number in table.names]
    colours = {number: colour for colour, number in table.colours.items()}
    picture = np.array([[colours[number] for number in numbers]], np.uint8)
    regions, interpretation = _read(png(np.repeat(picture, 3, axis=0)))
    assert interpretation.form == form
    assert _names(regions)[0] == [table.names[number] for number in numbers]


def test_a_palette_tells_voc() -> None:
    palette = [channel for colour in TABLES["voc"].colours for channel in colour]
    regions, interpretation = _read(png(_ids(0, 12, 15), palette=palette))
    assert (_names(regions), interpretation.form) == ([[None, "dog", "person"]], "voc")
    plain, interpretation = _read(png(_ids(0, 1, 2), palette=[9, 9, 9, 200, 0, 0, 0, 90, 0]))
    assert (plain.ids.tolist(), interpretation.form) == ([[0, 1, 2]], "ids")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("aachen_000000_gtFine_labelTrainIds.png", "cityscapes-train"),
        ("aachen_000000_gtFine_labelIds.png", "cityscapes"),
        ("ADE_val_00000001.png", "ade20k"),
        ("coco_panoptic/1.png", "coco-panoptic"),
        ("VOC2012/2007_000033.png", "voc"),
        ("room.png", "ids"),
    ],
)
def test_a_table_is_known_by_the_name(name: str, form: str) -> None:
    assert _read(png(_ids(7, 11)), name=name)[1].form == form


def test_numbers_that_one_table_alone_has() -> None:
    assert _read(png(_ids(1, 187)))[1].form == "coco"
    assert _read(png(_ids(1, 183)))[1].form == "ids"  # no table has it


@given(st.lists(st.integers(0, 132), min_size=1, max_size=30))
def test_ids_that_nobody_explains_stay_as_they_are(numbers: list[int]) -> None:
    regions, interpretation = _read(png(_ids(*numbers)))
    assert regions.ids.tolist() == [numbers]
    assert (dict(regions.classes), interpretation.form, interpretation.sure) == ({}, "ids", 0.5)
    assert _read(png(np.repeat(_ids(*numbers)[..., None], 3, axis=2)))[0].ids.tolist() == [numbers]  # grey in colour


def test_classes_name_ids_and_colours() -> None:
    regions, interpretation = _read(png(_ids(1, 2)), classes={1: "sky"})
    assert (_names(regions), interpretation.sure) == ([["sky", None]], 1.0)
    legend = parse_legend({"#87ceeb": "sky", "#000000": "road", "3": "x"}, "map")
    assert legend == {COLOUR + 0x87CEEB: "sky", COLOUR: "road", 3: "x"}
    blended = np.array([[[135, 206, 235], [130, 200, 240], [10, 0, 0], [255, 0, 0]]], np.uint8)
    regions, interpretation = _read(png(blended), classes=legend)
    assert (_names(regions), interpretation.form) == ([["sky", "sky", "road", None]], "colours")


def test_colours_without_a_legend_are_regions_without_names() -> None:
    regions, interpretation = _read(png(np.array([[[1, 2, 3], [200, 100, 50]]], np.uint8)))
    assert regions.ids.tolist() == [[COLOUR + 0x010203, COLOUR + 0xC86432]]
    assert (dict(regions.classes), interpretation.form) == ({}, "colours")


@pytest.mark.parametrize(
    ("data", "form", "error", "says"),
    [
        (b"", None, EmptyInput, "map is empty"),
        (
            png(_ids(1)),
            "pets",
            UnknownForm,
            "the forms are ids, colours, coco, coco-panoptic, ade20k, voc",
        ),
        (png(_ids(200)), "ade20k", BadMap, "map has the number 200, which is none of the 150 classes of ADE20K"),
        (png(np.zeros((2, 2, 3), np.uint8) + np.array([9, 8, 7], np.uint8)), "ade20k", BadMap, "ade20k has none"),
        (png(np.zeros((2, 2, 3), np.uint8) + np.array([9, 8, 7], np.uint8)), "ids", BadMap, "its form is colours"),
        (npy(np.array([[0.5]])), None, BadMap, "no ids"),
        (npy(np.array([[-1]])), None, BadMap, "no ids"),
        (npy(np.array([[COLOUR]])), None, BadMap, "below 16777216"),
    ],
)
def test_what_is_no_segmentation_is_one_sentence(
    data: bytes, form: str | None, error: type[DecodeError], says: str
) -> None:
    with pytest.raises(error, match=says):
        _read(data, form)


def test_a_photo_and_a_legend_of_other_colours_are_refused() -> None:
    many = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    with pytest.raises(BadMap, match=r"map has 1,\d+ colours; a segmentation has at most 256 flat ones"):
        _read(png(many))
    with pytest.raises(BadMap, match="map has no colour of its classes; they name #87ceeb"):
        _read(png(np.full((2, 2, 3), (250, 9, 9), np.uint8)), classes={COLOUR + 0x87CEEB: "sky"})


def _of_room() -> Regions:
    (view,) = [view for view in read_views() if view["key"] == "test-00014"]
    about = view["modalities"]["semseg"]
    return Regions(
        np.asarray(Image.open(FOLDER / about["file"])), {int(key): name for key, name in about["classes"].items()}
    )


def _cells(regions: Regions, side: int) -> Regions:
    size = regions.ids.shape[0]
    places = (np.arange(side) + 0.5) * size / side
    return Regions(regions.ids[np.ix_(places.astype(int), places.astype(int))], regions.classes)


def test_a_detailed_map_stays_as_it_is() -> None:
    exact = _of_room()
    assert smooth_outlines(exact) is exact


@pytest.mark.parametrize("side", [10, 14])
def test_cells_are_rounded_and_mostly_stay_where_they_are(side: int) -> None:
    cells = _cells(_of_room(), side)
    found = smooth_outlines(cells)
    assert found.ids.shape == (SIDE, SIDE)
    assert found.classes == cells.classes
    assert set(np.unique(found.ids)) <= set(np.unique(cells.ids))
    places = np.arange(SIDE) * side // SIDE
    unrounded = cells.ids[np.ix_(places, places)]
    assert 0.005 < np.mean(found.ids != unrounded) < 0.1


def test_a_corner_is_rounded_and_a_straight_edge_is_not() -> None:
    ids = np.full((8, 16), 7)
    ids[:4, :8] = 3
    found = smooth_outlines(Regions(ids)).ids
    assert found.shape == (112, 224)
    assert found[55, 111] == 7  # the corner itself
    assert (found[:40, 111], found[:40, 112]) == (pytest.approx(3), pytest.approx(7))


@pytest.mark.parametrize("ids", [np.full((4, 4), 9), np.arange(100).reshape(10, 10), np.array([[1]])])
def test_one_region_or_very_many_stay_as_they_are(ids: np.ndarray) -> None:
    regions = Regions(ids)
    assert smooth_outlines(regions) is regions


def test_ids_may_be_any_integers() -> None:
    found = smooth_outlines(Regions(np.array([[-5, -5], [70_000, 70_000]]), {-5: "sky"}))
    assert set(np.unique(found.ids)) == {-5, 70_000}


def test_there_are_80_things_and_53_stuffs() -> None:
    assert (len(THINGS), len(STUFF), len(set(CLASSES))) == (80, 53, 133)
    assert sorted(LABELS) == list(range(1, 134))  # 0 is none


def test_every_name_is_its_own_label() -> None:
    assert {name: label_of(name) for name in CLASSES} == {name: label for label, name in LABELS.items()}


def test_shortened_names_are_known() -> None:
    found = {name: LABELS[label_of(name) or 0] for name in ("sky", " Tree", "water", "food", "door", "floor")}
    assert found == {
        "sky": "sky-other-merged",
        " Tree": "tree-merged",
        "water": "water-other",
        "food": "food-other-merged",
        "door": "door-stuff",
        "floor": "floor-other-merged",
    }
    assert label_of("unicorn") is None
