"""Ablations: configs are merged as said, and runs are made, read, and not made again."""

from pathlib import Path

import pytest
import yaml

from benchmarks.ablations import Variant, as_table, merged, read_variants, recalls
from tests.model.training.shapes import settings, with_contrast, write_data

ROOT = Path(__file__).parents[2]


def test_sections_are_merged_and_null_takes_a_key_out() -> None:
    config = {"a": 1, "b": {"c": 2, "d": {"e": 3}}, "own": {"x": 1}}
    changes = {"a": None, "b": {"d": {"f": 4}}, "own": {}, "new": {"g": 5}}
    assert merged(config, changes) == {"b": {"c": 2, "d": {"e": 3, "f": 4}}, "own": {}, "new": {"g": 5}}
    assert config["a"] == 1


def test_the_ablations_of_the_bundled_weights_are_configs_that_training_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    variants = read_variants(ROOT / "configs" / "ablations.yaml")
    assert len({variant.folder(tmp_path) for variant in variants}) == len(variants) > 4
    assert all("start" not in variant.config for variant in variants)
    assert {variant.name: variant.steps for variant in variants}["before training"] == 1


@pytest.mark.slow
def test_every_variant_is_trained_once_and_has_a_column(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    base = with_contrast(settings(tmp_path / "data"), tmp_path)
    variants = [Variant("whole", base, 6), Variant("fixed maps", merged(base, {"contrast": {"train_maps": False}}), 4)]
    found = {variant.name: recalls(variant, tmp_path / "runs") for variant in variants}
    table = as_table(found)
    assert table[0] == "| R@10 | whole | fixed maps |"
    assert [row.split("|")[1].strip() for row in table[2:]] == ["shape_global/rgb", "shape_global/caption+tok_rgb"]
    assert all(0 <= value <= 1 for recalled in found.values() for value in recalled.values())
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("model.safetensors")}
    assert len(made) == 2
    assert {variant.name: recalls(variant, tmp_path / "runs") for variant in variants} == found
    assert all(path.stat().st_mtime_ns == written for path, written in made.items())
    config = yaml.safe_load((tmp_path / "runs" / "fixed-maps.yaml").read_text())
    assert (config["evaluation"]["every"], config["total_tokens"]) == (4, 4 * 8 * 48)
