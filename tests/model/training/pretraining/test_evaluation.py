from pathlib import Path
from typing import Any

import pytest
import torch

from anyseek.model.training.pretraining.evaluation import recalls
from tests.model.training.runs import Written, prepared
from tests.model.training.shapes import with_recall


def test_every_column_is_measured_the_same_way_every_time(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    trainer = prepared(written(with_recall(config, tmp_path)), tmp_path / "run")
    evaluation = trainer.evaluation
    found = evaluation.measure(trainer.network)
    assert set(found) == set(evaluation.columns())
    assert found == evaluation.measure(trainer.network)
    assert found["loss/tok_rgb"] == pytest.approx(3.3, abs=0.6)  # ln 27
    assert found["loss/shape_global"] == pytest.approx(2.1, abs=0.5)  # ln 8
    targets = ("caption", "color_palette", "tok_rgb", "shape_global")
    assert found["loss"] == pytest.approx(sum(float(found[f"loss/{key}"] or 0) for key in targets) / 4)
    assert 0 <= float(found["recall@1/shape_global/rgb"] or 0) <= float(found["recall@10/shape_global/rgb"] or 0) <= 1
    assert trainer.network.training


def test_a_sample_that_lacks_what_is_asked_takes_no_part(
    config: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    config = with_recall(config, tmp_path)
    config["modalities"]["rgb"]["field"] = "canny_edge"
    config["modalities"]["caption"]["field"] = "nothing"
    trainer = prepared(written(config), tmp_path / "run")
    found = trainer.evaluation.measure(trainer.network)
    assert found["recall@1/shape_global/caption+tok_rgb"] is None
    assert found["loss/caption"] is None
    assert found["recall@1/shape_global/rgb"] is not None


def test_recalls_count_the_right_row_among_the_nearest() -> None:
    stored = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    assert recalls(stored, stored) == (1.0, 1.0)
    assert recalls(3 * stored + 0.5, stored)[0] > 0.9  # neither length nor a common shift matters
    assert recalls(-stored, stored) == (0.0, 0.0)
    assert recalls(torch.ones(40, 8), stored)[0] < 0.2  # always the same answer finds next to nothing
    noisy = stored + torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    nearest, among_ten = recalls(noisy, stored)
    assert 0.1 < nearest < among_ten <= 1.0
