"""`anyseek predict` over a folder, with published models of random weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.api.commands.conftest import Run
from tests.api.conftest import picture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos, one of them in a folder, a file that is none, and a hidden one."""
    folder = tmp_path / "photos"
    (folder / "rome").mkdir(parents=True)
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("rome/a.png", "green")):
        (folder / name).write_bytes(picture(colour, "disc"))
    (folder / "notes.txt").write_text("no picture")
    (folder / ".DS_Store").write_text("x")
    return folder


@pytest.fixture
def predict(run: Run, random_models: Path, photos: Path, tmp_path: Path) -> Run:
    def start(*arguments: str, given: str = "rgb={}", target: str = "palette", **more: str) -> Any:
        options = ("--input", given.format(photos), "--target", target, "--out", str(tmp_path / "out"))
        return run(
            "predict", *options, *arguments, **{"ANYSEEK_HOME": str(random_models), "ANYSEEK_MODEL": "4M-21_B"} | more
        )

    return start


def _records(out: Path) -> dict[str, dict[str, Any]]:
    return {
        str(path.parent.relative_to(out)): json.loads(path.read_text()) for path in sorted(out.rglob("prediction.json"))
    }


def test_files_of_a_folder_are_predicted_as_alone_and_bad_ones_are_reported(
    predict: Run, run: Run, random_models: Path, photos: Path, tmp_path: Path
) -> None:
    done = predict("--temperature", "2")
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("anyseek:")] == [
        line for line in done.stderr.splitlines() if line.startswith("anyseek: notes.txt: ")
    ]
    assert len(done.stdout.splitlines()) == 3
    records = _records(tmp_path / "out")
    assert list(records) == [f"{name}/color_palette" for name in ("a.png", "b.png", "rome/a.png")]
    assert records["rome/a.png/color_palette"]["inputs"] == [f"rgb={photos}/rome/a.png"]
    for name in ("a.png", "b.png"):
        alone = ("--input", f"rgb={photos / name}", "--target", "palette", "--out", str(tmp_path / "alone" / name))
        here = {"ANYSEEK_HOME": str(random_models), "ANYSEEK_MODEL": "4M-21_B"}
        assert run("predict", *alone, "--temperature", "2", **here).returncode == 0
    assert _files_of(_records(tmp_path / "alone")) == {
        name: files for name, files in _files_of(records).items() if not name.startswith("rome")
    }


def _files_of(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: record["files"] for name, record in records.items()}


def test_a_second_run_does_what_is_missing(predict: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "notes.txt").unlink()
    assert predict("--model", "4M-21_B", "--json").returncode == 0
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("prediction.json")}
    gone = tmp_path / "out" / "b.png" / "color_palette"
    shutil.rmtree(gone)
    again = predict("--model", "EPFL-VILAB/4M-21_B", "--json")
    assert again.returncode == 0, again.stderr
    assert "anyseek: 2 of 3 files were predicted before" in again.stderr
    (line,) = again.stdout.splitlines()
    assert json.loads(line)["file"] == "b.png"
    left = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("prediction.json")}
    assert {path for path in made if left[path] != made[path]} == {gone / "prediction.json"}
    otherwise = predict("--seed", "3", "--json")
    assert otherwise.returncode == 1
    assert all("--force" in json.loads(line)["error"] for line in otherwise.stdout.splitlines())
    assert predict("--seed", "3", "--force").returncode == 0
    assert {record["options"]["seed"] for record in _records(tmp_path / "out").values()} == {3}


@pytest.mark.parametrize(
    ("given", "target", "model", "says"),
    [
        ("rgb={}/empty", "palette", "4M-21_B", "has no files to predict from"),
        ("rgb={}", "palette", "nobody", "'nobody' is not a model that predicts"),
        ("rgb={}", "t5_caption", "4M-21_B", "does not predict t5_caption"),
    ],
)
def test_an_error_of_all_files_is_reported_once(
    predict: Run, photos: Path, tmp_path: Path, given: str, target: str, model: str, says: str
) -> None:
    (photos / "empty").mkdir()
    done = predict("--model", model, given=given, target=target)
    assert done.returncode == 2
    assert done.stderr.count(says) == 1
    assert not (tmp_path / "out").exists()


def test_two_folders_are_refused(predict: Run, photos: Path) -> None:
    done = predict("--input", f"depth={photos}")
    assert done.returncode == 2
    assert "only one input may be one" in done.stderr


def test_a_plain_model_name_matches_predictions_of_any_device_and_dtype(
    predict: Run, photos: Path, tmp_path: Path
) -> None:
    """As a service predicts in the dtype that it serves, which the record then says; of the device it says nothing."""
    (photos / "notes.txt").unlink()
    assert predict("--model", "4M-21_B:dtype=bfloat16,device=cpu").returncode == 0
    again = predict("--model", "4M-21_B:dtype=bfloat16,device=cpu")
    assert again.returncode == 0, again.stderr
    assert "3 of 3 files were predicted before" in again.stderr
    shutil.rmtree(tmp_path / "out" / "b.png" / "color_palette")
    again = predict("--model", "4M-21_B")
    assert again.returncode == 0, again.stderr
    assert "2 of 3 files were predicted before" in again.stderr
    assert predict("--model", "4M-7_B_CC12M").returncode != 0, "another network is another model"
