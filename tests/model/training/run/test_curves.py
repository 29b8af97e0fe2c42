"""Curves of a run as a picture for readers."""

from pathlib import Path

import pytest
from PIL import Image

from anyseek.model.training.run.curves import Panel, by_target, draw
from anyseek.model.training.run.errors import TrainingDataInvalid

METRICS = "step,tokens,loss,loss/caption\n20,100,5.0,3.0\n40,200,4.0,2.5\n"
EVALUATION = (
    "step,tokens,loss,loss/caption,recall@10/a/depth,recall@10/a/rgb,recall@10/b/rgb\n40,200,4.1,2.6,0.2,0.5,0.4\n"
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.csv").write_text(METRICS)
    (folder / "evaluation.csv").write_text(EVALUATION)
    return folder


def test_what_is_asked_for_is_drawn(run: Path, tmp_path: Path) -> None:
    sizes = []
    for only in (("recall@10",), ("loss", "recall@10")):
        draw(run, tmp_path / "curves.png", only)
        with Image.open(tmp_path / "curves.png") as picture:
            sizes.append(picture.height)
            assert picture.convert("L").getextrema() != (255, 255)
    assert sizes[0] < sizes[1], "two panels in a row, four in two"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["curves.png"]


def test_recalls_have_a_panel_for_each_target() -> None:
    curves = {"a/depth": [(1.0, 0.2)], "a/rgb": [(1.0, 0.5)], "b/rgb": [(1.0, 0.4)]}
    first, second = by_target(Panel("recall@10", curves))
    assert (first.title, list(first.curves)) == ("recall@10 of a", ["rgb", "depth"])
    assert (second.title, list(second.curves)) == ("recall@10 of b", ["rgb"])
    loss = Panel("loss", {"training": [(1.0, 3.0)]})
    assert by_target(loss) == [loss]


def test_a_run_without_such_curves_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataInvalid, match=r"has measurements of loss, recall@10, but none of accuracy"):
        draw(run, tmp_path / "curves.png", ["accuracy"])
    with pytest.raises(TrainingDataInvalid, match="has measurements of nothing"):
        draw(tmp_path, tmp_path / "curves.png", ["loss"])
    assert not (tmp_path / "curves.png").exists()
