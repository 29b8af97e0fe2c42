"""Recipes are read strictly: what is wrong is named by its key, in one sentence."""

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.data.errors import RecipeInvalid
from anyseek.model.data.recipe import parse_recipe, read_recipe
from anyseek.model.data.samples import Shares, Split

MINIMAL = {"name": "x", "sources": [{"kind": "photos", "path": "photos"}]}
CONFIGS = Path(__file__).parents[3] / "configs" / "data"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_recipes_that_come_with_anyseek_are_recipes(path):
    assert read_recipe(path).name == path.stem


def test_a_labeller_is_its_kind_alone_or_with_options():
    recipe = parse_recipe(MINIMAL | {"labellers": ["canny_edge", {"kind": "feature_map", "of": "depth"}]})
    assert [labeller.kind for labeller in recipe.labellers] == ["canny_edge", "feature_map"]
    assert recipe.labellers[1].options.of == "depth"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nmae": "x"}, r"^the config has no setting 'nmae'; did you mean 'name'"),
        ({"sources": ["photos"]}, r"^sources\[0\]\.path is missing"),
        ({"sources": [{"path": "a"}]}, r"^sources\[0\]\.kind is missing"),
        ({"sources": [{"kind": "fotos"}]}, r"'fotos' is not a source; the known ones are folder, shards"),
        ({"sources": [{"kind": "photos", "path": "a", "limit": 0}]}, r"^sources\[0\]\.limit must be greater than"),
        ({"sources": [{"kind": "photos", "path": "a", "name": "A/B"}]}, r"name .*match pattern"),
        ({"sources": [{"kind": "photos", "path": "a"}] * 2}, r"two sources are called 'photos'"),
        (
            {"sources": [{"kind": "shards", "path": "a", "licence": "b", "split": "dev"}]},
            r"'train', 'val' or 'test', not 'dev'",
        ),
        ({"sources": [{"kind": "emoji", "vendors": ["apple"]}]}, r"vendors\[0\] must be .* .apple"),
        ({"labellers": ["hed"]}, r"'hed' is not a labeller"),
        ({"labellers": [{"kind": "feature_map", "of": "sound"}]}, r"^labellers\[0\]\.of must be one of rgb"),
        ({"splits": {"val": 0.6, "test": 0.6}}, r"^splits must leave something for training"),
        ({"image_size": 3}, r"^image_size must be greater than or equal to 16, not 3"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(changes, said):
    with pytest.raises(RecipeInvalid, match=said) as found:
        parse_recipe(MINIMAL | changes)
    assert "\n" not in str(found.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "path", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["name", "seed", "splits", "sources", "labellers", "image_size"]), JSON))
def test_whatever_is_written_is_a_recipe_or_refused(written):
    with suppress(RecipeInvalid):
        assert parse_recipe(yaml.safe_load(yaml.safe_dump(written))).sources


@given(st.text(), st.floats(0, 0.5), st.floats(0, 0.4))
def test_a_group_stays_in_the_test_split_when_that_grows(group, val, test):
    if Shares(val=val, test=test).split_of(group) is Split.TEST:
        assert Shares(val=val, test=test + 0.1).split_of(group) is Split.TEST


def test_shares_are_what_they_say():
    splits = [Shares(val=0.1, test=0.2).split_of(str(number)) for number in range(4000)]
    assert splits.count(Split.VAL) / 4000 == pytest.approx(0.1, abs=0.02)
    assert splits.count(Split.TEST) / 4000 == pytest.approx(0.2, abs=0.02)
