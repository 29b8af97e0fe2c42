"""Packs: licence classes by the shards' names, sources that can be chosen and left out."""

import pytest

from anyseek.model.data.errors import RecipeInvalid, SampleInvalid, SourceUnavailable
from anyseek.model.data.recipe import parse_recipe
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.packs import Classes, PackOptions, read_pack
from tests.model.data.sources.packs_kit import about, picture, write_shard


@pytest.fixture
def folder(tmp_path):
    """Two open samples of `x` and `y`, and one of `y` for research, with a number that an open one has, too."""
    write_shard(tmp_path / "things-open-000000.tar", [(about(), {"webp": picture()}), (about(source="y"), {})])
    return write_shard(tmp_path / "things-research-000000.tar", [(about(source="y", split="val"), {})])


def test_a_key_tells_the_licence_class_so_that_equal_numbers_differ(folder):
    pack = read_pack("things", PackOptions(folder))
    assert [list(pack.keys(split)) for split in Split] == [["open/000000", "open/000001"], ["research/000000"], []]
    assert pack.entries["research/000000"].attributes["licence_class"] == "research"


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"classes": Classes.OPEN}, {"open/000000", "open/000001"}),
        ({"classes": Classes.RESEARCH}, {"research/000000"}),
        ({"of": ("x",)}, {"open/000000"}),
        ({"without": ("x",)}, {"open/000001", "research/000000"}),
        ({"of": ("y",), "classes": Classes.OPEN}, {"open/000001"}),
    ],
)
def test_classes_and_sources_choose_samples(folder, options, keys):
    assert read_pack("things", PackOptions(folder, **options)).entries.keys() == keys


def test_another_choice_is_another_origin(folder):
    origins = {read_pack("things", PackOptions(folder, without=out)).origin for out in ((), ("x",), ("y",))}
    assert len(origins) == 3


def test_a_pack_that_has_nothing_of_what_is_wanted_is_refused(folder):
    with pytest.raises(SourceUnavailable, match="no sample of the kind things"):
        read_pack("things", PackOptions(folder, of=("z",)))


@pytest.mark.parametrize("classes", Classes)
def test_a_folder_without_shards_is_refused(tmp_path, classes):
    with pytest.raises(SourceUnavailable):
        read_pack("things", PackOptions(tmp_path, classes))


def test_a_sample_that_lacks_its_picture_says_so(folder):
    with pytest.raises(SampleInvalid, match=r"x/1 has no \.webp"):
        read_pack("things", PackOptions(folder)).entries["open/000001"].photo()


@pytest.mark.parametrize("lacking", ["license", "source", "width"])
def test_a_sample_that_does_not_say_whose_it_is_is_refused(tmp_path, lacking):
    said = {name: value for name, value in about().items() if name != lacking}
    write_shard(tmp_path / "things-open-000000.tar", [(said, {})])
    with pytest.raises(SourceUnavailable, match=f"000000 does not say its {lacking}"):
        read_pack("things", PackOptions(tmp_path))


def test_a_recipe_names_the_class(tmp_path):
    source = {"kind": "captions", "path": str(tmp_path), "classes": "open", "without": ["coco"]}
    recipe = parse_recipe({"name": "x", "sources": [source]})
    assert recipe.sources[0].options.classes is Classes.OPEN
    with pytest.raises(RecipeInvalid, match="classes must be one of all, open, research"):
        parse_recipe({"name": "x", "sources": [{**source, "classes": "free"}]})
