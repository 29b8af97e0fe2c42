"""`anyseek eval` over real small folders, with the hashing model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anyseek.model.fourm.bundled import bundle
from tests.api.commands.conftest import Run
from tests.indexer.photos import iptc, jpeg_photo, with_iptc
from tests.random_bundle import write_random_bundle

COLOURS = ("#d92d2d", "#4fae4a", "#2f6fed", "#e0c020")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 shapes as pictures, drawings, palettes, words and depth maps."""
    root = tmp_path_factory.mktemp("eval") / "shapes"
    for name in ("rgb", "sketch", "palette", "caption", "depth"):
        (root / name).mkdir(parents=True)
    for number in range(24):
        colour, box = COLOURS[number % 4], (5 + number, 40 - number, 30 + number, 60)
        for name, mode, paper, ink in (("rgb", "RGB", "white", colour), ("sketch", "L", 255, 0)):
            image = Image.new(mode, (64, 64), paper)
            ImageDraw.Draw(image).rectangle(box, ink)
            image.save(root / name / f"{number:02}.png")
        (root / "palette" / f"{number:02}.txt").write_text(colour)
        (root / "caption" / f"{number:02}.txt").write_text(f"box number {number}")
        np.save(root / "depth" / f"{number:02}.npy", np.full((4, 4), 1.0 + number, np.float32))
    return root


def _rows(done: Any) -> dict[tuple[str, str], Any]:
    (only,) = json.loads(done.stdout)["sets"]
    return {(row["query"], row["gallery"]): row for row in only["rows"]}


def test_a_folder_becomes_one_json_object(run: Run, folder: Path) -> None:
    done = run("eval", str(folder), "--model", "hashing", "--no-baselines", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    answer = json.loads(done.stdout)
    assert (answer["folder"], answer["model"]) == (str(folder), "hashing")
    (only,) = answer["sets"]
    assert (only["name"], only["things"]) == ("shapes", 24)
    assert only["left_out"] == {"depth": "the model hashing does not take it"}
    rows = _rows(done)
    own = rows["rgb", "rgb"]
    assert own["model"]["at_1"]["value"] == 1.0
    assert own["contains_gallery"]
    drawn = rows["canny_edge", "rgb"]["model"]
    assert drawn["queries"] == drawn["gallery"] == 24
    assert drawn["at_10"]["value"] > 0.7
    assert drawn["at_10"]["low"] <= drawn["at_10"]["value"] <= drawn["at_10"]["high"]
    assert rows["caption+color_palette", "rgb"]["modalities"] == ["caption", "color_palette"]
    assert run("eval", str(folder), "--model", "hashing", "--no-baselines", "--json").stdout == done.stdout


def test_photos_with_keywords_in_their_files_are_asked_for_by_words(run: Run, tmp_path: Path) -> None:
    """The example of docs/evaluation.md: photos alone, without any file beside them."""
    for number in range(12):
        words = iptc(f"photo {number}", ["Rimini" if number % 3 else "Winter"])
        (tmp_path / f"{number:02}.jpg").write_bytes(with_iptc(jpeg_photo(number), words))
    done = run("eval", str(tmp_path), "--model", "hashing", "--no-baselines", "--json")
    assert done.returncode == 0, done.stderr
    rows = _rows(done)
    for query, count in (("caption", 12), ("label", 2)):
        found = rows[query, "rgb"]["model"]
        assert (found["queries"], found["gallery"]) == (count, 12)
        assert 0 <= found["at_10"]["low"] <= found["at_10"]["value"] <= found["at_10"]["high"] <= 1


def test_outputs_go_with_models_that_predict_what_is_there(run: Run, folder: Path) -> None:
    done = run("eval", str(folder), "--model", "hashing", "--outputs")
    assert done.returncode == 2
    assert "shapes has no rgb with anything that the model predicts" in done.stderr
    refused = run("eval", str(folder), "--outputs", "--space", "hashing")
    assert refused.returncode == 2
    assert "--outputs needs FOLDER," in refused.stderr
    for options, wrong in (
        (("--given", "depth"), "--given needs --outputs"),
        (("--outputs", "--given", "smell"), "'smell' is not a modality; the modalities are"),
    ):
        refused = run("eval", str(folder), "--model", "hashing", *options)
        assert refused.returncode == 2
        assert wrong in refused.stderr


def test_outputs_are_measured(
    run: Run, folder: Path, bundled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_random_bundle(tmp_path / "weights" / "4m-tiny", dense=("depth",))
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    arguments = ("eval", str(folder), "--outputs", "--limit", "2")
    done = run(*arguments, ANYSEEK_HOME=str(bundled_home))
    assert done.returncode == 0, done.stderr
    assert "abs_rel" in done.stdout
    done = run(*arguments, "--given", "text", "--given", "sketch", ANYSEEK_HOME=str(bundled_home))
    assert "predicted from caption + canny_edge alone" in done.stdout, done.stderr


def test_text_output_is_a_table(run: Run, folder: Path) -> None:
    done = run("eval", str(folder), "--model", "hashing", "--no-baselines")
    assert done.returncode == 0, done.stderr
    assert "shapes: 24 things" in done.stdout
    assert "depth has no row: the model hashing does not take it" in done.stdout


def test_a_folder_with_one_modality_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rgb").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "rgb" / "a.png")
    done = run("eval", str(tmp_path), "--model", "hashing", "--no-baselines")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "only one modality, rgb" in done.stderr


def test_a_data_set_of_shards_needs_a_split(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    done = run("eval", str(tmp_path), "--model", "hashing", "--no-baselines")
    assert done.returncode == 2
    assert "--split" in done.stderr
    broken = run("eval", str(tmp_path), "--split", "val", "--model", "hashing", "--no-baselines")
    assert broken.returncode == 1
    assert "dataset.json" in broken.stderr


def test_a_model_that_takes_no_modality_of_the_data_is_refused(run: Run, folder: Path, tmp_path: Path) -> None:
    for name in ("depth", "normal"):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("I;16" if name == "depth" else "RGB", (8, 8), 1).save(tmp_path / name / f"{number}.png")
    done = run("eval", str(tmp_path), "--model", "hashing", "--no-baselines")
    assert done.returncode == 2
    assert "has depth, normal, but the model hashing takes none of them" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "either FOLDER or --suite"),
        (("FOLDER", "--suite", "queries"), "either FOLDER or --suite"),
        (("--suite", "queries", "--split", "val"), "--split needs"),
        (("FOLDER", "--space", "nowhere"), "has no space 'nowhere'"),
        (("FOLDER", "--limit", "1"), "--limit"),
        (("FOLDER", "--model", "nobody"), "nobody"),
    ],
)
def test_wrong_usage(run: Run, folder: Path, arguments: tuple[str, ...], says: str) -> None:
    given = [str(folder) if argument == "FOLDER" else argument for argument in arguments]
    done = run("eval", *given, *(() if "--model" in given else ("--model", "hashing")))
    assert done.returncode == 2
    assert says in done.stderr
