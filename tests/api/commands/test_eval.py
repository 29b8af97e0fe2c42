"""`anyseek eval` over real small folders, with the hashing model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anyseek.api.cli import run as in_process
from anyseek.model.data.sources.emoji import Art
from anyseek.model.fourm.bundled import bundle
from anyseek.search.evaluation import small_transfer
from tests.indexer.photos import iptc, jpeg_photo, with_iptc
from tests.model.data.sources.packs_kit import about, encoded, write_shard
from tests.random_bundle import write_random_bundle

Run = Callable[..., Any]
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


def _rows(done: Any) -> dict[tuple[str, str, str | None], Any]:
    (only,) = json.loads(done.stdout)["sets"]
    return {(row["query"], row["gallery"], row["fusion"]): row for row in only["rows"]}


def test_a_folder_becomes_one_json_object(run: Run, folder: Path) -> None:
    done = run("eval", str(folder), "--model", "hashing", "--no-baselines", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    answer = json.loads(done.stdout)
    assert (answer["folder"], answer["model"]) == (str(folder), "hashing")
    (only,) = answer["sets"]
    assert (only["name"], only["things"], only["ridge_fit"]) == ("shapes", 24, None)
    assert only["left_out"] == {"depth": "the model hashing does not take it"}
    rows = _rows(done)
    own = rows["rgb", "rgb", None]
    assert own["model"]["at_1"]["value"] == 1.0
    assert own["contains_gallery"]
    drawn = rows["canny_edge", "rgb", None]["model"]
    assert drawn["queries"] == drawn["gallery"] == 24
    assert drawn["at_10"]["value"] > 0.7
    assert drawn["at_10"]["low"] <= drawn["at_10"]["value"] <= drawn["at_10"]["high"]
    assert {fusion for query, _, fusion in rows if query == "caption+color_palette"} == {"late", "joint"}
    assert run("eval", str(folder), "--model", "hashing", "--no-baselines", "--json").stdout == done.stdout


def test_photos_with_keywords_in_their_files_are_asked_for_by_words(run: Run, tmp_path: Path) -> None:
    """The example of docs/evaluation.md: photos alone, without any file beside them."""
    for number in range(12):
        words = iptc(f"photo {number}", ["Rimini" if number % 3 else "Winter"])
        (tmp_path / f"{number:02}.jpg").write_bytes(with_iptc(jpeg_photo(number), words))
    done = run("eval", str(tmp_path), "--model", "hashing", "--no-baselines", "--json")
    assert done.returncode == 0, done.stderr
    rows = _rows(done)
    for query, asked in (("caption", 12), ("label", 2)):
        found = rows[query, "rgb", None]["model"]
        assert (found["queries"], found["gallery"]) == (asked, 12)
        assert 0 <= found["at_10"]["low"] <= found["at_10"]["value"] <= found["at_10"]["high"] <= 1


def test_whole_items_have_rows_of_their_own(run: Run, folder: Path) -> None:
    done = run("eval", str(folder), "--model", "hashing", "--no-baselines", "--whole-items", "--json")
    assert done.returncode == 0, done.stderr
    rows = _rows(done)
    whole, rest = rows["caption", "everything", None], rows["caption", "everything else", None]
    assert whole["gallery_kind"] == rest["gallery_kind"] == "stored"
    assert (whole["contains_gallery"], rest["contains_gallery"]) == (True, False)
    assert whole["model"]["at_1"]["value"] > rest["model"]["at_1"]["value"]
    assert {gallery for _, gallery, _ in rows} == {
        *("rgb", "canny_edge", "caption", "color_palette"),
        *("everything", "everything else"),
    }
    told = run("eval", str(folder), "--model", "hashing", "--no-baselines", "--whole-items").stdout
    assert "everything else (stored)" in told
    refused = run("eval", "--suite", "emoji", "--whole-items")
    assert refused.returncode == 2
    assert "has no recall matrix to print;" in refused.stderr


def test_outputs_go_with_models_that_predict_what_is_there(run: Run, folder: Path) -> None:
    done = run("eval", str(folder), "--model", "hashing", "--outputs")
    assert done.returncode == 2
    assert "shapes has no rgb with anything that the model predicts" in done.stderr
    refused = run("eval", str(folder), "--outputs", "--compare", "fusion")
    assert refused.returncode == 2
    assert "--outputs needs FOLDER," in refused.stderr
    for options, wrong in (
        (("--given", "depth"), "--given needs --outputs"),
        (("--outputs", "--given", "smell"), "'smell' is not a modality; the modalities are"),
    ):
        refused = run("eval", str(folder), "--model", "hashing", *options)
        assert refused.returncode == 2
        assert wrong in refused.stderr


def test_outputs_are_measured_and_drawn(
    run: Run, folder: Path, bundled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_random_bundle(tmp_path / "weights" / "4m-tiny", dense=("depth",))
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    picture = tmp_path / "outputs.png"
    done = run(
        "eval", str(folder), "--outputs", "--limit", "2", "--picture", str(picture), ANYSEEK_HOME=str(bundled_home)
    )
    assert done.returncode == 0, done.stderr
    assert "abs_rel" in done.stdout
    assert f"drawn into {picture}" in done.stderr
    with Image.open(picture) as image:
        assert image.height == 44 + 2 * 134
    done = run(
        *("eval", str(folder), "--outputs", "--limit", "2", "--given", "text", "--given", "sketch"),
        ANYSEEK_HOME=str(bundled_home),
    )
    assert "predicted from caption + canny_edge alone" in done.stdout, done.stderr


def test_people_get_a_table_and_a_picture(run: Run, folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "matrix.png"
    done = run("eval", str(folder), "--model", "hashing", "--no-baselines", "--picture", str(picture))
    assert done.returncode == 0, done.stderr
    assert "shapes: 24 things" in done.stdout
    assert "depth has no row: the model hashing does not take it" in done.stdout
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert image.width > 500
    assert [path.name for path in tmp_path.iterdir()] == ["matrix.png"]


def test_nearest_neighbours_of_a_small_data_set(run: Run, tmp_path: Path) -> None:
    for part, count in (("train", 5), ("val", 2)):
        for number, colour in enumerate(COLOURS):
            (tmp_path / part / str(number)).mkdir(parents=True)
            for picture in range(count):
                Image.new("RGB", (20 + picture, 20), colour).save(tmp_path / part / str(number) / f"{picture}.png")
    arguments = ("eval", "--suite", "imagenet-knn", "--data", str(tmp_path), "--model", "hashing")
    done = run(*arguments, "--space", "hashing", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["top_1"]["value"] == 1.0
    assert (answer["training_pictures"], answer["validation_pictures"], answer["classes"]) == (20, 8, 4)
    assert "0.07" in answer["vote"]
    spoken = run(*arguments, "--space", "hashing")
    assert spoken.stdout.startswith("top-1 1.000")
    refused = run(*arguments)
    assert refused.returncode == 2
    assert "dinov2_global" in refused.stderr


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


def test_a_model_that_takes_nothing_of_it_is_refused(run: Run, folder: Path, tmp_path: Path) -> None:
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
        ((), "FOLDER or --suite, one of the two"),
        (("FOLDER", "--suite", "emoji"), "FOLDER or --suite, one of the two"),
        (("--suite", "photos"), "--suite photos needs --data"),
        (("--suite", "transfer", "--left-out", "all"), "--left-out goes with --suite transfer and --data"),
        (("FOLDER", "--data", "FOLDER"), "--data goes with"),
        (("--suite", "emoji", "--split", "val"), "--split needs"),
        (("--suite", "emoji", "--picture", "x.png"), "has no recall matrix to print;"),
        (("--suite", "emoji", "--compare", "all"), "has no recall matrix to print;"),
        (("FOLDER", "--compare", "decoding"), "has no codes for such vectors"),
        (("FOLDER", "--compare", "ceiling"), "has no codes for such vectors"),
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


def test_the_transfer_suite_tells_where_a_model_is_worse_than_its_encoders(run: Run, tmp_path: Path) -> None:
    sketches = [{"file": "0.png", "id": "0"}]
    samples = []
    for number in range(4):
        picture = np.full((16, 16, 3), 255, np.uint8)
        picture[3 * number : 3 * number + 4] = 0
        said = about(source="sketchy", id=str(number), label=f"bar {number}", split="test", sketches=sketches)
        samples.append((said, {"webp": encoded(picture, "WEBP"), "0.png": encoded(picture[:, :, 0])}))
    strokes = [[[0, 255], [0, 0]]]
    drawing = about(source="quickdraw", label="bar 1", split="test", drawing=strokes)
    write_shard(tmp_path / "sketches" / "sketches-research-000000.tar", samples)
    write_shard(tmp_path / "sketches" / "sketches-open-000000.tar", [(drawing, {})])
    asked = ("eval", "--suite", "transfer", "--data", str(tmp_path), "--model", "hashing", "--no-baselines")
    told = run(*asked)
    assert told.returncode == 0, told.stderr
    assert "sketchy    sketch" in told.stdout
    assert "worse than the encoders alone (lower bound below -0.01): none" in told.stdout
    answer = json.loads(run(*asked, "--left-out", "all", "--json").stdout)
    assert [(row["source"], row["whole"], row["model"]["gallery"]) for row in answer["rows"]] == [
        ("sketchy", True, 4),
        ("quickdraw", True, 1),
    ]
    assert answer["means"]["encoders"] is None
    refused = run("eval", "--suite", "photos", "--data", str(tmp_path), "--left-out", "sketchy")
    assert refused.returncode == 2
    assert "--left-out goes with --suite transfer" in refused.stderr


def test_the_transfer_suite_without_data_is_the_small_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72"><g id="line"><path d="M9 9h30v30"/></g></svg>'
    art = [Art("openmoji", f"{0x1F300 + number:X}", svg) for number in range(90)]
    monkeypatch.setattr(small_transfer, "fetch_openmoji", lambda downloads: art)
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path))
    asked = ["eval", "--suite", "transfer", "--limit", "4", "--model", "hashing", "--no-baselines", "--json"]
    assert in_process(asked) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [(row["source"], row["query"], row["model"]["queries"]) for row in answer["rows"]] == [
        ("photos", "title", 4),
        ("photos", "edges", 4),
        ("photos", "all", 8),
        ("rooms", "edges", 4),
        ("openmoji", "line", 4),
    ]
    refused = [f"rooms: {modality}: the model hashing does not take it" for modality in ("depth", "semseg")]
    assert answer["left_out"] == refused
