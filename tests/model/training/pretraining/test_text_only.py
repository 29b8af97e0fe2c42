"""Co-training: samples that have a text only, whose spans are predicted from the rest of the same text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyseek.model.data.build import build
from anyseek.model.data.recipe import read_recipe
from anyseek.model.training.pretraining.batches import BatchMaker
from anyseek.model.training.run.folder import read_records
from tests.model.data.conftest import Silent
from tests.model.training.runs import Written, batch_source, merged_text, train

WORDS = ("red", "green", "bar", "block", "and", "under", "over", "a", "the", "white")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 60 texts."""
    folder, generator = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    lines = [" ".join(generator.choice(WORDS, int(generator.integers(3, 12)))) for _ in range(60)]
    (folder / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "recipe.yaml").write_text(
        f"name: texts\nsources:\n  - {{kind: texts, path: {folder}/lines.txt, licence: CC0}}\n", encoding="utf-8"
    )
    build(read_recipe(folder / "recipe.yaml"), folder / "data", folder / "home", 1, Silent())
    return folder / "data"


def test_input_and_target_together_are_one_text(
    texts: Path, config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config["data"] = {"folders": [{"folder": str(texts)}]}
    config["masking"] |= {"input_tokens": 24, "target_tokens": 60}  # nothing of a target is cut
    config["modalities"]["caption"]["max_length"] = 32
    said = set((texts.parent / "lines.txt").read_text().splitlines())
    source = batch_source(written(config), said, tmp_path, 16)
    text = source.plan.text
    batch = BatchMaker(source).training_batch(0)
    assert batch.empty == 0
    assert set(batch.inputs) == {"caption"}
    assert all(merged_text(batch, "caption", row, text) in said for row in range(batch.samples))
    assert all(bool(one.mask.all()) for key, one in batch.targets.items() if key != "caption")
    given, wanted = ~batch.inputs["caption"].mask, ~batch.targets["caption"].mask
    assert any(given[row].sum() > 1 and wanted[row].sum() > 2 for row in range(batch.samples))


def test_pictures_and_texts_are_trained_on_together(
    texts: Path, data: Path, config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config["data"] = {"folders": [{"folder": str(data), "weight": 0.5}, {"folder": str(texts), "weight": 0.5}]}
    config["masking"]["weights"] = [0, 1]  # the first component shows pictures alone, which texts cannot serve
    config |= {"total_tokens": 10 * 8 * 48, "evaluation": {"every": 10, "samples": 4}}
    assert train(written(config), tmp_path / "run")
    rows = read_records(tmp_path / "run" / "metrics.csv")
    assert all(row["empty"] == 0 for row in rows)
    assert float(rows[-1]["loss/caption"] or 0) < float(rows[0]["loss/caption"] or 0)
    assert rows[-1]["loss/tok_rgb"] is not None
