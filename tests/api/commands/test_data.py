"""`anyseek data`: build, show and verify, with their exit codes."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from anyseek.api.cli import run


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe over eight pictures, in a home of its own."""
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path / "home"))
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (20, 20, 3)).astype(np.uint8)
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "pictures" / f"{number}.png")
    written = {
        "name": "eight",
        "shard_samples": 3,
        "sources": [{"kind": "folder", "path": str(tmp_path / "pictures"), "licence": "CC0, by me"}],
        "labellers": ["canny_edge"],
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(written))
    return path


def build(recipe: Path) -> int:
    return run(["data", "build", str(recipe), "--out", str(recipe.parent / "out"), "--workers", "1"])


def test_a_data_set_is_built_shown_and_verified(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(recipe) == 0
    captured = capsys.readouterr()
    assert "8 samples to make" in captured.err
    assert "eight: " in captured.out
    assert "0 failed" in captured.out
    out = str(recipe.parent / "out")
    assert run(["data", "show", out]) == 0
    shown = capsys.readouterr().out
    assert "CC0, by me" in shown
    assert "canny_edge" in shown
    assert run(["data", "verify", out]) == 0
    assert "8 samples, 0 problems" in capsys.readouterr().out
    assert build(recipe) == 0


def test_failures_are_summed_up_and_end_in_3(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipe.parent / "pictures" / "bad.png").write_bytes(b"words")
    assert build(recipe) == 3
    captured = capsys.readouterr()
    assert "1 failed" in captured.out
    assert "1 failed: folder, source" in captured.err
    assert "bad.png" in captured.err
    assert build(recipe) == 3  # nothing to do, but the data set still lacks one
    assert run(["data", "show", str(recipe.parent / "out")]) == 0
    assert "bad.png" in capsys.readouterr().out


def test_a_changed_shard_is_named_and_ends_in_1(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(recipe)
    shard = next((recipe.parent / "out").glob("train-*.tar"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert run(["data", "verify", str(recipe.parent / "out")]) == 1
    assert shard.name in capsys.readouterr().err


def test_an_invalid_recipe_exits_with_2(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(recipe.read_text().replace("shard_samples", "shard_size"))
    assert build(recipe) == 2
    assert (
        "recipe.yaml: the config has no setting 'shard_size'; did you mean 'shard_samples'?" in capsys.readouterr().err
    )


def test_a_missing_source_or_data_set_exits_with_1(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(recipe.read_text().replace("/pictures", "/gone"))
    assert build(recipe) == 1
    assert "is not a folder" in capsys.readouterr().err
    assert run(["data", "show", str(recipe.parent)]) == 1
    assert "no finished data set" in capsys.readouterr().err
