"""Samples that raise or kill their process cost nobody but themselves."""

from pathlib import Path

import pytest

from anyseek.model.data.making import Failure, Job, Workshop, make_in_order
from anyseek.model.data.recipe import parse_recipe
from anyseek.model.data.registry import Place
from anyseek.model.data.samples import Shares
from anyseek.model.data.shards import Entry
from anyseek.model.errors import WeightsMissing
from tests.model.data.dying import DyingSource


def made_of(keys: list[str], tmp_path: Path, labellers: list[str], workers: int = 2) -> list[Entry | Failure]:
    recipe = parse_recipe({"name": "x", "sources": [{"kind": "clipart"}], "labellers": labellers})
    source = DyingSource(tuple(keys), str(tmp_path))
    workshop = Workshop(recipe, Place(tmp_path, 16, Shares()), (source,))
    return list(make_in_order(workshop, [Job(0, key) for key in keys], workers))


def said(one: Entry | Failure) -> str:
    return f"{one.step}: {one.reason}" if isinstance(one, Failure) else one.key


def test_results_come_in_order_and_what_dies_or_raises_is_named(tmp_path):
    keys = [*(f"a{n}" for n in range(6)), "kill1", "refuse", "a6", "bug", "kill2", *(f"b{n}" for n in range(9))]
    made = [said(one) for one in made_of(keys, tmp_path, ["canny_edge"])]
    died = "worker: the process that made it died: a crash, or not enough memory"
    expected = {
        "kill1": died,
        "kill2": died,
        "refuse": "source: refuse is not wanted",
        "bug": "source: ZeroDivisionError: <object>",
    }
    assert made == [expected.get(key, f"dying/{key}") for key in keys]


def test_a_sample_whose_process_died_of_something_else_is_made_after_all(tmp_path):
    keys = [*(f"a{n}" for n in range(5)), "once", "b"]
    assert [said(one) for one in made_of(keys, tmp_path, [])] == [f"dying/{key}" for key in keys]


def test_what_a_labeller_lacks_ends_the_build_at_once(tmp_path):
    with pytest.raises(WeightsMissing, match="4M-21_B"):
        made_of(["a"], tmp_path, [{"kind": "tokens", "of": "rgb"}], workers=1)


def test_no_jobs_need_no_processes(tmp_path):
    assert made_of([], tmp_path, []) == []
