"""Samples that raise or kill their process cost nobody but themselves."""

from pathlib import Path

import pytest

from anyseek.model.data.making import BuildContext, Failure, SampleTask, make_in_order
from anyseek.model.data.recipe import parse_recipe
from anyseek.model.data.registry import BuildSettings
from anyseek.model.data.samples import Shares
from anyseek.model.data.shards import Entry
from anyseek.model.errors import WeightsMissing
from tests.model.data.dying import DyingSource


def made_of(keys: list[str], tmp_path: Path, labellers: list[str], workers: int = 2) -> list[Entry | Failure]:
    recipe = parse_recipe({"name": "x", "sources": [{"kind": "clipart"}], "labellers": labellers})
    source = DyingSource(tuple(keys), str(tmp_path))
    context = BuildContext(recipe, BuildSettings(tmp_path, 16, Shares()), (source,))
    return list(make_in_order(context, [SampleTask(0, key) for key in keys], workers))


def test_results_come_in_order_and_what_dies_or_raises_is_named(tmp_path):
    """`once` kills its process for the first time only, as too little memory may."""
    keys = [*(f"a{n}" for n in range(6)), "kill1", "refuse", "a6", "bug", *(f"b{n}" for n in range(9)), "once", "kill2"]
    results = made_of(keys, tmp_path, ["canny_edge"])
    made = [f"{it.step}: {it.reason}" if isinstance(it, Failure) else it.key for it in results]
    died = "worker: the process that made it died: a crash, or not enough memory"
    expected = {
        "kill1": died,
        "kill2": died,
        "refuse": "source: refuse is not wanted",
        "bug": "source: ZeroDivisionError: <object>",
    }
    assert made == [expected.get(key, f"dying/{key}") for key in keys]


def test_what_a_labeller_lacks_ends_the_build_at_once(tmp_path):
    with pytest.raises(WeightsMissing, match="4M-21_B"):
        made_of(["a"], tmp_path, [{"kind": "tokens", "of": "rgb"}], workers=1)
